//! The link to the broker is cut, slow, frozen or noisy: nothing is lost, nothing doubled, and reading goes on.

use std::time::Duration;

use medallion::error::Kind;
use medallion::source::generator::Generator;

use crate::kafka::bed::{Bed, Mock, Sender, Through, lively};
use crate::kafka::suite::expected;
use crate::kafka::views::{ONCE_AND_CLOSE, Views};
use crate::support::proxy::Proxy;

/// A broker, who sends to it, a proxy before it and the pipeline behind the proxy.
fn bed(partitions: i32) -> (Mock, Sender, Proxy, Views) {
    let mock = Mock::start(partitions);
    // Batches that can be recognised on the wire by what is in them.
    let sender = Sender::with(&mock, &[("compression.type", "none")]);
    let proxy = Proxy::start(&mock.brokers());
    let views = Views::new(&Through {
        proxy: &proxy,
        bed: &mock,
    });
    (mock, sender, proxy, views)
}

/// Every event has its fate, each once.
fn complete(views: &Views, events: &Generator, count: u64) {
    views.run(&ONCE_AND_CLOSE).unwrap();
    assert_eq!(views.fates(), expected(events, count));
    let report = views.audit();
    assert_eq!((report.records, report.gaps.len(), report.holes), (count as i64, 0, 0));
    let (counted, late) = views.counted();
    assert_eq!(counted + late, report.silver);
}

#[test]
fn a_connection_cut_in_the_middle_of_an_answer_costs_nothing() {
    let (_mock, sender, proxy, views) = bed(3);
    let events = lively();
    views.live(|views| {
        sender.events(&events, 0..300, None);
        views.wait_for(300);
        // Far less than an answer with what comes now.
        proxy.cut_after(40_000);
        sender.events(&events, 300..3_000, None);
        views.until("four cuts", || proxy.count(|faults| &faults.cuts) >= 4);
        proxy.cut_after(0);
        views.wait_for(3_000);
    });
    complete(&views, &events, 3_000);
    println!(
        "links: {} connections cut in the middle",
        proxy.count(|faults| &faults.cuts)
    );
}

#[test]
fn a_link_that_is_slow_and_then_frozen_costs_nothing() {
    let (_mock, sender, proxy, views) = bed(2);
    let events = lively();
    views.live(|views| {
        proxy.delay(Duration::from_millis(30));
        sender.events(&events, 0..1_000, None);
        views.wait_for(1_000);
        proxy.delay(Duration::ZERO);
        proxy.black_hole(true);
        let answered = proxy.count(|faults| &faults.answered);
        sender.events(&events, 1_000..2_000, None);
        std::thread::sleep(Duration::from_secs(2));
        assert!(
            proxy.count(|faults| &faults.answered) <= answered + 4,
            "the link is not frozen"
        );
        assert_eq!(views.records(), 1_000);
        proxy.black_hole(false);
        views.wait_for(2_000);
    });
    complete(&views, &events, 2_000);
}

#[test]
fn records_garbled_on_the_way_are_read_again_and_never_passed_over() {
    let (_mock, sender, proxy, views) = bed(1);
    let events = lively();
    views.live(|views| {
        sender.events(&events, 0..300, None);
        views.wait_for(300);
        proxy.garble(3, &events.event(300).key.unwrap());
        sender.events(&events, 300..600, None);
        // What comes behind them must not come before them.
        sender.events(&events, 600..1_000, None);
        views.wait_for(1_000);
    });
    assert_eq!(proxy.count(|faults| &faults.garbled), 3);
    // Nor is the record passed over by which the next run knows the topic.
    let last = (600..1_000).rev().find_map(|index| events.event(index).key);
    proxy.garble(1, &last.unwrap());
    complete(&views, &events, 1_000);
    assert_eq!(proxy.count(|faults| &faults.garbled), 4);
}

#[test]
fn records_that_stay_garbled_stop_the_run_each_time_and_name_where_it_stands() {
    let (_mock, sender, proxy, views) = bed(1);
    let events = lively();
    sender.events(&events, 0..300, None);
    sender.events(&events, 300..600, None);
    let mark = events.event(300).key.unwrap();
    sender.events(&events, 600..700, None);
    for _ in 0..2 {
        proxy.garble(1_000, &mark);
        let before = proxy.count(|faults| &faults.garbled);
        let error = views.fails();
        assert_eq!(error.kind(), Kind::Damaged, "{error}");
        let told = "records of views/0 from offset 300 on cannot be read";
        assert!(error.to_string().contains(told), "{error}");
        assert!(error.next().unwrap().contains("accept-gap"), "{error}");
        assert!(proxy.count(|faults| &faults.garbled) >= before + 5);
        assert_eq!(views.records(), 300, "something behind them was taken in");
    }
    println!("links: {} answers garbled", proxy.count(|faults| &faults.garbled));
    proxy.garble(0, &[]);
    complete(&views, &events, 700);
}
