//! Reference data joined to decoded rows.

use std::hint::black_box;

use arrow::array::Array;
use criterion::{Criterion, Throughput};

use crate::cpu::ProcessCpu;
use crate::events::{self, EVENTS};

/// Finds the network of every campaign and takes it.
pub fn bench(criterion: &mut Criterion<ProcessCpu>) {
    let silver = events::pipeline().silver;
    let rows = events::rows(&silver);
    let lookup = &silver.lookups[0];
    let reference = &events::references(&silver)[0];
    let on = events::picked(&silver, rows.columns(), &lookup.on);
    let mut group = criterion.benchmark_group("lookup");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("find and take", |bencher| {
        bencher.iter(|| {
            let found = reference.find(black_box(&on), rows.num_rows()).unwrap();
            let taken = reference.columns(&found).unwrap();
            assert_eq!((taken[0].len(), taken[0].null_count()), (rows.num_rows(), 0));
        });
    });
    group.finish();
}
