//! Silver rows into open windows, and closing them.

use criterion::{BatchSize, Criterion, Throughput};
use medallion::definition::silver_schema;
use medallion::layer::gold::{Plan, State};

use crate::cpu::ProcessCpu;
use crate::events;

/// Folds what silver accepted, then closes every window.
pub fn bench(criterion: &mut Criterion<ProcessCpu>) {
    let pipeline = events::pipeline();
    let schema = silver_schema(&pipeline.silver).unwrap();
    let plan = Plan::compile(&pipeline.gold[0], &pipeline.silver.event_time, &schema).unwrap();
    let silver = events::step().silver;
    let rows = silver.num_rows();
    let mut group = criterion.benchmark_group("gold");
    group.throughput(Throughput::Elements(rows as u64));
    group.bench_function("fold", |bencher| {
        bencher.iter_batched_ref(
            || State::new(i64::MIN),
            |state| {
                let late = plan.fold(&silver, state).unwrap();
                assert!(late.num_rows() < rows / 10 && state.open_windows() > 0);
            },
            BatchSize::LargeInput,
        );
    });
    group.bench_function("fold and close", |bencher| {
        bencher.iter_batched_ref(
            || State::new(i64::MIN),
            |state| {
                plan.fold(&silver, state).unwrap();
                let closed = plan.close(Some(i64::MAX), state).unwrap().unwrap();
                assert!(closed.num_rows() > 0 && state.open_windows() == 0);
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}
