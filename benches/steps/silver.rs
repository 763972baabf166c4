//! A whole step of silver, and writing what it accepted.

use criterion::{BatchSize, Criterion, Throughput};
use medallion::definition::Silver;
use medallion::layer::silver::{Plan, State};
use medallion::run::tables;

use crate::cpu::ProcessCpu;
use crate::events::{self, EVENTS};
use crate::lake::{Durability, Place};

/// [`Plan::process`], whole and without some of its steps, and an append of its rows.
pub fn bench(criterion: &mut Criterion<ProcessCpu>) {
    let whole = events::pipeline().silver;
    let bronze = events::bronze(&events::mixed());
    let mut group = criterion.benchmark_group("silver");
    group.throughput(Throughput::Elements(EVENTS));
    let variants: [(&str, Silver); 2] = [
        ("process", whole.clone()),
        (
            "process without dedupe",
            Silver {
                dedupe: None,
                ..whole.clone()
            },
        ),
    ];
    for (name, silver) in variants {
        let mut plan = Plan::compile(&silver).unwrap();
        let references = events::references(&silver);
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                State::default,
                |state| {
                    let step = plan.process(&bronze, &references, state).unwrap();
                    assert_eq!(step.fates.records(), EVENTS);
                    assert!(step.fates.accepted > EVENTS / 2);
                },
                BatchSize::LargeInput,
            );
        });
    }
    let step = events::step();
    let plan = Plan::compile(&whole).unwrap();
    let mut place = Place::new(Durability::Process);
    let (spec, _) = tables::silver("view_log", &whole, &plan, "bench");
    let mut table = place.table(spec);
    group.throughput(Throughput::Elements(step.silver.num_rows() as u64));
    group.bench_function("write", |bencher| {
        bencher.iter(|| place.append(&mut table, Some(&step.silver)));
    });
    group.finish();
}
