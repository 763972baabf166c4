//! Records of ten megabytes among small ones, and one that is larger than we let an answer be.

use medallion::definition::Secret;
use medallion::error::Kind;
use medallion::source::produce::Outgoing;

use crate::kafka::bed::{Bed, Mock, Sender, lively};
use crate::kafka::views::{ONCE, Views};
use crate::support::command::{ended, peak_rss, start, terminate};
use crate::support::tier::pick;
use crate::support::view_log::Project;

const TEN_MEGABYTES: usize = 10 << 20;
/// Small ones before each large one.
const BETWEEN: u64 = 50;
/// What the process may need at most, in KiB: the fetched, the batch at hand in three layers and its Parquet.
const RSS_MAX: u64 = 900 << 10;

/// Sends one record that is no event.
fn send_large(sender: &Sender, size: usize) {
    let value = vec![b'a'; size];
    sender.record(&Outgoing {
        timestamp_ms: Some(1_704_110_400_000),
        value: Some(&value),
        ..Outgoing::default()
    });
    sender.flush();
}

#[test]
fn records_of_ten_megabytes_pass_among_small_ones_in_bounded_memory() {
    let mock = Mock::start(1);
    let project = Project::over_kafka(&mock.brokers(), mock.topic());
    let views = Views::within(&mock, &project.path().join("data/lake"));
    let events = lively();
    // The broker keeps 5 MiB: on the wire these are small.
    let options = [("message.max.bytes", "12000000"), ("compression.type", "zstd")];
    let sender = Sender::with(&mock, &options);
    let large = pick(6, 24, 24);
    let small = large * BETWEEN;
    for index in 0..large {
        sender.events(&events, index * BETWEEN..(index + 1) * BETWEEN, None);
        send_large(&sender, TEN_MEGABYTES);
    }
    let running = start(project.path(), &["--log", "warn", "run"]);
    views.until("tables", || {
        views
            .path("bronze")
            .join("_delta_log/00000000000000000001.json")
            .exists()
    });
    views.wait_for((small + large) as i64);
    let peak = peak_rss(running.id());
    terminate(&running);
    let said = ended(running);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(peak < RSS_MAX, "{peak} KiB");
    let sizes = |table: &str| {
        views.number(&format!(
            "select count(*) from {table} where octet_length(try_cast(value as varchar)) = {TEN_MEGABYTES}"
        ))
    };
    assert_eq!((sizes("bronze"), sizes("rejects")), (large as i64, large as i64));
    assert_eq!(views.audit().records, (small + large) as i64);
    println!(
        "large: {large} records of 10 MiB among {small}, at most {} MiB resident",
        peak >> 10
    );
}

#[test]
fn a_record_larger_than_an_answer_may_be_is_told_each_time_with_the_setting_and_passes_once_it_is_raised() {
    let mock = Mock::start(1);
    let mut views = Views::new(&mock);
    let events = lively();
    let set = |views: &mut Views, bytes: &[(&str, &str)]| {
        let option = |&(name, value): &(&str, &str)| (name.to_owned(), Secret(value.to_owned()));
        views.kafka().options = bytes.iter().map(option).collect();
    };
    let tight = [
        ("message.max.bytes", "1000000"),
        ("fetch.max.bytes", "1000000"),
        ("receive.message.max.bytes", "1000512"),
    ];
    set(&mut views, &tight);
    let sender = Sender::with(&mock, &[("message.max.bytes", "4000000"), ("compression.type", "none")]);
    sender.events(&events, 0..50, None);
    views.run(&ONCE).unwrap();
    send_large(&sender, 3 << 20);
    sender.events(&events, 50..100, None);
    for _ in 0..2 {
        let error = views.fails();
        assert_eq!(error.kind(), Kind::Definition, "{error}");
        let told = "a record of views/0 from offset 50 on is larger than `receive.message.max.bytes` allows";
        assert!(error.to_string().contains(told), "{error}");
        assert!(error.to_string().contains("Invalid response size 31"), "{error}");
        assert!(
            error.next().unwrap().contains("raise `receive.message.max.bytes`"),
            "{error}"
        );
        assert_eq!(views.records(), 50);
    }
    let live = views.live_fails(|_| ());
    assert_eq!(
        live.kind(),
        Kind::Definition,
        "a live run does not try for ever: {live}"
    );
    set(&mut views, &[]);
    views.run(&ONCE).unwrap();
    assert_eq!(views.audit().records, 101);
}
