//! A consumer that gives nothing of what there is: noticed, told, made anew.

use std::net::TcpListener;
use std::time::Duration;

use medallion::error::Kind;

use crate::kafka::bed::{Bed, Mock, Sender, Through, lively};
use crate::kafka::suite::expected;
use crate::kafka::views::{ONCE, ONCE_AND_CLOSE, Views};
use crate::support::command::{ended, start, terminate};
use crate::support::live::{get, sample};
use crate::support::proxy::Proxy;
use crate::support::view_log::Project;

const EVENTS: u64 = 1_000;

#[test]
fn a_consumer_that_gives_nothing_is_made_anew_and_metrics_and_log_say_so() {
    let mock = Mock::start(2);
    let proxy = Proxy::start(&mock.brokers());
    let through = Through {
        proxy: &proxy,
        bed: &mock,
    };
    let project = Project::over_kafka(&through.brokers(), through.topic());
    let lake = project.path().join("data/lake");
    let mut views = Views::within(&through, &lake);
    let events = lively();
    let sender = Sender::new(&mock);
    sender.events(&events, 0..EVENTS, None);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let running = start(project.path(), &["--metrics", &port.to_string(), "run"]);
    views.until("a table", || {
        views
            .path("bronze")
            .join("_delta_log/00000000000000000001.json")
            .exists()
    });
    views.wait_for(EVENTS as i64);
    let metric = |name: &str| {
        let body = get(port, "/metrics").unwrap_or_default();
        sample(&body, name, &["pipeline=\"view_log\""])
    };
    assert_eq!(metric("medallion_source_rebuilds_total"), Some(0.0));
    assert_eq!(metric("medallion_source_stalled"), Some(0.0));
    let told = |what: &str, partition: i32| {
        let body = get(port, "/metrics").unwrap_or_default();
        let partition = format!("partition=\"{partition}\"");
        sample(
            &body,
            &format!("medallion_kafka_{what}"),
            &["topic=\"views\"", &partition],
        )
    };
    views.until("the end of each partition", || {
        let ends = [0, 1].map(|partition| told("end_offset", partition).unwrap_or(0.0));
        let at = [0, 1].map(|partition| told("position_offset", partition).unwrap_or(0.0));
        let lag = [0, 1].map(|partition| told("lag_records", partition));
        ends.iter().sum::<f64>() == EVENTS as f64 && at == ends && lag == [Some(0.0); 2]
    });

    // From now on the client that is running is answered everything but its fetches.
    proxy.swallow_fetches();
    sender.events(&events, EVENTS..2 * EVENTS, None);
    views.wait_for(2 * EVENTS as i64);
    assert!(proxy.count(|faults| &faults.swallowed) > 0, "no fetch was swallowed");
    assert!(metric("medallion_source_rebuilds_total").unwrap() >= 1.0);
    views.until("the end of the trouble", || {
        metric("medallion_source_stalled") == Some(0.0)
    });
    terminate(&running);
    let said = ended(running);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("the source is stalled: views/"), "{}", said.err);

    views.kafka().stalled_after = Duration::from_secs(60);
    views.run(&ONCE_AND_CLOSE).unwrap();
    assert_eq!(views.fates(), expected(&events, 2 * EVENTS));
    assert_eq!(views.audit().records, 2 * EVENTS as i64);
}

#[test]
fn a_source_that_stays_silent_ends_a_one_shot_run_and_is_named() {
    let mock = Mock::start(1);
    let proxy = Proxy::start(&mock.brokers());
    let mut views = Views::new(&Through {
        proxy: &proxy,
        bed: &mock,
    });
    views.kafka().stalled_after = Duration::from_millis(400);
    let events = lively();
    let sender = Sender::new(&mock);
    sender.events(&events, 0..EVENTS, None);
    proxy.swallow_all_fetches();
    let error = views.fails();
    assert_eq!(error.kind(), Kind::Unavailable);
    let told = format!("views/0 ends at offset {EVENTS} and gives nothing from 0 on");
    assert!(error.to_string().contains(&told), "{error}");
    assert!(
        error.to_string().contains("stays stalled after 3 new clients"),
        "{error}"
    );
    assert!(proxy.count(|faults| &faults.swallowed) >= 4, "each client asked");
    assert_eq!(views.records(), 0);
    proxy.swallow_no_fetches();
    views.run(&ONCE).unwrap();
    assert_eq!(views.audit().records, EVENTS as i64);
}
