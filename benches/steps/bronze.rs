//! Records into Arrow builders, and a bronze batch into its table.

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use medallion::layer::bronze::BronzeBuilder;
use medallion::run::tables;

use crate::cpu::ProcessCpu;
use crate::events::{self, EVENTS};
use crate::lake::{Durability, Place};

/// CPU time of building a batch and of writing it: encode, put, commit.
pub fn bench(criterion: &mut Criterion<ProcessCpu>) {
    let events = events::mixed();
    let batch = events::bronze(&events);
    let mut group = criterion.benchmark_group("bronze");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("build", |bencher| {
        bencher.iter_batched_ref(
            || BronzeBuilder::new(0),
            |builder| {
                events::record(builder, &events);
                assert_eq!(builder.finish().unwrap().unwrap().num_rows() as u64, EVENTS);
            },
            BatchSize::LargeInput,
        );
    });
    let mut place = Place::new(Durability::Process);
    let mut table = place.table(tables::bronze("view_log"));
    group.bench_function("write", |bencher| {
        bencher.iter(|| place.append(&mut table, Some(&batch)));
    });
    group.finish();
}

/// Time until a batch is committed, so that it survives the process, or a power cut too.
pub fn bench_wall(criterion: &mut Criterion<WallTime>) {
    let batch = events::bronze(&events::mixed());
    let mut group = criterion.benchmark_group("bronze on the wall");
    group.throughput(Throughput::Elements(EVENTS));
    for durability in [Durability::Process, Durability::Power] {
        let mut place = Place::new(durability);
        let mut table = place.table(tables::bronze("view_log"));
        group.bench_function(BenchmarkId::new("write", durability.name()), |bencher| {
            bencher.iter(|| place.append(&mut table, Some(&batch)));
        });
    }
    group.finish();
}
