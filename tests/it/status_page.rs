//! What a run shows of itself in a browser, and `status` in a terminal.

use std::collections::BTreeMap;

use medallion::run::overview;
use serde_json::Value;

use crate::support::command::done;
use crate::support::faulty::{Faulty, Kind};
use crate::support::live::Live;
use crate::support::project::{PIPELINE, Project, block, lake_over, memory_lake};

/// What `status` says now.
fn status(project: &Project) -> Value {
    let said = done(project.path(), &["status", "-p", PIPELINE, "--output", "json"]);
    serde_json::from_str::<Value>(&said.out).unwrap()[0].take()
}

/// A pipeline as the page has it, without what only a run knows and what differs with the moment.
fn shown(live: &Live) -> (Value, Value) {
    let (code, body) = live.ask("/status.json");
    assert_eq!(code, 200, "{body}");
    let mut status: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    let mut pipeline = status["pipelines"][0].take();
    let members = pipeline.as_object_mut().unwrap();
    let (fares, history) = (members.remove("fares").unwrap(), members.remove("history").unwrap());
    let newest = history.as_array().unwrap().last().unwrap();
    assert_eq!(
        newest["positions"]["gold"], pipeline["layers"][2]["position"],
        "{history}"
    );
    (pipeline, fares)
}

fn without_ages(mut pipeline: Value) -> Value {
    for layer in pipeline["layers"].as_array_mut().unwrap() {
        layer.as_object_mut().unwrap().remove("lag_seconds");
    }
    pipeline
}

#[test]
fn the_page_has_the_numbers_of_the_command_and_all_its_files() {
    let project = Project::new(40, 50);
    project.commits_after("200ms");
    project.events("a.ndjson", 0..400);
    let live = Live::start(&project);
    live.wait_until_all_reach(350.0);
    // The tick that says that the file was read to its end comes within two seconds of the start, and is the last.
    let settled = || {
        let first = without_ages(status(&project));
        std::thread::sleep(std::time::Duration::from_secs(3));
        (first == without_ages(status(&project))).then_some(first)
    };
    let told = std::iter::repeat_with(settled).take(20).flatten().next().unwrap();
    // The page may be two seconds old.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let (pipeline, fares) = shown(&live);
    assert_eq!(without_ages(pipeline), told);
    assert_eq!(fares.as_array().unwrap().len(), 3);
    assert!(fares.as_array().unwrap().iter().all(|fare| fare["state"] == "working"));

    let quality = &told["quality"];
    let sum: u64 = [
        "accepted",
        "malformed",
        "schema",
        "lookup",
        "expectation",
        "event_time",
        "duplicate",
        "dropped",
    ]
    .map(|fate| quality[fate].as_u64().unwrap())
    .iter()
    .sum();
    assert_eq!(quality["records"], sum);
    let rejects = told["rejects"].as_array().unwrap();
    assert_eq!(rejects.len(), 10);
    let seqs: Vec<i64> = rejects.iter().map(|row| row["seq"].as_i64().unwrap()).collect();
    assert!(seqs.is_sorted_by(|newer, older| newer > older), "{seqs:?}");
    let gold = &told["gold"][0];
    assert!(!gold["rows"].as_array().unwrap().is_empty());
    assert_eq!(
        gold["rows"][0].as_object().unwrap().len(),
        gold["columns"].as_array().unwrap().len()
    );

    for (path, word) in [("/", "page.js"), ("/page.js", "status.json"), ("/page.css", "--paper")] {
        let (code, body) = live.ask(path);
        assert!(code == 200 && body.contains(word), "{path}: {code} {body}");
    }
    let said = live.end();
    assert_eq!(said.code, Some(0), "{}", said.err);
    let table = done(project.path(), &["status", "-p", PIPELINE]);
    assert!(
        table.out.contains(&format!("{PIPELINE}: {sum} records: ")),
        "{}",
        table.out
    );
}

#[test]
fn a_look_reads_the_log_of_each_table_once() {
    let project = Project::new(40, 50);
    project.events("a.ndjson", 0..400);
    let (lake, store) = memory_lake();
    project.run(&lake).unwrap();
    let counting = Faulty::counting(store);
    let overview = block(overview::of(&lake_over(counting.clone()), &project.pipeline())).unwrap();
    assert_eq!(overview.layers.len(), 3);
    assert!(!overview.gold[0].rows.is_empty() && overview.quality.is_some());
    // Whoever opens a table without a log checkpoint reads it from its first entry on.
    let mut read = BTreeMap::new();
    for (kind, path) in counting.calls() {
        if kind == Kind::Get && path.filename() == Some("00000000000000000000.json") {
            *read.entry(path.to_string()).or_insert(0) += 1;
        }
    }
    let read: Vec<i32> = ["bronze", "silver", "gold/views_per_minute"]
        .map(|table| read[&format!("{PIPELINE}/{table}/_delta_log/00000000000000000000.json")])
        .to_vec();
    // Of all three the same is asked, and only of bronze was it ever asked in one place.
    assert_eq!(read, [read[0]; 3]);
}
