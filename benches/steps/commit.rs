//! One commit with next to nothing in it: what every step pays, however small.

use criterion::measurement::WallTime;
use criterion::{BenchmarkId, Criterion, Throughput};
use medallion::run::tables;

use crate::events;
use crate::lake::{Durability, Place};

/// An append of one row, and of positions alone.
pub fn bench(criterion: &mut Criterion<WallTime>) {
    let row = events::bronze(&events::clean()[..1]);
    let mut group = criterion.benchmark_group("commit");
    group.throughput(Throughput::Elements(1)).sample_size(20);
    for durability in [Durability::Process, Durability::Power] {
        let mut place = Place::new(durability);
        let mut table = place.table(tables::bronze("view_log"));
        group.bench_function(BenchmarkId::new("one row", durability.name()), |bencher| {
            bencher.iter(|| place.append(&mut table, Some(&row)));
        });
        group.bench_function(BenchmarkId::new("positions alone", durability.name()), |bencher| {
            bencher.iter(|| place.append(&mut table, None));
        });
    }
    group.finish();
}
