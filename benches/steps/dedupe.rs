//! Keys into the memory of accepted ones.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use medallion::layer::silver::{Dedupe, First, Horizon, Key};

use crate::cpu::ProcessCpu;
use crate::events::EVENTS;

/// Keys that are as good as hashed: every index another one, in no order.
fn key(index: u64) -> Key {
    let half = |salt: u64| {
        let mixed = (index ^ salt).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        u128::from((mixed ^ (mixed >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93))
    };
    (half(1) << 64) | half(2)
}

fn row(index: u64) -> First {
    let seq = i64::try_from(index).unwrap();
    First {
        seq,
        event_time: seq * 1000,
    }
}

/// A memory of the first so many keys.
fn memory(known: u64) -> Dedupe {
    let mut memory = Dedupe::default();
    for index in 0..known {
        memory.restore(key(index), row(index), Horizon::default());
    }
    memory
}

/// New keys and repeated ones, over memories of two sizes; what older keys cost is in `benches/dedupe.rs`.
pub fn bench(criterion: &mut Criterion<ProcessCpu>) {
    let admit = |memory: &mut Dedupe, at| memory.admit(key(at), row(at), None, Horizon::default());
    let mut group = criterion.benchmark_group("dedupe");
    group.throughput(Throughput::Elements(EVENTS));
    for known in [100_000, 1_000_000] {
        group.bench_function(BenchmarkId::new("new keys", known), |bencher| {
            bencher.iter_batched_ref(
                || memory(known),
                |memory| {
                    let new = (known..known + EVENTS).filter(|at| admit(memory, *at).is_ok());
                    assert_eq!(new.count() as u64, EVENTS);
                },
                BatchSize::PerIteration,
            );
        });
        let mut memory = memory(known);
        group.bench_function(BenchmarkId::new("repeated keys", known), |bencher| {
            bencher.iter(|| {
                let repeated = (0..EVENTS).map(|at| at * (known / EVENTS));
                let repeated = repeated.filter(|at| admit(&mut memory, *at) == Err(row(*at)));
                assert_eq!(repeated.count() as u64, EVENTS);
            });
        });
    }
    group.finish();
}
