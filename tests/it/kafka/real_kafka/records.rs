//! Transactions, and records at the limit of what a topic takes.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::kafka::bed::{Bed, Sender, lively, plain, send};
use crate::kafka::views::{ONCE, ONCE_AND_CLOSE, Views};
use crate::support::real_kafka::Topic;
use medallion::source::generator::Generator;
use medallion::source::produce::Outgoing;

const WAIT: Duration = Duration::from_secs(30);

/// Sends events in transactions, by their keys.
struct Transactions<'a> {
    producer: BaseProducer,
    topic: &'a str,
    events: Generator,
}

impl<'a> Transactions<'a> {
    fn new(topic: &'a Topic, events: Generator) -> Self {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", topic.brokers())
            .set("transactional.id", topic.topic());
        let producer: BaseProducer = config.create().unwrap();
        producer.init_transactions(WAIT).unwrap();
        Self {
            producer,
            topic: topic.topic(),
            events,
        }
    }

    fn begin(&self, events: std::ops::Range<u64>) {
        self.producer.begin_transaction().unwrap();
        for index in events {
            let event = self.events.event(index);
            let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(self.topic);
            record.timestamp = Some(event.timestamp_ms);
            record.key = event.key.as_deref();
            record.payload = event.value.as_deref();
            self.producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        self.producer.flush(WAIT).unwrap();
    }

    fn commit(&self) {
        self.producer.commit_transaction(WAIT).unwrap();
    }

    fn abort(&self) {
        self.producer.abort_transaction(WAIT).unwrap();
    }
}

#[test]
#[ignore = "needs a broker: MEDALLION_TEST_KAFKA=host:port"]
fn aborted_records_are_nowhere_committed_ones_everywhere_and_holes_in_offsets_are_no_loss() {
    let topic = Topic::create("transactions", 2, &[]);
    let views = Views::new(&topic);
    let transactions = Transactions::new(&topic, plain(1, 1_704_110_400_000_000, 10));
    transactions.begin(0..200);
    transactions.commit();
    transactions.begin(200..300);
    transactions.abort();
    transactions.begin(300..400);
    transactions.commit();
    views.run(&ONCE).unwrap();
    assert_eq!(views.audit().silver, 300);

    // An open transaction is not there yet, nor is what others send behind it.
    transactions.begin(400..450);
    send(&topic, &transactions.events, 450..500, None);
    views.run(&ONCE).unwrap();
    assert_eq!(views.records(), 300);
    transactions.abort();
    transactions.begin(500..510);
    transactions.commit();
    // The last thing in the topic is an abort: the end is reached all the same.
    transactions.begin(510..520);
    transactions.abort();
    views.run(&ONCE_AND_CLOSE).unwrap();
    let report = views.audit();
    assert_eq!((report.silver, report.rejects), (360, 0));
    assert!(report.gaps.is_empty());

    let holes = "select sum(span - records) from (select max(\"offset\") + 1 as span, count(*) as records \
                 from bronze where kind = 'record' group by \"partition\")";
    assert!(views.number(holes) > 150, "aborted records and markers leave holes");
    let ids = views.query("select view_id from silver");
    let kept = (0..200).chain(300..400).chain(450..510);
    let mut expected: Vec<String> = kept
        .map(|index| String::from_utf8(transactions.events.event(index).key.unwrap()).unwrap())
        .collect();
    let mut ids: Vec<String> = ids.into_iter().flatten().collect();
    ids.sort();
    expected.sort();
    assert_eq!(ids, expected);
}

#[test]
#[ignore = "needs a broker: MEDALLION_TEST_KAFKA=host:port"]
fn a_message_of_ten_megabytes_passes() {
    const SIZE: usize = 10 << 20;
    let topic = Topic::create("large", 1, &[("max.message.bytes", "12000000")]);
    let views = Views::new(&topic);
    let events = lively();
    send(&topic, &events, 0..50, None);
    let sender = Sender::with(
        &topic,
        &[("message.max.bytes", "12000000"), ("compression.type", "none")],
    );
    for byte in [b'a', b'b'] {
        let value = vec![byte; SIZE];
        let record = Outgoing {
            value: Some(&value),
            timestamp_ms: Some(1_704_110_400_000),
            ..Outgoing::default()
        };
        sender.record(&record);
        sender.flush();
    }
    send(&topic, &events, 50..100, None);
    views.run(&ONCE).unwrap();
    assert_eq!(views.audit().records, 102);
    let sql =
        |table: &str| format!("select count(*) from {table} where octet_length(try_cast(value as varchar)) = {SIZE}");
    assert_eq!(views.number(&sql("bronze")), 2);
    assert_eq!(views.number(&format!("{} and reason = 'malformed'", sql("rejects"))), 2);
}
