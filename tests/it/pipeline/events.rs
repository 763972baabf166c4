//! The table of events: it tells of every commit once, and what it tells adds up to the tables, whoever dies and however
//! many write it.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use medallion::checkpoint::Checkpoints;
use medallion::clock::Clock;
use medallion::layer::silver::Reason;
use medallion::run::silver::SilverLayer;
use medallion::run::{names, replay, tables};
use medallion::table::Lake;
use medallion::table::maintain::{Policy, maintain};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::support::command::{call, done, ended, start, terminate};
use crate::support::faulty::{Fault, Faulty};
use crate::support::project::{PIPELINE, Project, block, lake_over, memory_lake};
use crate::support::rows::{GOLD, number, select};
use crate::support::tier::{pick, seed};

/// Events from the last replay of each table on: what its rows are.
const LIVE: &str = "with replayed as (select dataset_name, max(batch_id) as at from events where event_type = 'replay' \
                    group by dataset_name), \
                    live as (select e.* from events e left join replayed r on e.dataset_name = r.dataset_name \
                    where r.at is null or e.batch_id >= r.at)";

/// What a store, a network or a process may do amid the writing of events.
const FAULTS: [Fault; 8] = [
    Fault::DiesBefore,
    Fault::DiesAfter,
    Fault::RefusedOnce,
    Fault::AnswerLost,
    Fault::OwnExists,
    Fault::LandsLate,
    Fault::Missing,
    Fault::StaleOn,
];

fn datasets() -> [String; 3] {
    ["bronze".to_owned(), "silver".to_owned(), format!("gold/{GOLD}")]
}

/// How many entries the log of a table has.
fn entries(lake: &Lake, dataset: &str) -> i64 {
    let log = Path::from(format!("{PIPELINE}/{dataset}/_delta_log"));
    let found: Vec<_> = block(lake.store().list(Some(&log)).try_collect()).unwrap();
    let is_entry = |name: &str| name.len() == 25 && name.ends_with(".json");
    found
        .iter()
        .filter(|file| is_entry(file.location.filename().unwrap()))
        .count() as i64
}

/// Asserts that every commit of every table is told of once. Nothing of the logs is cleaned away.
#[track_caller]
fn assert_each_told_once(lake: &Lake) {
    for dataset in datasets() {
        let of = format!("from events where dataset_name = '{dataset}'");
        let committed = entries(lake, &dataset);
        assert!(committed > 1, "{dataset}: {committed}");
        let told = ["count(*)", "count(distinct batch_id)", "max(batch_id) + 1"]
            .map(|what| number(lake, &format!("select {what} {of}")));
        assert_eq!(
            told, [committed; 3],
            "{dataset}: rows, versions, newest version and one"
        );
    }
}

/// Asserts that what steps say of rows is what the tables hold.
#[track_caller]
fn assert_adds_up(lake: &Lake) {
    let said = |what: &str, dataset: &str| {
        let sql = format!("{LIVE} select coalesce(sum({what}), 0) from live where dataset_name = '{dataset}'");
        number(lake, &sql)
    };
    let held = |from: &str| number(lake, &format!("select count(*) from {from}"));
    let gold = format!("gold/{GOLD}");
    for (dataset, table) in [("bronze", "bronze"), ("silver", "silver"), (&gold, "gold")] {
        assert_eq!(said("num_output_rows", dataset), held(table), "rows of {table}");
    }
    assert_eq!(said("num_rows_dropped_by_watermark", &gold), held("late"));
    assert_eq!(said("num_ticks", "silver"), held("bronze where kind = 'tick'"));
    for reason in Reason::ALL {
        let word = reason.word();
        let rejected = held(&format!("rejects where reason = '{word}'"));
        assert_eq!(said(&format!("num_rejected_{word}"), "silver"), rejected, "{word}");
    }
    for dataset in datasets() {
        let end = number(
            lake,
            &format!("select max(end_position) from events where dataset_name = '{dataset}'"),
        );
        assert_eq!(end, held("bronze"), "{dataset}");
    }
}

/// The sum of a column over the steps of a table.
fn steps(lake: &Lake, what: &str, dataset: &str) -> i64 {
    let of = format!("from events where event_type = 'flow_progress' and dataset_name = '{dataset}'");
    number(lake, &format!("select sum({what}) {of}"))
}

#[test]
fn what_events_tell_adds_up_to_the_tables_after_restarts_and_a_replay() {
    let project = Project::new(40, 50);
    let (lake, _) = memory_lake();
    for events in [0..150, 150..151, 151..400] {
        project.events("a.ndjson", events);
        project.run(&lake).unwrap();
        assert_each_told_once(&lake);
        assert_adds_up(&lake);
    }
    // Steps follow on each other without a hole, and read what upstream has.
    let before = "lag(end_position) over (partition by dataset_name order by batch_id)";
    let steps_of = format!("select start_position, {before} as before from events where event_type = 'flow_progress'");
    let torn = number(
        &lake,
        &format!("select count(*) from ({steps_of}) where start_position <> coalesce(before, 0)"),
    );
    assert_eq!(torn, 0, "{}", select(&lake, &steps_of));
    let held = |table: &str| number(&lake, &format!("select count(*) from {table}"));
    assert_eq!(steps(&lake, "num_input_rows", "silver"), held("bronze"));
    assert_eq!(steps(&lake, "num_input_rows", &format!("gold/{GOLD}")), held("silver"));
    assert_rules(&project, &lake);
    let unsaid = "select count(*) from events where event_type = 'flow_progress' and (run_id = '' or \
                  duration_ms_read is null or duration_ms_compute is null or cpu_time_ms is null or \
                  num_input_bytes is null or num_output_bytes is null or event_date is null or \
                  (layer <> 'bronze' and (backlog_records is null or state_num_rows_total is null)))";
    assert_eq!(number(&lake, unsaid), 0);
    let timed = "select count(*) from events where duration_ms_previous_commit > 0";
    assert!(number(&lake, timed) > 5);

    block(replay::silver(
        &lake,
        project.path(),
        &project.pipeline(),
        replay::Extent::All,
        &|_, _, _| {},
    ))
    .unwrap();
    project.events("a.ndjson", 400..450);
    project.run(&lake).unwrap();
    assert_each_told_once(&lake);
    assert_adds_up(&lake);
    assert_eq!(held("events where event_type = 'replay'"), 2, "silver and gold");
    assert_eq!(held("events where event_type = 'dataset_definition'"), 3);
}

/// Asserts that the rules' counts are those that silver tells metrics of.
#[track_caller]
fn assert_rules(project: &Project, lake: &Lake) {
    let checkpoints = Checkpoints::off();
    let pipeline = project.pipeline();
    let opened = SilverLayer::open(lake, project.path(), &checkpoints, &pipeline, false);
    let totals = block(opened).unwrap().unwrap().totals().clone();
    for (rule, failed) in &totals.failed_rules {
        let rules = "select unnest(expectations) as rule from events where dataset_name = 'silver'";
        for (member, records) in [("failed_records", *failed), ("passed_records", totals.judged - failed)] {
            let sum = format!("select sum(rule['{member}']) from ({rules}) where rule['name'] = '{rule}'");
            assert_eq!(number(lake, &sum), records as i64, "{rule} {member}");
        }
    }
    assert!(totals.failed_rules.iter().any(|(_, failed)| *failed > 0), "{totals:?}");
}

#[test]
fn a_store_that_fails_at_any_call_of_events_neither_loses_nor_doubles_one() {
    let project = Project::new(60, 70);
    project.events("a.ndjson", 0..200);
    let (lake, before) = memory_lake();
    project.run(&lake).unwrap();
    project.events("a.ndjson", 200..300);
    let counting = Faulty::counting(Arc::new(before.fork()));
    project.run_in_turn(&lake_over(counting.clone())).unwrap();
    let events = names::events_path(PIPELINE);
    let calls = counting.calls().into_iter().enumerate();
    let of_events = calls.filter(|(_, (_, path))| path.as_ref().starts_with(&events));
    let every = of_events.flat_map(|(at, call)| FAULTS.map(|fault| (fault, at, call.clone())));
    let cases: Vec<_> = every.filter(|(fault, _, (kind, _))| fault.applies(*kind)).collect();
    assert!(cases.len() > 60, "{} cases", cases.len());
    // What changes the store is where a row could be lost or doubled.
    let (changes, reads): (Vec<_>, Vec<_>) = cases.into_iter().partition(|(_, _, (kind, _))| kind.changes());
    let sampled = |cases: Vec<_>, step: usize| cases.into_iter().skip(seed() as usize % step).step_by(step);
    let cases = sampled(changes, pick(4, 1, 1)).chain(sampled(reads, pick(60, 5, 1)));
    for (fault, at, call) in cases {
        let when = format!("{fault:?} at call {at}, {call:?}");
        println!("{when}");
        let store = Arc::new(before.fork());
        let faulty = Faulty::new(store.clone(), fault, at);
        let ran = project.run_in_turn(&lake_over(faulty.clone()));
        assert!(faulty.hit().is_some_and(|(hit, _)| hit == at), "{when} did not happen");
        // Only a store that is gone, or lies, is anything to the layers.
        assert!(ran.is_ok() || fault.kills() || fault.lies(), "{when}: {:?}", ran.err());
        let lake = lake_over(store);
        project.run_in_turn(&lake).unwrap();
        assert_each_told_once(&lake);
        assert_adds_up(&lake);
    }
}

#[test]
fn a_log_that_was_cleaned_before_it_was_told_of_is_told_of_from_there() {
    let project = Project::new(20, 25);
    project.events("a.ndjson", 0..200);
    let (lake, store) = memory_lake();
    project.run(&lake).unwrap();
    forget_events(&store);
    let everything = Policy {
        target_bytes: 16 << 20,
        log_retention: Duration::ZERO,
        vacuum_age: Duration::ZERO,
    };
    let specs = tables::all(&project.pipeline()).unwrap();
    assert!(specs.iter().any(|spec| spec.path == names::events_path(PIPELINE)));
    // By the machine's clock, as the store has it, too: else nothing is old enough.
    let now = Lake::with_store(lake.url().clone(), store.clone(), Clock::system());
    for spec in &specs {
        block(maintain(&now, spec, everything)).unwrap();
    }
    project.events("a.ndjson", 200..300);
    project.run(&lake).unwrap();
    project.assert_sound(&lake);
    for dataset in datasets() {
        let of = format!("from events where dataset_name = '{dataset}'");
        let [oldest, newest, told] =
            ["min(batch_id)", "max(batch_id)", "count(*)"].map(|what| number(&lake, &format!("select {what} {of}")));
        assert!(oldest > 1, "{dataset} was not cleaned");
        assert_eq!(told, newest - oldest + 1, "{dataset}");
        assert_eq!(told, entries(&lake, &dataset), "{dataset}");
    }
    // From there on nothing is missed, compactions of the table itself included.
    for spec in &specs {
        block(maintain(
            &lake,
            spec,
            Policy {
                log_retention: Duration::from_secs(3600),
                ..everything
            },
        ))
        .unwrap();
    }
    project.run(&lake).unwrap();
    for dataset in datasets() {
        let told = number(
            &lake,
            &format!("select count(*) from events where dataset_name = '{dataset}'"),
        );
        assert_eq!(told, entries(&lake, &dataset), "{dataset}");
    }
    let compactions = "select count(*) from events where event_type = 'maintenance_progress'";
    assert!(number(&lake, compactions) >= 1);
}

fn forget_events(store: &InMemory) {
    let events = Path::from(names::events_path(PIPELINE));
    let found: Vec<_> = block(store.list(Some(&events)).try_collect()).unwrap();
    assert!(!found.is_empty());
    for file in found {
        block(store.delete(&file.location)).unwrap();
    }
}

#[test]
fn processes_that_end_at_once_or_are_killed_tell_of_every_step_once() {
    let project = Project::new(25, 40);
    for round in 0..4_u64 {
        project.events("a.ndjson", round * 150..(round + 1) * 150);
        let running = ["bronze", "silver", "gold"]
            .map(|layer| start(project.path(), &["run", layer, "-p", PIPELINE, "--log", "warn"]));
        reach(&project, (round + 1) * 130);
        for child in &running {
            terminate(child);
        }
        for (place, mut child) in (0..).zip(running) {
            // Some of them amid their last round.
            if round % 2 == 1 {
                std::thread::sleep(Duration::from_millis(round * 4 + place * 3));
                child.kill().unwrap();
            }
            let said = ended(child);
            assert!(round % 2 == 1 || said.code == Some(0), "{}", said.err);
            assert!(!said.err.contains("events are not told"), "{}", said.err);
        }
        if round % 2 == 0 {
            // Whoever was first, nobody was kept from telling.
            assert_each_told_once(&project.lake());
        }
    }
    done(project.path(), &["run", "-p", PIPELINE, "--once", "--close-windows"]);
    done(project.path(), &["audit", "-p", PIPELINE]);
    assert_each_told_once(&project.lake());
    assert_adds_up(&project.lake());
}

/// Waits until gold has passed `seq`.
fn reach(project: &Project, seq: u64) {
    let begun = std::time::Instant::now();
    loop {
        let said = call(project.path(), &["status", "-p", PIPELINE, "--output", "json"]);
        let status: serde_json::Value = serde_json::from_str(&said.out).unwrap_or_default();
        let position = status[0]["layers"][2]["position"].as_u64();
        if position.is_some_and(|position| position >= seq) {
            return;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(90),
            "{position:?} of {seq}: {}",
            said.err
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_run_that_fails_tells_of_what_it_did() {
    let project = Project::new(40, 50);
    project.events("a.ndjson", 0..100);
    done(project.path(), &["run", "bronze", "-p", PIPELINE, "--once"]);
    let campaigns = project.read("data/campaigns.csv");
    project.write("data/campaigns.csv", "no,campaigns\n");
    let said = call(project.path(), &["run", "-p", PIPELINE, "--once"]);
    assert_ne!(said.code, Some(0), "{}", said.err);
    let lake = project.lake();
    let told = number(&lake, "select count(*) from events where dataset_name = 'bronze'");
    assert_eq!(told, entries(&lake, "bronze"));
    project.write("data/campaigns.csv", &campaigns);
    let said = done(
        project.path(),
        &[
            "query",
            "select count(*) as steps from view_log.events",
            "--output",
            "json",
        ],
    );
    assert!(said.out.contains("steps"), "{}", said.out);
}
