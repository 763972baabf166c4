//! A topic that changes under a live pipeline: what it loses, what it becomes, what is open in it.

use std::time::Duration;

use medallion::definition::Secret;
use medallion::error::{Error, Kind};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::kafka::bed::{Bed, Through, lively, plain, send};
use crate::kafka::views::{ONCE, ONCE_AND_CLOSE, Views};
use crate::support::proxy::Proxy;
use crate::support::real_kafka::{Topic, brokers};

const WAIT: Duration = Duration::from_secs(30);

/// A topic with events 0..50, read live through a proxy up to its end while `change` is done to it; how the run ends.
fn changed(name: &str, change: impl FnOnce(&Topic, &Proxy)) -> (Topic, Views, Error) {
    let topic = Topic::create(name, 1, &[]);
    let proxy = Proxy::start(&brokers());
    let mut views = Views::new(&Through {
        proxy: &proxy,
        bed: &topic,
    });
    // What has changed and the first record after it come as soon one after the other as they can.
    let hasty = ("fetch.error.backoff.ms".to_owned(), Secret("1".to_owned()));
    views.kafka().options.extend([hasty]);
    send(&topic, &lively(), 0..50, None);
    let error = views.live_fails(|views| {
        views.until("tables", || views.has_gold());
        views.wait_for(50);
        change(&topic, &proxy);
    });
    views.kafka().brokers = brokers();
    assert_eq!(error.kind(), Kind::DataLoss, "{error}");
    assert_eq!(views.records(), 50, "records of what it has become were taken in");
    (topic, views, error)
}

/// The loss is told by every later run as well, until it is accepted; then reading goes on.
fn stays_until_accepted(topic: &Topic, views: &Views, (from, to, why): (i64, i64, &str), records: i64) {
    views.assert_lost(&format!("{}/0", topic.name));
    assert_eq!(views.accept(true).len(), 1);
    views.run(&ONCE_AND_CLOSE).unwrap();
    let report = views.audit();
    assert_eq!(
        report.gaps,
        [format!("{}/0 from offset {from} to {to} ({why})", topic.name)]
    );
    assert_eq!(report.records, records);
}

#[test]
#[ignore = "needs a broker: MEDALLION_TEST_KAFKA=host:port"]
fn retention_past_a_running_reader_stops_it_with_the_exact_range() {
    let (topic, views, error) = changed("retention-live", |topic, proxy| {
        // The reader is held while records come and go.
        proxy.black_hole(true);
        std::thread::sleep(Duration::from_millis(300));
        send(topic, &lively(), 50..300, None);
        topic.delete_before(0, 120);
        proxy.black_hole(false);
    });
    let told = format!("records of {}/0 from offset 50 to 119 are gone", topic.name);
    assert!(error.to_string().contains(&told), "{error}");
    stays_until_accepted(&topic, &views, (50, 120, "expired"), 50 + 180);
}

#[test]
#[ignore = "needs a broker: MEDALLION_TEST_KAFKA=host:port"]
fn a_topic_made_anew_and_shorter_stops_a_running_reader() {
    let (topic, views, error) = changed("shorter-live", |topic, _| {
        topic.delete();
        topic.create_again(1, &[]);
        send(topic, &lively(), 100..120, None);
    });
    let told = format!("{}/0 ends before offset 50", topic.name);
    assert!(error.to_string().contains(&told), "{error}");
    stays_until_accepted(&topic, &views, (50, 0, "recreated"), 50 + 20);
}

#[test]
#[ignore = "needs a broker: MEDALLION_TEST_KAFKA=host:port"]
fn a_topic_made_anew_and_longer_stops_a_running_reader_before_its_first_record() {
    let (topic, views, error) = changed("longer-live", |topic, _| {
        topic.delete();
        topic.create_again(1, &[]);
        send(topic, &lively(), 100..180, None);
    });
    assert!(error.to_string().contains(&format!("{}/0 ", topic.name)), "{error}");
    let (to, records) = (0, 50 + 80);
    views.assert_lost(&format!("{}/0 was replaced", topic.name));
    stays_until_accepted(&topic, &views, (50, to, "replaced"), records);
}

/// A topic is made anew and longer while `hide` keeps all of it from the reader, who sees neither an unknown topic nor an
/// offset out of range.
fn made_anew_unseen(name: &str, hide: impl Fn(&Proxy, bool)) {
    let (topic, views, error) = changed(name, |topic, proxy| {
        hide(proxy, true);
        topic.delete();
        topic.create_again(1, &[]);
        send(topic, &lively(), 100..180, None);
        hide(proxy, false);
    });
    let told = format!(
        "{}/0 was replaced: the record before offset 50 is not the one",
        topic.name
    );
    assert!(error.to_string().contains(&told), "{error}");
    stays_until_accepted(&topic, &views, (50, 0, "replaced"), 50 + 80);
}

#[test]
#[ignore = "needs a broker: MEDALLION_TEST_KAFKA=host:port"]
fn a_topic_made_anew_and_longer_behind_a_frozen_link_is_not_read_on() {
    made_anew_unseen("longer-frozen", Proxy::black_hole);
}

#[test]
#[ignore = "needs a broker: MEDALLION_TEST_KAFKA=host:port"]
fn a_topic_made_anew_and_longer_behind_a_cut_link_is_not_read_on() {
    made_anew_unseen("longer-cut", Proxy::refuse);
}

#[test]
#[ignore = "needs a broker: MEDALLION_TEST_KAFKA=host:port"]
fn an_open_transaction_neither_stalls_the_other_partitions_nor_looks_like_a_stall() {
    let topic = Topic::create("open", 2, &[]);
    let mut views = Views::new(&topic);
    views.kafka().stalled_after = Duration::from_secs(1);
    views.kafka().idle_after = Duration::from_millis(500);
    let events = plain(1, 1_704_110_400_000_000, 1);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", topic.brokers())
        .set("transactional.id", topic.topic())
        .create()
        .unwrap();
    producer.init_transactions(WAIT).unwrap();
    let begin = |range: std::ops::Range<u64>| {
        producer.begin_transaction().unwrap();
        for index in range {
            let event = events.event(index);
            let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic.topic()).partition(0);
            record.timestamp = Some(event.timestamp_ms);
            record.payload = event.value.as_deref();
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(WAIT).unwrap();
    };
    views.live(|views| {
        send(&topic, &events, 0..10, Some(1));
        views.wait_for(10);
        begin(10..20);
        // Three minutes of events beside and behind the open transaction, over eight times `stalled_after`.
        for second in 0..8 {
            send(&topic, &events, 20 + second * 20..40 + second * 20, Some(1));
            std::thread::sleep(Duration::from_secs(1));
        }
        views.wait_for(170);
        views.until("a closed window", || {
            views.has_gold() && views.number("select count(*) from gold") > 0
        });
        assert_eq!(views.records(), 170, "something of the open transaction was read");
        producer.commit_transaction(WAIT).unwrap();
        views.wait_for(180);
        begin(200..210);
        std::thread::sleep(Duration::from_secs(3));
        producer.abort_transaction(WAIT).unwrap();
        send(&topic, &events, 210..220, Some(0));
        views.wait_for(190);
    });
    let starts = "select count(*) from bronze where kind = 'tick' and cast(value as varchar) like '%\"start\"%'";
    assert_eq!(views.number(starts), 1, "an open transaction was taken for a stall");
    views.run(&ONCE).unwrap();
    let report = views.audit();
    assert_eq!((report.records, report.gaps.len()), (190, 0));
    assert!(report.holes > 0, "markers and aborted records have offsets");
}
