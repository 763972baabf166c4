use rdkafka::bindings::{self, rd_kafka_vtype_t as vtype};
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::*;
use crate::source::embedded::Broker;
use crate::source::produce::{Outgoing, Producer};

fn definition(brokers: &str) -> definition::KafkaSource {
    definition::KafkaSource {
        brokers: brokers.to_owned(),
        topic: "t".to_owned(),
        idle_after: Duration::from_secs(10),
        quiet_after: None,
        stalled_after: Duration::from_secs(60),
        options: BTreeMap::new(),
    }
}

fn send(broker: &Broker, partition: i32, values: &[&[u8]]) {
    let producer = Producer::new(&broker.bootstrap(), "t", &BTreeMap::new()).unwrap();
    for value in values {
        let record = Outgoing {
            partition: Some(partition),
            value: Some(value),
            ..Outgoing::default()
        };
        producer.send(&record).unwrap();
    }
    producer.finish(Duration::from_secs(20)).unwrap();
}

/// A source of both partitions of `t`, of which it was given the first only, as if the second had come later.
fn reader_of_the_first(broker: &Broker) -> KafkaSource {
    let def = definition(&broker.bootstrap());
    let client = Client::new(&def.brokers, &def.topic, &def.options, "medallion-t", &[]).unwrap();
    let source = KafkaSource {
        pipeline: "t".to_owned(),
        client,
        next: [(0, 0)].into(),
        followed: Instant::now(),
        trouble: Trouble::default(),
        pending: None,
    };
    let list = source.partition_list([(0, 0)].into_iter()).unwrap();
    source.client.consumer.assign(&list).unwrap();
    source
}

fn read(source: &mut KafkaSource, count: usize) -> Vec<(i32, i64, Vec<u8>)> {
    let mut got = Vec::new();
    let begun = Instant::now();
    while got.len() < count && begun.elapsed() < Duration::from_secs(20) {
        let mut take = |record: Record<'_>| {
            got.push((
                record.partition,
                record.offset,
                record.value.unwrap_or_default().to_vec(),
            ))
        };
        source.poll(Duration::from_millis(200), 100, &mut take).unwrap();
    }
    got
}

#[test]
fn a_partition_that_appears_is_read_from_its_first_record_and_the_others_go_on() {
    let broker = Broker::start(&[("t", 2)]).unwrap();
    send(&broker, 0, &[b"a", b"b"]);
    send(&broker, 1, &[b"x", b"y"]);
    let mut source = reader_of_the_first(&broker);
    assert_eq!(read(&mut source, 2), [(0, 0, b"a".to_vec()), (0, 1, b"b".to_vec())]);

    assert_eq!(source.discover().unwrap(), [PartitionId::new("t", 1)]);
    assert_eq!(source.discover().unwrap(), []);
    send(&broker, 0, &[b"c"]);
    let mut got = read(&mut source, 3);
    got.sort();
    assert_eq!(
        got,
        [(0, 2, b"c".to_vec()), (1, 0, b"x".to_vec()), (1, 1, b"y".to_vec())]
    );
}

#[test]
fn without_topic_ids_a_lost_connection_makes_the_source_doubt_itself() {
    let cluster = MockCluster::new(1).unwrap();
    // The last versions without ids.
    cluster.apiversion(RDKafkaApiKey::Metadata, Some(0), Some(9)).unwrap();
    cluster.apiversion(RDKafkaApiKey::Fetch, Some(0), Some(12)).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let def = definition(&cluster.bootstrap_servers());
    let producer = Producer::new(&def.brokers, "t", &BTreeMap::new()).unwrap();
    let send = || {
        let record = Outgoing {
            value: Some(b"x"),
            ..Outgoing::default()
        };
        producer.send(&record).unwrap();
        producer.flush(Duration::from_secs(20)).unwrap();
    };
    send();
    let mut source = KafkaSource::open("t", &def, &Positions::new()).unwrap();
    let mut count = 0;
    let begun = Instant::now();
    while count < 1 && begun.elapsed() < Duration::from_secs(20) {
        count += source.poll(Duration::from_millis(100), 10, &mut |_| ()).unwrap();
    }
    assert_eq!((count, source.doubt()), (1, None));
    cluster.broker_down(1).unwrap();
    cluster.broker_up(1).unwrap();
    send();
    while source.doubt().is_none() && begun.elapsed() < Duration::from_secs(20) {
        source.poll(Duration::from_millis(100), 10, &mut |_| ()).unwrap();
    }
    assert!(source.doubt().unwrap().contains("was lost"));
    let at = source.positions();
    for _ in 0..5 {
        source
            .poll(Duration::from_millis(50), 10, &mut |record| panic!("{record:?}"))
            .unwrap();
    }
    assert_eq!(source.positions(), at);
}

#[test]
fn nothing_is_handed_out_of_a_topic_with_another_id_than_the_one_that_was_compared() {
    let broker = Broker::start(&[("t", 1)]).unwrap();
    send(&broker, 0, &[b"a", b"b"]);
    let def = definition(&broker.bootstrap());
    let id = PartitionId::new("t", 0);
    let start: Positions = [(id.clone(), 1)].into();
    let seen = KafkaSource::read_many(&def, &[(id.clone(), 0)]).unwrap();
    assert!(seen.topic.is_some() && seen.records.len() == 1);
    // Also where there is no record to be found.
    let nothing = KafkaSource::read_many(&def, &[(id, 9)]).unwrap();
    assert_eq!((nothing.topic, nothing.records.len()), (seen.topic.clone(), 0));
    let open = |topic| KafkaSource::resume("t", &def, &start, topic).unwrap();

    let mut same = open(seen.topic);
    let (mut values, begun) = (Vec::new(), Instant::now());
    while values.is_empty() && begun.elapsed() < Duration::from_secs(20) {
        let mut take = |record: Record<'_>| values.extend(record.value.map(<[u8]>::to_vec));
        same.poll(Duration::from_millis(100), 10, &mut take).unwrap();
    }
    assert_eq!((values, same.doubt()), (vec![b"b".to_vec()], None));

    // The id comes out of the queue with the first record, if not before it: by one and the same poll.
    let mut other = open(Some(TopicId("another".to_owned())));
    while begun.elapsed() < Duration::from_secs(20) && other.doubt().is_none() {
        let taken = other.poll(Duration::from_secs(1), 10, &mut |record| panic!("{record:?}"));
        assert_eq!(taken.unwrap(), 0);
    }
    assert!(other.doubt().unwrap().contains("another id"));
    assert_eq!(other.positions(), start);
}

#[test]
fn a_topic_that_lost_a_partition_is_a_loss() {
    let broker = Broker::start(&[("t", 1)]).unwrap();
    let mut source = reader_of_the_first(&broker);
    source.next.insert(1, 5);
    let error = source.discover().unwrap_err();
    assert_eq!(error.kind(), Kind::DataLoss);
    assert!(error.to_string().contains("t/1 does not exist any more"), "{error}");
}

#[test]
fn a_topic_we_may_not_read_is_told_at_once_with_broker_and_topic() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.topic_error("t", refused).unwrap();
    let def = definition(&cluster.bootstrap_servers());
    let begun = Instant::now();
    let error = KafkaSource::open("t", &def, &Positions::new()).err().unwrap();
    assert_eq!(error.kind(), Kind::Unavailable);
    let message = error.to_string();
    assert!(
        message.contains(&cluster.bootstrap_servers()) && message.contains("topic `t`"),
        "{message}"
    );
    assert!(message.contains("does not let us read"), "{message}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[test]
#[expect(
    unsafe_code,
    reason = "only librdkafka's own producer sends a header whose name is not UTF-8"
)]
fn a_header_name_that_is_not_utf8_does_no_harm() {
    let broker = Broker::start(&[("t", 1)]).unwrap();
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap());
    let producer: rdkafka::producer::BaseProducer = config.create().unwrap();
    let client = rdkafka::producer::Producer::client(&producer).native_ptr();
    // rdkafka's safe interface takes names as `str`; other producers do not.
    // SAFETY: the client is alive, every argument has the type that its tag announces, and END ends the list.
    let sent = unsafe {
        bindings::rd_kafka_producev(
            client,
            vtype::RD_KAFKA_VTYPE_TOPIC,
            c"t".as_ptr(),
            vtype::RD_KAFKA_VTYPE_HEADER,
            c"na\xffme".as_ptr(),
            c"v".as_ptr(),
            1isize,
            vtype::RD_KAFKA_VTYPE_END,
        )
    };
    assert_eq!(sent, RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR);
    rdkafka::producer::Producer::flush(&producer, Duration::from_secs(10)).unwrap();

    let mut source = KafkaSource::open("t", &definition(&broker.bootstrap()), &Positions::new()).unwrap();
    let mut names = Vec::new();
    while names.is_empty() {
        let mut take = |record: Record<'_>| {
            assert_eq!(record.value, None);
            names.extend(
                record
                    .headers
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), value.map(<[u8]>::to_vec))),
            );
        };
        source.poll(Duration::from_secs(10), 1, &mut take).unwrap();
    }
    assert_eq!(names, [("na\u{fffd}me".to_owned(), Some(b"v".to_vec()))]);
}
