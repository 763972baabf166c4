//! Whole runs of the program with its checkpoints: made, used, lost, and in nobody's way.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use medallion::checkpoint::Checkpoints;
use medallion::run::restore::How;
use medallion::run::{Components, Options, run};

use super::bed::open;
use crate::support::command::{Said, ended, medallion};
use crate::support::project::{NOW, PIPELINE, Project, block, memory_lake};
use crate::support::rows::{assert_same, rows};
use crate::support::tier;

const OPTIONS: Options = Options {
    layer: None,
    once: true,
    close_windows: false,
    adopt: false,
};

fn project() -> Project {
    let project = Project::new(60, 70);
    project.events("a.ndjson", 0..200);
    project
}

/// One run of the program that saves its state as often as it may.
fn run_once(project: &Project, more: &[&str]) -> Said {
    let mut command = medallion(project.path());
    command
        .args(["run", "--once"])
        .args(more)
        .env("MEDALLION_CHECKPOINT_ROWS", "1");
    let child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn();
    let said = ended(child.unwrap());
    assert_eq!(said.code, Some(0), "{}", said.err);
    said
}

fn folder(project: &Project) -> PathBuf {
    project.path().join("checkpoints").join(PIPELINE)
}

fn snapshots(project: &Project) -> Vec<PathBuf> {
    let at = Checkpoints::at(project.path().join("checkpoints"));
    at.of(PIPELINE)
        .unwrap()
        .snapshots()
        .into_iter()
        .map(|found| found.path)
        .collect()
}

/// How silver's state was had, from the log.
fn how(said: &Said) -> Option<&str> {
    let line = said.err.lines().find(|line| line.contains("silver's state is back"))?;
    line.split_once("how=\"")?.1.split('"').next()
}

#[test]
fn a_run_takes_up_the_state_of_the_run_before_and_needs_none_of_its_files() {
    let used = project();
    run_once(&used, &[]);
    assert_eq!(snapshots(&used).len(), 2);
    let lost = project();
    run_once(&lost, &[]);
    fs::remove_dir_all(lost.path().join("checkpoints")).unwrap();
    let without = project();
    run_once(&without, &["--checkpoints", "off"]);
    assert!(!without.path().join("checkpoints").exists());
    // Much of what was accepted comes again.
    for project in [&used, &lost, &without] {
        project.events("a.ndjson", 50..260);
    }
    assert_eq!(how(&run_once(&used, &[])), Some("snapshot"));
    assert_eq!(how(&run_once(&lost, &[])), Some("tables"));
    assert_eq!(how(&run_once(&without, &["--checkpoints", "off"])), Some("tables"));
    let wanted = rows(&without.lake());
    for project in [&used, &lost] {
        assert_same(&rows(&project.lake()), &wanted, "with checkpoints");
        project.assert_sound(&project.lake());
    }

    used.events("a.ndjson", 0..40);
    let newest = snapshots(&used).remove(0);
    let torn = fs::read(&newest).unwrap();
    fs::write(&newest, &torn[..torn.len() / 2]).unwrap();
    let said = run_once(&used, &[]);
    assert_eq!(how(&said), Some("previous"), "{}", said.err);
    assert!(
        said.err.contains("a snapshot of silver's state is not used"),
        "{}",
        said.err
    );
    assert!(
        said.err.contains("its length is not what its header says"),
        "{}",
        said.err
    );
    used.assert_sound(&used.lake());
}

#[test]
fn positions_are_there_for_people_and_nobody_reads_them() {
    let project = project();
    run_once(&project, &[]);
    let read = |layer: &str| -> serde_json::Value {
        let text = fs::read_to_string(folder(&project).join(format!("positions-{layer}.json"))).unwrap();
        assert!(text.lines().count() > 10, "pretty: {text}");
        serde_json::from_str(&text).unwrap()
    };
    let (bronze, silver, gold) = (read("bronze"), read("silver"), read("gold"));
    let position = bronze["tables"][0]["position"].as_i64().unwrap();
    assert!(position > 150);
    assert_eq!(
        bronze["tables"][0]["offsets"]["input/a.ndjson/0"].as_i64().unwrap() + 2,
        position,
        "and two ticks"
    );
    assert_eq!(silver["tables"][0]["table"], "view_log/silver");
    assert_eq!(silver["tables"][1]["table"], "view_log/rejects");
    assert!(silver["tables"][0]["watermark"].as_str().unwrap().ends_with('Z'));
    assert_eq!(gold["tables"][0]["table"], "view_log/gold/views_per_minute");
    for layer in [&silver, &gold] {
        assert_eq!(layer["tables"][0]["position"], position);
    }
    for layer in ["bronze", "silver", "gold"] {
        fs::write(
            folder(&project).join(format!("positions-{layer}.json")),
            "{\"tables\": 7",
        )
        .unwrap();
    }
    project.events("a.ndjson", 200..230);
    run_once(&project, &[]);
    assert!(read("bronze")["tables"][0]["position"].as_i64().unwrap() > position);
    project.assert_sound(&project.lake());
}

#[test]
fn a_place_that_cannot_be_written_costs_a_warning_and_nothing_else() {
    let project = project();
    fs::write(
        project.path().join("checkpoints"),
        "a file where the directory should be",
    )
    .unwrap();
    let said = run_once(&project, &[]);
    assert_eq!(
        said.err.matches("positions are not mirrored").count(),
        3,
        "once a layer: {}",
        said.err
    );
    assert!(
        said.err.contains("silver's state is not saved; the run goes on"),
        "{}",
        said.err
    );
    project.assert_sound(&project.lake());
    let wanted = self::project();
    run_once(&wanted, &[]);
    assert_same(&rows(&project.lake()), &rows(&wanted.lake()), "without a place");
}

#[test]
fn a_restart_from_a_snapshot_is_faster_than_one_from_the_tables() {
    let sizes: &[u64] = tier::pick(&[5_000], &[5_000, 50_000], &[1_000_000, 5_000_000]);
    for events in sizes {
        restart(*events);
    }
}

/// Times silver's opening after so many events, with a snapshot and without.
fn restart(events: u64) {
    let project = Project::new(500_000, 500_000);
    project.events("a.ndjson", 0..events);
    let (lake, _) = memory_lake();
    let root = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::at(root.path().to_owned()).every(1);
    let components = Components {
        checkpoints: checkpoints.clone(),
        ..project.components(&lake)
    };
    run(&components, &[project.pipeline()], &OPTIONS).unwrap();
    let timed = |checkpoints: &Checkpoints, how| -> Duration {
        let began = Instant::now();
        let layer = open(&project, &lake, checkpoints, &project.pipeline());
        let took = began.elapsed();
        assert_eq!(layer.keeper().how(), how);
        took
    };
    let best = |checkpoints: &Checkpoints, how| (0..3).map(|_| timed(checkpoints, how)).min().unwrap();
    let (with, without) = (
        best(&checkpoints, How::Snapshot),
        best(&Checkpoints::off(), How::Tables),
    );
    let ratio = without.as_secs_f64() / with.as_secs_f64();
    let elsewhere = tempfile::tempdir().unwrap();
    let fresh = Checkpoints::at(elsewhere.path().to_owned()).every(1);
    let mut layer = open(&project, &lake, &fresh, &project.pipeline());
    let began = Instant::now();
    block(layer.save_state(true, NOW));
    let saving = began.elapsed();
    let found = fresh.of(PIPELINE).unwrap().snapshots().remove(0);
    let bytes = fs::metadata(found.path).unwrap().len();
    println!("restart after {events} events: {with:?} with a snapshot, {without:?} without: {ratio:.1} times");
    println!("a snapshot of {} keys: {bytes} bytes in {saving:?}", bytes / 32);
    // A small table costs its opening either way.
    if events >= 1_000_000 {
        assert!(ratio > 1.5, "{with:?} with a snapshot, {without:?} without");
    }
}
