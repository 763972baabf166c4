//! Records that Kafka no longer has: the pipeline stops, stays stopped, and goes on once the operator has said so.

use std::ops::Range;

use crate::kafka::bed::{lively, send};
use crate::kafka::views::{ONCE, ONCE_AND_CLOSE, Views};
use crate::support::real_kafka::Topic;

/// A topic with one partition and events 0..50, all of which bronze has.
fn read_to_the_end(name: &str) -> (Topic, Views) {
    let topic = Topic::create(name, 1, &[]);
    let views = Views::new(&topic);
    send(&topic, &lively(), 0..50, None);
    views.run(&ONCE).unwrap();
    assert_eq!(views.audit().records, 50);
    (topic, views)
}

fn send_more(topic: &Topic, events: Range<u64>) {
    send(topic, &lively(), events, None);
}

/// Accepts the one gap there is, and proves that the run then goes on to `records` records in all.
fn accept_and_go_on(views: &Views, topic: &Topic, (from, to): (i64, i64), records: i64) {
    let gap = format!("{}/0 from offset {from} to {to} (", topic.name);
    // Looking alone changes nothing.
    assert_eq!(views.accept(false).len(), 1);
    assert_eq!(views.fails().kind(), medallion::error::Kind::DataLoss);

    let accepted = views.accept(true);
    let span: Vec<_> = accepted.iter().map(|loss| (loss.from, loss.to)).collect();
    assert_eq!(span, [(from, to)]);
    assert_eq!(views.accept(true), [], "there is nothing more to accept");
    views.run(&ONCE).unwrap();
    let report = views.audit();
    assert_eq!((report.records, report.gaps.len()), (records, 1));
    assert!(report.gaps[0].starts_with(&gap), "{:?}", report.gaps);
    // And once more, with something new.
    send_more(topic, 900..950);
    views.run(&ONCE_AND_CLOSE).unwrap();
    assert_eq!(views.audit().records, records + 50);
}

#[test]
#[ignore = "needs a broker: MEDALLION_TEST_KAFKA=host:port"]
fn what_retention_took_stops_the_pipeline_until_the_gap_is_accepted() {
    let (topic, views) = read_to_the_end("retention");
    send_more(&topic, 50..300);
    topic.delete_before(0, 120);
    views.assert_lost(&format!("records of {}/0 from offset 50 to 119 are gone", topic.name));
    accept_and_go_on(&views, &topic, (50, 120), 50 + 180);
}

#[test]
#[ignore = "needs a broker: MEDALLION_TEST_KAFKA=host:port"]
fn a_first_run_of_an_old_topic_begins_where_the_topic_begins() {
    let topic = Topic::create("old", 2, &[]);
    let views = Views::new(&topic);
    send(&topic, &lively(), 0..100, Some(0));
    send(&topic, &lively(), 100..150, Some(1));
    topic.delete_before(0, 40);
    views.run(&ONCE).unwrap();
    let report = views.audit();
    assert_eq!((report.records, report.gaps.len()), (110, 0));
    // Nothing was lost to us before, but from now on something can be.
    send(&topic, &lively(), 200..210, Some(0));
    topic.delete_before(0, 105);
    views.assert_lost(&format!("records of {}/0 from offset 100 to 104 are gone", topic.name));
}

#[test]
#[ignore = "needs a broker: MEDALLION_TEST_KAFKA=host:port"]
fn a_topic_made_anew_and_shorter_stops_the_pipeline_until_accepted() {
    let (topic, views) = read_to_the_end("shorter");
    topic.delete();
    topic.create_again(1, &[]);
    send_more(&topic, 100..120);
    views.assert_lost(&format!("{}/0 ends before offset 50", topic.name));
    accept_and_go_on(&views, &topic, (50, 0), 50 + 20);
}

#[test]
#[ignore = "needs a broker: MEDALLION_TEST_KAFKA=host:port"]
fn a_topic_made_anew_and_longer_is_recognised_by_its_records() {
    let (topic, views) = read_to_the_end("longer");
    topic.delete();
    topic.create_again(1, &[]);
    send_more(&topic, 100..180);
    views.assert_lost(&format!(
        "{}/0 was replaced: the record before offset 50 is not the one",
        topic.name
    ));
    accept_and_go_on(&views, &topic, (50, 0), 50 + 80);
}

#[test]
#[ignore = "needs a broker: MEDALLION_TEST_KAFKA=host:port"]
fn a_topic_made_anew_that_has_lost_its_beginning_too_is_read_from_its_first_record() {
    let (topic, views) = read_to_the_end("anew-and-cut");
    topic.delete();
    topic.create_again(1, &[]);
    send_more(&topic, 100..180);
    topic.delete_before(0, 10);
    views.assert_lost(&format!("{}/0 was replaced", topic.name));
    accept_and_go_on(&views, &topic, (50, 10), 50 + 70);
}

#[test]
#[ignore = "needs a broker: MEDALLION_TEST_KAFKA=host:port"]
fn a_topic_made_anew_without_any_record_to_know_it_by_is_recognised_by_its_id() {
    let (topic, views) = read_to_the_end("anew-and-bare");
    topic.delete();
    topic.create_again(1, &[]);
    send_more(&topic, 100..180);
    // It begins where reading was to go on: neither an offset nor a record tells.
    topic.delete_before(0, 50);
    views.assert_lost(&format!("{}/0 was replaced", topic.name));
    accept_and_go_on(&views, &topic, (50, 50), 50 + 30);
}

#[test]
#[ignore = "needs a broker: MEDALLION_TEST_KAFKA=host:port"]
fn both_kinds_of_loss_in_one_topic_are_accepted_together() {
    let topic = Topic::create("both", 2, &[]);
    let views = Views::new(&topic);
    let events = lively();
    for partition in [0, 1] {
        let first = 50 * u64::from(partition == 1);
        send(&topic, &events, first..first + 50, Some(partition));
    }
    views.run(&ONCE).unwrap();
    topic.delete();
    topic.create_again(2, &[]);
    send(&topic, &events, 100..120, Some(0));
    send(&topic, &events, 200..280, Some(1));
    views.assert_lost(&format!("{}/0 ends before offset 50", topic.name));
    assert_eq!(views.accept(true).len(), 2);
    views.run(&ONCE).unwrap();
    let report = views.audit();
    assert_eq!((report.records, report.gaps.len()), (200, 2));
}
