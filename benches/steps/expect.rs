//! Rules over decoded rows.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use medallion::layer::silver::{Rule, judge};

use crate::cpu::ProcessCpu;
use crate::events::{self, EVENTS};

/// All rules of the pipeline over rows that pass them.
pub fn bench(criterion: &mut Criterion<ProcessCpu>) {
    let silver = events::pipeline().silver;
    let rows = events::rows(&silver);
    let schema = events::row_schema(&silver);
    let compile = |expect| Rule::compile(expect, &schema).unwrap();
    let rules: Vec<Rule> = silver.expects.iter().map(compile).collect();
    let mut group = criterion.benchmark_group("expect");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function(format!("{} rules", rules.len()), |bencher| {
        bencher.iter(|| {
            let judgement = judge(&rules, black_box(&rows)).unwrap();
            assert_eq!((judgement.failed.len(), judgement.rejections.len()), (rules.len(), 0));
        });
    });
    group.finish();
}
