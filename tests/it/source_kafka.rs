//! The Kafka source and the producer against the in-process broker: the real protocol over loopback.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use medallion::definition;
use medallion::error::{Error, Kind};
use medallion::source::embedded::Broker;
use medallion::source::kafka::KafkaSource;
use medallion::source::produce::{Outgoing, Producer};
use medallion::source::{PartitionId, Positions, Record, RecordDigest, Source, TimestampType};

use crate::support::alone::alone;

const TOPIC: &str = "view_log";

/// A record as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Got {
    partition: i32,
    offset: i64,
    timestamp: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn definition(brokers: &str, topic: &str) -> definition::KafkaSource {
    definition::KafkaSource {
        brokers: brokers.to_owned(),
        topic: topic.to_owned(),
        idle_after: Duration::from_secs(10),
        quiet_after: None,
        stalled_after: Duration::from_secs(60),
        options: BTreeMap::new(),
    }
}

fn producer(broker: &Broker, options: &[(&str, &str)]) -> Producer {
    let options = options
        .iter()
        .map(|(key, value)| ((*key).to_owned(), definition::Secret((*value).to_owned())))
        .collect();
    Producer::new(&broker.bootstrap(), TOPIC, &options).unwrap()
}

/// Sends `values` to `partition`, the first with timestamp 1,000 ms, each a millisecond later.
fn send(broker: &Broker, partition: i32, values: impl IntoIterator<Item = String>) -> u64 {
    let producer = producer(broker, &[]);
    for (index, value) in values.into_iter().enumerate() {
        let record = Outgoing {
            partition: Some(partition),
            timestamp_ms: Some(1_000 + index as i64),
            value: Some(value.as_bytes()),
            ..Outgoing::default()
        };
        producer.send(&record).unwrap();
    }
    producer.finish(Duration::from_secs(20)).unwrap()
}

fn open(broker: &Broker, start: &Positions) -> Result<Box<dyn Source>, Error> {
    KafkaSource::open("views", &definition(&broker.bootstrap(), TOPIC), start)
}

fn own(record: &Record<'_>) -> Got {
    assert_eq!((record.topic, record.timestamp_type), (TOPIC, TimestampType::Create));
    Got {
        partition: record.partition,
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers: record
            .headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.map(<[u8]>::to_vec)))
            .collect(),
    }
}

/// Reads until `count` records came.
fn read(source: &mut dyn Source, count: usize) -> Vec<Got> {
    let mut got = Vec::new();
    let begun = Instant::now();
    while got.len() < count {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "only {} of {count} records came",
            got.len()
        );
        source
            .poll(Duration::from_millis(200), count - got.len(), &mut |record| {
                got.push(own(&record))
            })
            .unwrap();
    }
    got
}

fn at(offsets: &[(i32, i64)]) -> Positions {
    offsets
        .iter()
        .map(|&(partition, offset)| (PartitionId::new(TOPIC, partition), offset))
        .collect()
}

fn numbers(range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    range.map(|n| n.to_string())
}

#[test]
fn records_arrive_in_order_with_everything_they_were_sent_with() {
    let broker = Broker::start(&[(TOPIC, 1)]).unwrap();
    let producer = producer(&broker, &[("compression.type", "zstd")]);
    let headers: [(&str, Option<&[u8]>); 3] = [("trace", Some(b"\x00\xff")), ("none", None), ("trace", Some(b""))];
    let sent = [
        Outgoing {
            key: Some(b"k"),
            value: Some(b"v"),
            headers: &headers,
            ..Outgoing::default()
        },
        Outgoing {
            key: Some(b""),
            value: Some(b""),
            ..Outgoing::default()
        },
        Outgoing {
            key: None,
            value: None,
            ..Outgoing::default()
        },
    ];
    for (index, record) in sent.iter().enumerate() {
        let timestamp_ms = Some(1_700_000_000_000 + index as i64);
        producer
            .send(&Outgoing {
                partition: Some(0),
                timestamp_ms,
                ..*record
            })
            .unwrap();
    }
    assert_eq!(producer.finish(Duration::from_secs(20)).unwrap(), 3);

    let mut source = open(&broker, &Positions::new()).unwrap();
    assert_eq!(source.positions(), at(&[(0, 0)]));
    assert_eq!(source.ends().unwrap(), at(&[(0, 3)]));
    let got = read(source.as_mut(), 3);
    for (index, (got, sent)) in got.iter().zip(&sent).enumerate() {
        assert_eq!((got.partition, got.offset), (0, index as i64));
        assert_eq!(got.timestamp, Some((1_700_000_000_000 + index as i64) * 1000));
        assert_eq!(got.key.as_deref(), sent.key);
        assert_eq!(got.value.as_deref(), sent.value);
        let expected: Vec<_> = sent
            .headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.map(<[u8]>::to_vec)))
            .collect();
        assert_eq!(got.headers, expected);
    }
    assert_eq!(source.positions(), at(&[(0, 3)]));
}

#[test]
fn reading_goes_on_at_the_positions_and_a_poll_hands_out_no_more_than_asked() {
    let broker = Broker::start(&[(TOPIC, 2)]).unwrap();
    send(&broker, 0, numbers(0..100));
    send(&broker, 1, numbers(0..50));

    let mut first = open(&broker, &Positions::new()).unwrap();
    let mut count = 0;
    while count < 60 {
        let more = first.poll(Duration::from_millis(200), 7, &mut |_| count += 1).unwrap();
        assert!(more <= 7);
    }
    let positions = first.positions();
    first.report_committed(&positions);
    drop(first);

    assert_eq!(positions.values().sum::<i64>(), count);
    let mut second = open(&broker, &positions).unwrap();
    let rest = read(second.as_mut(), 150 - count as usize);
    for (id, start) in positions {
        let offsets = rest
            .iter()
            .filter(|got| got.partition == id.partition)
            .map(|got| got.offset);
        let end = if id.partition == 0 { 100 } else { 50 };
        assert!(offsets.eq(start..end), "{id} has holes or repeats");
    }
    assert_eq!(second.positions(), at(&[(0, 100), (1, 50)]));
    let more = second
        .poll(Duration::from_millis(300), 10, &mut |_| panic!("a record twice"))
        .unwrap();
    assert_eq!(more, 0);
}

/// Sends 20,000 records of a kilobyte to partition 0: more than the 5 MiB that the broker keeps.
fn fill_over_the_brim(broker: &Broker) {
    let noise = producer(broker, &[("compression.type", "none"), ("batch.num.messages", "100")]);
    let kilobyte = vec![b'x'; 1000];
    for _ in 0..20_000 {
        let record = Outgoing {
            partition: Some(0),
            value: Some(&kilobyte),
            ..Outgoing::default()
        };
        noise.send(&record).unwrap();
    }
    noise.finish(Duration::from_secs(30)).unwrap();
}

#[test]
fn records_dropped_by_retention_are_named_and_never_skipped() {
    let broker = Broker::start(&[(TOPIC, 1)]).unwrap();
    send(&broker, 0, numbers(0..10));
    // A short prefetch queue, or the reader would have it all in memory before it is dropped.
    let mut short = definition(&broker.bootstrap(), TOPIC);
    let queue = [
        ("queued.max.messages.kbytes", "64"),
        ("fetch.message.max.bytes", "65536"),
    ];
    short.options = queue
        .map(|(key, value)| (key.to_owned(), definition::Secret(value.to_owned())))
        .into();
    let mut running = KafkaSource::open("views", &short, &Positions::new()).unwrap();
    read(running.as_mut(), 10);

    // While the reader stands still.
    fill_over_the_brim(&broker);

    let losses = KafkaSource::losses(&definition(&broker.bootstrap(), TOPIC), &at(&[(0, 10)])).unwrap();
    assert_eq!(losses.len(), 1);
    assert_eq!(
        (losses[0].from, &losses[0].partition),
        (10, &PartitionId::new(TOPIC, 0))
    );
    assert!(losses[0].to > 10_000);

    let error = open(&broker, &at(&[(0, 10)])).err().unwrap();
    assert_eq!(error.kind(), Kind::DataLoss);
    let range = format!("records of view_log/0 from offset 10 to {} are gone", losses[0].to - 1);
    assert!(error.to_string().contains(&range), "{error}");
    assert!(error.to_string().contains("accept-gap -p views"), "{error}");

    // The loss accepted, reading goes on behind it.
    let mut source = open(&broker, &at(&[(0, losses[0].to)])).unwrap();
    assert_eq!(read(source.as_mut(), 1)[0].offset, losses[0].to);

    // The reader that was running all the time has prefetched some; it must stop where the hole begins.
    let mut next = 10;
    let error = loop {
        let polled = running.poll(Duration::from_millis(200), 1000, &mut |record| {
            assert_eq!(record.offset, next, "a silent hole");
            next += 1;
        });
        match polled {
            Ok(_) => assert!(next < 20_010, "nothing was lost for the running reader"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), Kind::DataLoss, "{error}");
    assert_eq!(running.positions(), at(&[(0, next)]));
}

#[test]
fn an_end_before_our_offset_is_a_recreated_topic() {
    let broker = Broker::start(&[(TOPIC, 1)]).unwrap();
    send(&broker, 0, numbers(0..3));
    let error = open(&broker, &at(&[(0, 4)])).err().unwrap();
    assert_eq!(error.kind(), Kind::DataLoss);
    assert!(error.to_string().contains("re-created or truncated"), "{error}");

    let error = open(&broker, &at(&[(0, 3), (1, 1)])).err().unwrap();
    assert_eq!(error.kind(), Kind::DataLoss);
    assert!(
        error.to_string().contains("view_log/1 does not exist any more"),
        "{error}"
    );

    // Positions of a topic declared before are nobody's loss.
    let mut start = at(&[(0, 3)]);
    start.insert(PartitionId::new("before", 7), 1000);
    assert_eq!(open(&broker, &start).unwrap().positions(), at(&[(0, 3)]));
}

#[test]
fn an_unknown_topic_is_an_error_with_a_next_step_and_is_not_created() {
    let broker = Broker::start(&[(TOPIC, 1)]).unwrap();
    for _ in 0..2 {
        let begun = Instant::now();
        let definition = definition(&broker.bootstrap(), "view_lgo");
        let error = KafkaSource::open("views", &definition, &Positions::new())
            .err()
            .unwrap();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(error.to_string().contains("has no topic `view_lgo`"), "{error}");
        assert!(error.next().unwrap().contains("source.topic"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(15));
    }
}

#[test]
fn a_broker_that_does_not_answer_is_named_in_time() {
    let begun = Instant::now();
    let nobody = definition("127.0.0.1:1", TOPIC);
    let error = KafkaSource::open("views", &nobody, &Positions::new()).err().unwrap();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    assert!(
        error.to_string().contains("refused"),
        "librdkafka's reason is missing: {error}"
    );
    assert!(begun.elapsed() < Duration::from_secs(16), "{:?}", begun.elapsed());
}

#[test]
fn a_broker_that_comes_back_is_read_on_without_loss() {
    alone("source_kafka::a_broker_comes_back", &[]);
}

#[test]
#[ignore = "started by its parent"]
fn a_broker_comes_back() {
    let broker = Broker::start(&[(TOPIC, 1)]).unwrap();
    send(&broker, 0, numbers(0..10));
    let mut source = open(&broker, &Positions::new()).unwrap();
    read(source.as_mut(), 10);

    broker.down().unwrap();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1500) {
        let more = source.poll(Duration::from_millis(100), 10, &mut |_| ()).unwrap();
        assert_eq!(more, 0);
    }
    broker.up().unwrap();
    send(&broker, 0, numbers(10..20));
    let got = read(source.as_mut(), 10);
    assert!(got.iter().map(|got| got.offset).eq(10..20));
    assert_eq!(source.doubt(), None, "it is the same topic, by its id");
}

#[test]
fn records_are_recognised_by_their_fingerprints_one_per_partition() {
    let broker = Broker::start(&[(TOPIC, 4)]).unwrap();
    for partition in [0, 1, 2] {
        send(&broker, partition, numbers(0..5));
    }
    let definition = definition(&broker.bootstrap(), TOPIC);
    let id = |partition| PartitionId::new(TOPIC, partition);
    let wanted = [
        (id(0), 3),
        (id(1), 5),  // the end
        (id(2), 50), // past the end
        (id(3), 0),  // empty
        (id(9), 0),  // no such partition
        (PartitionId::new("before", 0), 3),
    ];
    let found = KafkaSource::read_many(&definition, &wanted).unwrap();
    let digest = RecordDigest::from_parts(Some(1_003_000), None, Some(b"3"));
    assert_eq!(found.records, BTreeMap::from([(id(0), digest)]));
    assert!(KafkaSource::read_many(&definition, &[]).unwrap().records.is_empty());
}

#[test]
fn a_first_run_begins_where_the_topic_begins_and_a_partition_found_later_at_zero() {
    let broker = Broker::start(&[(TOPIC, 1)]).unwrap();
    fill_over_the_brim(&broker);
    let mut source = open(&broker, &Positions::new()).unwrap();
    let first = source.positions()[&PartitionId::new(TOPIC, 0)];
    assert!(first > 0, "the broker kept everything");
    assert_eq!(
        KafkaSource::first_offsets(&definition(&broker.bootstrap(), TOPIC)).unwrap(),
        at(&[(0, first)])
    );
    assert_eq!(read(source.as_mut(), 1)[0].offset, first);
    assert_eq!(
        KafkaSource::losses(&definition(&broker.bootstrap(), TOPIC), &Positions::new()).unwrap(),
        []
    );

    // Whoever has read another partition of the topic has missed what this one lost.
    let error = open(&broker, &at(&[(1, 0)])).err().unwrap();
    assert_eq!(error.kind(), Kind::DataLoss);
    let range = format!("records of view_log/0 from offset 0 to {} are gone", first - 1);
    assert!(error.to_string().contains(&range), "{error}");
}

#[test]
fn a_record_that_cannot_be_delivered_is_an_error() {
    let broker = Broker::start(&[(TOPIC, 1)]).unwrap();
    let producer = producer(&broker, &[("message.timeout.ms", "1500")]);
    let record = Outgoing {
        partition: Some(7),
        value: Some(b"x"),
        ..Outgoing::default()
    };
    let outcome = producer
        .send(&record)
        .and_then(|()| producer.flush(Duration::from_secs(20)));
    let error = outcome.err().unwrap();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains(TOPIC), "{error}");
}
