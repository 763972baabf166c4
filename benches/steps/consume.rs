//! Records out of a Kafka topic, by the source that bronze reads with.
//!
//! librdkafka's mock broker holds too little and answers too slowly to measure against, so this needs a broker:
//! `MEDALLION_BENCH_BROKERS` (or `KAFKA_BROKERS`) and `MEDALLION_BENCH_TOPIC`, a topic that is full already.

use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{Criterion, SamplingMode, Throughput};
use medallion::definition::{KafkaSource as Declared, SourceKind};
use medallion::source::Positions;
use medallion::source::kafka::KafkaSource;

use crate::events;

const POLL: Duration = Duration::from_millis(100);
const POLL_RECORDS: usize = 20_000;

/// The topic as it would be declared; none where nobody said which.
fn declared() -> Option<Declared> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let brokers = variable("MEDALLION_BENCH_BROKERS").or_else(|| variable("KAFKA_BROKERS"))?;
    let topic = variable("MEDALLION_BENCH_TOPIC")?;
    let SourceKind::Kafka(shipped) = events::pipeline().bronze.source else {
        return None;
    };
    Some(Declared {
        brokers,
        topic,
        ..shipped
    })
}

/// Reads the topic from its first record to its end. Returns how many records that are, and their bytes.
fn drain(declared: &Declared) -> (u64, u64) {
    let mut source = KafkaSource::open("bench", declared, &Positions::new()).unwrap();
    let ends = source.ends().unwrap();
    let (mut records, mut bytes) = (0, 0);
    while source.positions() != ends {
        let taken = source.poll(POLL, POLL_RECORDS, &mut |record| {
            bytes += record.value.map_or(0, <[u8]>::len) as u64;
        });
        records += taken.unwrap() as u64;
    }
    (records, bytes)
}

/// The whole topic, opening included.
pub fn bench(criterion: &mut Criterion<WallTime>) {
    let Some(declared) = declared() else {
        println!("consume: skipped; set MEDALLION_BENCH_BROKERS and MEDALLION_BENCH_TOPIC");
        return;
    };
    let (records, bytes) = drain(&declared);
    println!("consume: {records} records, {bytes} bytes of payload");
    let mut group = criterion.benchmark_group("consume");
    group.throughput(Throughput::Elements(records));
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.bench_function("whole topic", |bencher| {
        bencher.iter_custom(|rounds| {
            let began = Instant::now();
            for _ in 0..rounds {
                assert_eq!(drain(&declared), (records, bytes));
            }
            began.elapsed()
        });
    });
    group.finish();
}
