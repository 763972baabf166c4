//! Records that are gone: every run stops and says so, until the operator accepts it; then everything tells of it.

use medallion::layer::bronze::{BronzeBuilder, Gap, Reason, Tick};
use medallion::run::names;
use medallion::source::PartitionId;
use medallion::source::produce::Outgoing;
use medallion::table::Append;
use serde_json::{Value, json};

use crate::kafka::bed::{Bed, Mock, Sender, lively, send};
use crate::kafka::views::{ONCE, Views};
use crate::support::command::{call, done};
use crate::support::view_log::Project;

/// Sends so much to partition 0 that the broker drops the oldest of it: it keeps 5 MiB.
fn overflow(sender: &Sender) {
    let value = vec![b'x'; 10_000];
    for _ in 0..1_000 {
        sender.record(&Outgoing {
            partition: Some(0),
            timestamp_ms: Some(1_704_110_400_000),
            value: Some(&value),
            ..Outgoing::default()
        });
    }
    sender.flush();
}

#[test]
fn a_lost_range_stops_every_run_until_it_is_accepted_and_is_told_ever_after() {
    let mock = Mock::start(1);
    let project = Project::over_kafka(&mock.brokers(), mock.topic());
    let views = Views::within(&mock, &project.path().join("data/lake"));
    let sender = Sender::with(&mock, &[("compression.type", "none"), ("batch.num.messages", "50")]);
    sender.events(&lively(), 0..50, None);
    done(project.path(), &["run", "--once"]);
    overflow(&sender);

    let mut range = String::new();
    // A live run stops by itself, too, and looking does not accept.
    let calls: [&[&str]; 5] = [
        &["run", "--once"],
        &["status", "--source"],
        &["run"],
        &["accept-gap", "-p", "view_log"],
        &["run", "bronze"],
    ];
    for args in calls {
        let said = call(project.path(), args);
        let looks = args[0] == "accept-gap";
        assert_eq!(said.code, Some(if looks { 2 } else { 1 }), "{args:?}: {}", said.err);
        let words = if looks { &said.out } else { &said.err };
        let from = words
            .find("records of views/0 from offset 50 to ")
            .unwrap_or_else(|| panic!("{args:?}: {words}"));
        let told = words[from..].split(" are gone").next().unwrap().to_owned();
        assert!(range.is_empty() || range == told, "{range} and then {told}");
        range = told;
        assert!(said.err.contains("medallion accept-gap -p view_log"), "{}", said.err);
    }
    let to: i64 = range.rsplit(' ').next().unwrap().parse::<i64>().unwrap() + 1;
    assert!(to > 51, "{range}");

    done(project.path(), &["accept-gap", "-p", "view_log", "--yes"]);
    done(project.path(), &["run", "--once"]);
    let stands = done(project.path(), &["status", "--source", "--output", "json"]);
    let stands: Value = serde_json::from_str(&stands.out).unwrap();
    assert_eq!(stands[0]["trouble"], Value::Null);
    assert_eq!(stands[0]["layers"][0]["lag_rows"], 0, "{stands}");
    let ticks = views.query("select cast(value as varchar) from bronze where kind = 'tick' order by seq");
    let ticks: Vec<Value> = ticks.iter().map(|row| serde_json::from_str(&row[0]).unwrap()).collect();
    let gaps: Vec<&Value> = ticks.iter().filter(|tick| tick["reason"] == "gap").collect();
    assert_eq!(gaps.len(), 1, "{ticks:?}");
    let gap = json!({"partition": "views/0", "from": 50, "to": to, "why": "expired"});
    assert_eq!(gaps[0]["gap"], gap);
    assert!(gaps[0]["at"].as_str().unwrap().starts_with("20"));

    let told = format!("views/0 from offset 50 to {to} (expired)");
    let report = views.audit();
    assert_eq!(report.gaps, [told.as_str()]);
    assert_eq!(
        (report.records, report.holes),
        (1_050 - (to - 50), 0),
        "an accepted gap is no hole"
    );
    let said = done(project.path(), &["audit"]);
    assert!(said.out.contains("accepted gaps: 1"), "{}", said.out);
    assert!(said.out.contains(&format!("accepted gap: {told}")), "{}", said.out);
    println!("gaps: {} calls stopped, one gap accepted", calls.len());
}

#[test]
fn the_audit_counts_offsets_without_a_record_and_finds_a_gap_that_covers_records() {
    let mock = Mock::start(1);
    let views = Views::new(&mock);
    send(&mock, &lively(), 0..50, None);
    views.run(&ONCE).unwrap();
    assert_eq!(views.audit().holes, 0);

    // Offsets 50 to 59 have no record, and nobody accepted that; a gap is told where records 55 to 59 would be.
    let partition = PartitionId::new(mock.topic(), 0);
    let seq = views.number("select max(seq) + 1 from bronze");
    let mut builder = BronzeBuilder::new(seq);
    let record = |offset| medallion::source::Record {
        topic: mock.topic(),
        partition: 0,
        offset,
        timestamp: Some(1_704_110_400_000_000),
        timestamp_type: medallion::source::TimestampType::Create,
        key: None,
        value: None,
        headers: &[],
    };
    builder.record(&record(60), 0);
    builder.record(&record(63), 0);
    let mut tick = Tick::new(Reason::Gap, "2026-01-01T00:00:00Z".to_owned(), &[], &[], 0);
    tick.gap = Some(Gap {
        partition: partition.to_string(),
        from: 61,
        to: 70,
        why: None,
    });
    builder.tick(&tick, 0);
    let next = builder.next_seq();
    let batch = builder.finish().unwrap();
    views.append_to_bronze(Append {
        rows: batch.as_ref(),
        txns: vec![
            (names::bronze_seq("view_log"), next),
            (names::bronze_partition("view_log", &partition), 70),
        ],
        info: json!({}),
    });
    let report = views.audited();
    assert_eq!((report.holes, report.offsets_without_record), (2, 12));
    let found: Vec<&str> = report.findings.iter().map(|finding| finding.what.as_str()).collect();
    let covers = format!(
        "the gap views/0 from offset 61 to 70 accepted at seq {} covers records that are there",
        next - 1
    );
    assert_eq!(found, [covers]);
}
