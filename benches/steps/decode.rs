//! Payloads to typed columns: silver's decoder, and arrow-json's on the same payloads into the same types.

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::json::ReaderBuilder;
use criterion::{BenchmarkId, Criterion, Throughput};
use medallion::definition::{Contract, silver_schema};
use medallion::layer::silver::Decoder;

use crate::cpu::ProcessCpu;
use crate::events::{self, EVENTS};
use crate::ratio::Ratio;

type Payloads = Vec<Option<Vec<u8>>>;

/// How many payloads are bad: none, or one in so many.
const MIXES: [(&str, Option<usize>); 3] = [("clean", None), ("1% bad", Some(100)), ("50% bad", Some(2))];

/// Messages that arrow-json gets before it is asked for columns; more do not make it faster.
const ARROW_BATCH: usize = 8192;

fn good(every: Option<usize>) -> usize {
    EVENTS as usize - every.map_or(0, |every| EVENTS as usize / every)
}

/// Rows that silver's decoder makes of `payloads`.
fn ours(decoder: &mut Decoder, payloads: &Payloads) -> usize {
    for payload in payloads {
        let _ = black_box(decoder.decode(payload.as_deref()));
    }
    black_box(decoder.finish().unwrap())[0].len()
}

/// The columns of the contract, as arrow-json is to make them.
fn target(contract: &Contract) -> SchemaRef {
    let silver = silver_schema(&events::pipeline().silver).unwrap();
    let fields = silver.fields().iter().take(contract.fields.len()).cloned();
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Rows that arrow-json's decoder makes of `payloads`.
fn arrows(schema: &SchemaRef, payloads: &Payloads) -> usize {
    payloads.chunks(ARROW_BATCH).map(|batch| isolated(schema, batch)).sum()
}

/// A bad message fails its batch, and which one it was is not told: the batch is halved until the bad are alone.
fn isolated(schema: &SchemaRef, batch: &[Option<Vec<u8>>]) -> usize {
    match whole(schema, batch) {
        Some(rows) => rows,
        None if batch.len() == 1 => 0,
        None => {
            let (left, right) = batch.split_at(batch.len() / 2);
            isolated(schema, left) + isolated(schema, right)
        }
    }
}

/// The rows of a batch without a bad message; none where there is one.
fn whole(schema: &SchemaRef, batch: &[Option<Vec<u8>>]) -> Option<usize> {
    let reader = ReaderBuilder::new(schema.clone()).with_strict_mode(true);
    let mut decoder = reader.with_batch_size(ARROW_BATCH).build_decoder().ok()?;
    for payload in batch {
        let payload = payload.as_ref().filter(|payload| !payload.is_empty())?;
        let before = decoder.len();
        let used = decoder.decode(payload).ok()?;
        if used != payload.len() || decoder.has_partial_record() || decoder.len() != before + 1 {
            return None;
        }
    }
    Some(black_box(decoder.flush().ok()??).num_rows())
}

/// Time per event of both.
pub fn bench(criterion: &mut Criterion<ProcessCpu>) {
    let contract = events::pipeline().silver.contract;
    let schema = target(&contract);
    let mut decoder = Decoder::new(&contract);
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(EVENTS));
    for (mix, every) in MIXES {
        let payloads = events::payloads(every);
        group.bench_with_input(BenchmarkId::new("medallion", mix), &payloads, |bencher, payloads| {
            bencher.iter(|| assert_eq!(ours(&mut decoder, payloads), good(every)));
        });
        group.bench_with_input(BenchmarkId::new("arrow-json", mix), &payloads, |bencher, payloads| {
            // It takes a member twice and a zone's offset out of range, so it may have more rows, never fewer.
            bencher.iter(|| assert!(arrows(&schema, payloads) >= good(every)));
        });
    }
    group.finish();
}

/// What bad payloads cost us, and arrow-json against us, in turns.
pub fn ratios() {
    let contract = events::pipeline().silver.contract;
    let schema = target(&contract);
    let clean = events::payloads(None);
    for (mix, every) in MIXES {
        let payloads = events::payloads(every);
        let mut decoder = Decoder::new(&contract);
        let against_arrow = Ratio::of_cpu(
            11,
            || assert!(arrows(&schema, &payloads) >= good(every)),
            || assert_eq!(ours(&mut decoder, &payloads), good(every)),
        );
        let mut other = Decoder::new(&contract);
        let against_clean = Ratio::of_cpu(
            21,
            || assert_eq!(ours(&mut decoder, &payloads), good(every)),
            || assert_eq!(ours(&mut other, &clean), good(None)),
        );
        let [arrow, medallion] = against_arrow.medians.map(|time| time.as_nanos() / u128::from(EVENTS));
        println!("decode, {mix}: arrow-json {arrow} ns/event, medallion {medallion} ns/event");
        println!("  arrow-json over medallion: {against_arrow}; medallion over medallion on clean: {against_clean}");
    }
}
