//! What only a real broker shows: transactions, retention, topics that change under the reader.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use medallion::definition;
use medallion::error::{Error, Kind};
use medallion::source::kafka::KafkaSource;
use medallion::source::produce::{Outgoing, Producer, ensure_topic};
use medallion::source::{PartitionId, Positions, RecordDigest, Source};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::support::real_kafka::{Topic, brokers};

const WAIT: Duration = Duration::from_secs(20);

fn definition(topic: &Topic) -> definition::KafkaSource {
    definition::KafkaSource {
        brokers: brokers(),
        topic: topic.name.clone(),
        idle_after: Duration::from_secs(10),
        quiet_after: None,
        stalled_after: Duration::from_secs(60),
        options: BTreeMap::new(),
    }
}

fn open(topic: &Topic, start: &Positions) -> Result<Box<dyn Source>, Error> {
    KafkaSource::open("views", &definition(topic), start)
}

fn at(topic: &Topic, offsets: &[(i32, i64)]) -> Positions {
    let place = |&(partition, offset): &(i32, i64)| (PartitionId::new(&topic.name, partition), offset);
    offsets.iter().map(place).collect()
}

fn send(topic: &Topic, partition: i32, values: std::ops::Range<usize>) {
    let producer = Producer::new(&brokers(), &topic.name, &BTreeMap::new()).unwrap();
    for value in values {
        let value = value.to_string();
        let record = Outgoing {
            partition: Some(partition),
            timestamp_ms: Some(1_000),
            value: Some(value.as_bytes()),
            ..Outgoing::default()
        };
        producer.send(&record).unwrap();
    }
    producer.finish(WAIT).unwrap();
}

/// Reads until the positions are `ends`, and returns (partition, offset, value) as they came.
fn read_to(source: &mut dyn Source, ends: &Positions) -> Vec<(i32, i64, String)> {
    let mut got = Vec::new();
    let begun = Instant::now();
    while source.positions() != *ends {
        assert!(
            begun.elapsed() < WAIT,
            "stuck at {:?} before {ends:?}",
            source.positions()
        );
        let mut take = |record: medallion::source::Record<'_>| {
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            got.push((record.partition, record.offset, value));
        };
        source.poll(Duration::from_millis(100), 1000, &mut take).unwrap();
    }
    got
}

/// A transactional producer, and records of it on partition 0.
struct Transactions(BaseProducer, String);

impl Transactions {
    fn new(topic: &Topic) -> Self {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", brokers())
            .set("transactional.id", &topic.name);
        let producer: BaseProducer = config.create().unwrap();
        producer.init_transactions(WAIT).unwrap();
        Self(producer, topic.name.clone())
    }

    fn begin(&self, value: &str) {
        self.0.begin_transaction().unwrap();
        self.0
            .send(BaseRecord::<(), str>::to(&self.1).partition(0).payload(value))
            .unwrap();
        self.0.flush(WAIT).unwrap();
    }

    fn commit(&self) {
        self.0.commit_transaction(WAIT).unwrap();
    }

    fn abort(&self) {
        self.0.abort_transaction(WAIT).unwrap();
    }
}

#[test]
#[ignore = "needs a broker: MEDALLION_TEST_KAFKA=host:port"]
fn aborted_records_are_never_seen_and_the_position_reaches_the_end_behind_markers() {
    let topic = Topic::create("transactions", 1, &[]);
    let transactions = Transactions::new(&topic);
    transactions.begin("kept");
    transactions.commit();
    transactions.begin("aborted");
    transactions.abort();

    // Offsets: 0 kept, 1 marker, 2 aborted, 3 marker.
    let mut source = open(&topic, &Positions::new()).unwrap();
    assert_eq!(source.ends().unwrap(), at(&topic, &[(0, 4)]));
    assert_eq!(
        read_to(source.as_mut(), &at(&topic, &[(0, 4)])),
        [(0, 0, "kept".to_owned())]
    );

    // An open transaction holds the end back: caught up, and nothing looks lost.
    transactions.begin("open");
    send(&topic, 0, 0..3);
    assert_eq!(source.ends().unwrap(), at(&topic, &[(0, 4)]));
    assert_eq!(
        source
            .poll(Duration::from_secs(1), 10, &mut |_| panic!(
                "an open transaction was read"
            ))
            .unwrap(),
        0
    );
    assert!(open(&topic, &at(&topic, &[(0, 4)])).is_ok());
    transactions.commit();
    let got = read_to(source.as_mut(), &at(&topic, &[(0, 9)]));
    assert!(got.iter().map(|(_, offset, _)| *offset).eq(4..8), "{got:?}");
}

#[test]
#[ignore = "needs a broker: MEDALLION_TEST_KAFKA=host:port"]
fn new_partitions_are_found_and_read_from_the_start() {
    let topic = Topic::create("partitions", 1, &[]);
    send(&topic, 0, 0..5);
    let mut source = open(&topic, &Positions::new()).unwrap();
    read_to(source.as_mut(), &at(&topic, &[(0, 5)]));
    topic.partitions(3);
    let begun = Instant::now();
    let mut found = Vec::new();
    while found.is_empty() {
        assert!(begun.elapsed() < WAIT);
        found = source.discover().unwrap();
    }
    assert_eq!(
        found,
        [PartitionId::new(&topic.name, 1), PartitionId::new(&topic.name, 2)]
    );
    send(&topic, 2, 0..4);
    send(&topic, 0, 5..7);
    assert_eq!(
        read_to(source.as_mut(), &at(&topic, &[(0, 7), (1, 0), (2, 4)])).len(),
        6
    );
    source.report_committed(&at(&topic, &[(0, 7), (1, 0), (2, 4)]));
}

#[test]
#[ignore = "needs a broker: MEDALLION_TEST_KAFKA=host:port"]
fn records_that_retention_took_are_named_and_can_be_passed_over() {
    let topic = Topic::create("retention", 1, &[]);
    send(&topic, 0, 0..500);
    topic.delete_before(0, 200);
    let error = open(&topic, &at(&topic, &[(0, 120)])).err().unwrap();
    assert_eq!(error.kind(), Kind::DataLoss);
    let range = format!("records of {}/0 from offset 120 to 199 are gone", topic.name);
    assert!(error.to_string().contains(&range), "{error}");

    let losses = KafkaSource::losses(&definition(&topic), &at(&topic, &[(0, 120)])).unwrap();
    let mut source = open(&topic, &at(&topic, &[(0, losses[0].to)])).unwrap();
    let got = read_to(source.as_mut(), &at(&topic, &[(0, 500)]));
    assert_eq!((got[0].1, got.len()), (200, 300));
}

#[test]
#[ignore = "needs a broker: MEDALLION_TEST_KAFKA=host:port"]
fn a_topic_recreated_while_it_is_read_stops_the_reader_or_is_seen_at_the_next_start() {
    let topic = Topic::create("recreated", 1, &[]);
    send(&topic, 0, 0..50);
    let mut source = open(&topic, &Positions::new()).unwrap();
    read_to(source.as_mut(), &at(&topic, &[(0, 50)]));
    let id = PartitionId::new(&topic.name, 0);
    let peek = || {
        KafkaSource::read_many(&definition(&topic), &[(id.clone(), 49)])
            .unwrap()
            .records
            .remove(&id)
    };
    let before = peek();
    assert_eq!(
        before,
        Some(RecordDigest::from_parts(Some(1_000_000), None, Some(b"49")))
    );

    topic.delete();
    topic.create_again(1, &[]);
    send(&topic, 0, 1000..1020);
    let begun = Instant::now();
    let error = loop {
        match source.poll(Duration::from_millis(200), 100, &mut |record| panic!("read {record:?}")) {
            Err(error) => break error,
            Ok(_) if begun.elapsed() > Duration::from_secs(8) => {
                break open(&topic, &source.positions())
                    .err()
                    .expect("the loss is seen at the start");
            }
            Ok(_) => {}
        }
    };
    assert_eq!(error.kind(), Kind::DataLoss, "{error}");
    drop(source);

    // Grown past our offset it is only told by the fingerprint.
    send(&topic, 0, 1020..1100);
    assert!(open(&topic, &at(&topic, &[(0, 50)])).is_ok());
    let after = peek();
    assert!(after.is_some() && after != before);
}

#[test]
#[ignore = "needs a broker: MEDALLION_TEST_KAFKA=host:port"]
fn a_topic_exchanged_between_the_comparison_and_the_reading_gives_nothing() {
    let topic = Topic::create("between", 1, &[]);
    send(&topic, 0, 0..50);
    let (id, start) = (PartitionId::new(&topic.name, 0), at(&topic, &[(0, 50)]));
    let seen = KafkaSource::read_many(&definition(&topic), &[(id, 49)]).unwrap();
    assert_eq!(seen.records.len(), 1);
    topic.delete();
    topic.create_again(1, &[]);
    send(&topic, 0, 1000..1080);

    let mut source = KafkaSource::resume("views", &definition(&topic), &start, seen.topic).unwrap();
    let begun = Instant::now();
    while source.doubt().is_none() {
        assert!(begun.elapsed() < WAIT, "it has no doubt");
        let taken = source.poll(Duration::from_millis(500), 100, &mut |record| panic!("read {record:?}"));
        assert_eq!(taken.unwrap(), 0);
    }
    assert_eq!(source.positions(), start);
}

#[test]
#[ignore = "needs a broker: MEDALLION_TEST_KAFKA=host:port"]
fn a_topic_is_created_once_and_never_by_reading() {
    let topic = Topic::create("once", 2, &[("cleanup.policy", "compact")]);
    assert!(!ensure_topic(&brokers(), &BTreeMap::new(), &topic.name, 2, &[]).unwrap());
    topic.delete();
    for _ in 0..2 {
        let error = open(&topic, &Positions::new()).err().unwrap();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(error.to_string().contains("has no topic"), "{error}");
    }
}
