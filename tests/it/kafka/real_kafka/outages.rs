//! A broker that is killed and started again, and one that is frozen, under a live pipeline.

use std::process::Child;
use std::time::{Duration, Instant};

use crate::kafka::bed::{Bed, Sender, lively};
use crate::kafka::suite::expected;
use crate::kafka::views::{ONCE_AND_CLOSE, Views};
use crate::support::command::{cpu_time, ended, start, terminate};
use crate::support::own_kafka::OwnKafka;
use crate::support::view_log::Project;

/// How soon after the broker answers again everything must have come through all layers.
const BACK_WITHIN: Duration = Duration::from_secs(60);
/// How much of one processor may be used while there is nothing to do but to wait for the broker.
const IDLE_SHARE: f64 = 0.25;

impl Bed for OwnKafka {
    fn brokers(&self) -> String {
        self.address()
    }

    fn topic(&self) -> &str {
        &self.topic
    }
}

/// The share of one processor that the process uses for `time`.
fn share(running: &Child, time: Duration) -> f64 {
    let before = cpu_time(running.id());
    std::thread::sleep(time);
    (cpu_time(running.id()) - before).as_secs_f64() / time.as_secs_f64()
}

#[test]
#[ignore = "starts a broker of its own: needs Java, and Kafka's jars by scripts/kafka.sh"]
fn a_broker_that_is_killed_started_again_and_frozen_costs_nothing() {
    let kafka = OwnKafka::start("views", 3);
    let project = Project::over_kafka(&kafka.address(), &kafka.topic);
    let mut views = Views::within(&kafka, &project.path().join("data/lake"));
    let events = lively();
    let running = start(project.path(), &["--log", "warn", "run"]);
    let sender = Sender::new(&kafka);
    sender.events(&events, 0..2_000, None);
    views.until("tables", || {
        views
            .path("bronze")
            .join("_delta_log/00000000000000000001.json")
            .exists()
    });
    views.wait_for(2_000);
    assert!(!cpu_time(running.id()).is_zero(), "its processor time is not seen");

    kafka.kill();
    let away = share(&running, Duration::from_secs(8));
    assert!(away < IDLE_SHARE, "{away:.2} of a processor while the broker is away");
    kafka.start_again();
    let begun = Instant::now();
    sender.events(&events, 2_000..4_000, None);
    views.wait_for(4_000);
    let back = begun.elapsed();
    assert!(back < BACK_WITHIN, "{back:?} after the broker came back");

    let (mut frozen, mut thawed) = (0.0, Duration::ZERO);
    std::thread::scope(|scope| {
        kafka.signal("STOP");
        // Waits in the producer until the broker goes on.
        let sending = scope.spawn(|| sender.events(&events, 4_000..5_000, None));
        frozen = share(&running, Duration::from_secs(10));
        assert_eq!(views.records(), 4_000, "the broker is not frozen");
        kafka.signal("CONT");
        let begun = Instant::now();
        sending.join().unwrap();
        views.wait_for(5_000);
        thawed = begun.elapsed();
    });
    assert!(
        frozen < IDLE_SHARE,
        "{frozen:.2} of a processor while the broker is frozen"
    );
    assert!(thawed < BACK_WITHIN, "{thawed:?} after the broker went on");
    terminate(&running);
    let said = ended(running);
    assert_eq!(said.code, Some(0), "{}", said.err);

    views.kafka().stalled_after = BACK_WITHIN;
    views.run(&ONCE_AND_CLOSE).unwrap();
    assert_eq!(views.fates(), expected(&events, 5_000));
    let report = views.audit();
    assert_eq!((report.records, report.gaps.len(), report.holes), (5_000, 0, 0));
    println!(
        "outages: killed, back in {:.1} s using {away:.2} of a processor meanwhile; frozen, back in {:.1} s using {frozen:.2}",
        back.as_secs_f64(),
        thawed.as_secs_f64()
    );
}
