//! A disk that is full or read-only.

use std::path::PathBuf;
use std::time::Duration;

use super::rig::{Live, Mount, ONCE, assert_as_undisturbed, begun, lively};
use crate::support::command::{call, done};
use crate::support::project::{PIPELINE, Project};

fn table(project: &Project, path: &str) -> PathBuf {
    project.lake_path().join(PIPELINE).join(path)
}

fn only_directory(parent: PathBuf) -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir(&parent)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.retain(|path| path.is_dir() && !path.ends_with("_delta_log"));
    assert_eq!(found.len(), 1, "{}", parent.display());
    found.remove(0)
}

/// Breaks one place after the other under a live run, and mends it. Returns the places.
fn break_and_mend(fault: &str, break_it: impl Fn(&Mount), mend_it: impl Fn(&Mount)) -> usize {
    let project = begun();
    let reference = only_directory(only_directory(table(&project, "_reference")));
    let places = [
        (
            "silver's data",
            table(&project, "silver/event_date=2024-01-01"),
            "silver",
        ),
        ("silver's log", table(&project, "silver/_delta_log"), "silver"),
        ("rejects' log", table(&project, "rejects/_delta_log"), "silver"),
        ("bronze's log", table(&project, "bronze/_delta_log"), "bronze"),
        (
            "gold's log",
            table(&project, "gold/views_per_minute/_delta_log"),
            "gold",
        ),
        ("reference data", reference, "silver"),
    ];
    let mounts: Vec<Mount> = places.iter().map(|(_, place, _)| Mount::over(place, 2048)).collect();
    let mut live = Live::start(&project);
    live.wait(0, &["committed", "layer=\"gold\""]);
    for (round, ((place, _, layer), mount)) in places.iter().zip(&mounts).enumerate() {
        let first = 200 + 60 * round as u64;
        let seen = live.said().len();
        break_it(mount);
        if *place == "reference data" {
            let campaigns = project.read("data/campaigns.csv");
            project.write("data/campaigns.csv", &format!("{campaigns}9,999999,new\n"));
        }
        project.events("a.ndjson", first..first + 60);
        let layer = format!("layer=\"{layer}\"");
        live.wait(seen, &["trying again", fault, &layer]);
        if round == 0 {
            // The pause doubles from half a second: no storm.
            std::thread::sleep(Duration::from_millis(1_200));
            assert!(live.lines(seen, &["trying again", &layer]) <= 3, "{}", live.said());
        }
        let broken = live.said().len();
        mend_it(mount);
        live.wait(broken, &["works again", &layer]);
    }
    let last = live.said().len();
    project.events("a.ndjson", 560..600);
    live.wait(last, &["committed", "layer=\"gold\""]);
    live.stop();
    assert_as_undisturbed(&project, fault);
    places.len()
}

#[test]
fn a_full_disk_is_waited_out_and_costs_no_row_wherever_it_is_full() {
    let places = break_and_mend("No space left on device", Mount::fill, Mount::free);
    println!("full disk: {places} places");
}

#[test]
fn a_directory_that_turns_read_only_is_waited_out() {
    let places = break_and_mend(
        "Read-only file system",
        |mount| mount.writable(false),
        |mount| mount.writable(true),
    );
    println!("read-only: {places} places");
}

#[test]
fn a_full_disk_under_the_checkpoints_costs_a_snapshot_and_nothing_else() {
    let project = lively(60, 70);
    project.write("medallion.toml", "checkpoint_rows = 40\n");
    project.events("a.ndjson", 0..200);
    done(project.path(), &["run", "-p", PIPELINE, "--once"]);
    let mount = Mount::over(&project.path().join("checkpoints"), 256);
    mount.fill();
    let mut live = Live::start(&project);
    project.events("a.ndjson", 200..300);
    live.wait(0, &["positions are not mirrored", "No space left on device"]);
    live.wait(0, &["committed", "layer=\"gold\""]);
    // At its end a run saves its state, or says that it could not.
    let said = live.stop();
    let told = |line: &str| line.contains("silver's state is not saved") && line.contains("No space left on device");
    assert!(said.lines().any(told), "{said}");
    mount.free();
    project.events("a.ndjson", 300..400);
    assert_as_undisturbed(&project, "after full checkpoints");
}

#[test]
fn a_one_shot_run_and_maintain_say_that_the_disk_is_full_and_leave_the_table_whole() {
    let project = begun();
    let log = Mount::over(&table(&project, "silver/_delta_log"), 2048);
    project.events("a.ndjson", 200..300);
    log.fill();
    for command in [&ONCE[..], &["maintain", "-p", PIPELINE]] {
        let said = call(project.path(), command);
        assert_eq!(said.code, Some(1), "{command:?}: {}", said.err);
        assert!(
            said.err.contains("No space left on device"),
            "{command:?}: {}",
            said.err
        );
        done(project.path(), &["audit", "-p", PIPELINE]);
    }
    log.free();
    done(project.path(), &["maintain", "-p", PIPELINE]);
    assert_as_undisturbed(&project, "after a full log");
}

#[test]
fn a_read_only_lake_is_told_before_anything_is_read() {
    let project = begun();
    let lake = Mount::over(&project.lake_path(), 4096);
    lake.writable(false);
    let said = call(project.path(), &ONCE);
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(
        said.err.contains("Read-only file system") && said.err.contains("next:"),
        "{}",
        said.err
    );
    lake.writable(true);
    assert_as_undisturbed(&project, "after a read-only lake");
}
