//! A disk that is full, read-only or broken.

use std::path::PathBuf;
use std::time::Duration;

use super::rig::{Live, Mount, lively, tool};
use crate::support::command::{call, done, medallion};
use crate::support::project::{PIPELINE, Project, memory_lake};
use crate::support::rows::{assert_same, rows};
use crate::support::tier;

const ONCE: [&str; 5] = ["run", "-p", PIPELINE, "--once", "--close-windows"];

/// The project after a first run over some events.
fn begun() -> Project {
    let project = lively(60, 70);
    project.events("a.ndjson", 0..200);
    done(project.path(), &["run", "-p", PIPELINE, "--once"]);
    project
}

/// Everything must be as if nothing had been.
fn assert_as_undisturbed(project: &Project, when: &str) {
    done(project.path(), &ONCE);
    done(project.path(), &["audit", "-p", PIPELINE]);
    let (wanted, _) = memory_lake();
    project.run(&wanted).unwrap();
    assert_same(&rows(&project.lake()), &rows(&wanted), when);
}

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

/// Runs once with the `at`-th call of `syscall` failing with `errno`. Returns whether it did fail, and the exit code.
fn run_with_fault(project: &Project, syscall: &str, errno: &str, at: u32) -> (bool, Option<i32>) {
    let trace = project.path().join("trace");
    let ours = medallion(project.path());
    tool("strace");
    let mut strace = tool("timeout");
    strace
        .args([
            "-s",
            "KILL",
            "60",
            "strace",
            "-f",
            "-qq",
            "-e",
            &format!("trace={syscall}"),
        ])
        .args(["-e", &format!("inject={syscall}:error={errno}:when={at}"), "-o"])
        .arg(&trace)
        .arg(ours.get_program())
        .args(["run", "-p", PIPELINE, "--once", "--log", "error"])
        .current_dir(project.path())
        .env("MEDALLION_METRICS", "off")
        .env("RUST_BACKTRACE", "0");
    let output = strace.output().unwrap();
    let happened = std::fs::read_to_string(&trace).unwrap().contains("(INJECTED)");
    let err = String::from_utf8_lossy(&output.stderr);
    let when = format!("{errno} at call {at} of {syscall}");
    assert!(!err.contains("panicked"), "{when}: {err}");
    let code = output.status.code();
    assert!(matches!(code, Some(0..=4)), "{when}: {:?}: {err}", output.status);
    if code != Some(0) {
        assert!(err.contains("error:"), "{when}: no reason is told");
    }
    (happened, code)
}

#[test]
fn whatever_call_the_disk_breaks_at_the_run_says_so_and_the_next_one_finishes() {
    let project = begun();
    let per_call = tier::pick(2, 12, 60);
    let (mut cases, mut failed, mut begin) = (0, 0, 200);
    // What reads files, and what puts data files and entries of the log into place. Calls are counted per thread, and the
    // first ones are the loader's. (A broken `write` would hit the runtime's own descriptors as well.)
    for (syscall, errno, first, step) in [
        ("pread64", "EIO", 6, 5),
        ("read", "EIO", 40, 12),
        ("linkat", "EIO", 1, 1),
        ("rename", "EIO", 1, 1),
    ] {
        for number in 0..per_call {
            project.events("a.ndjson", begin..begin + 10);
            begin += 10;
            let (happened, code) = run_with_fault(&project, syscall, errno, first + number * step);
            cases += u64::from(happened);
            failed += u64::from(happened && code != Some(0));
        }
    }
    assert!(cases >= 4 && failed >= 2, "{cases} faults, {failed} of them told");
    assert_as_undisturbed(&project, "after broken calls");
    println!("broken calls: {cases} faults happened, {failed} ended the run with a reason");
}
