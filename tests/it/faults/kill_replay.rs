//! Replays killed while records keep coming, and gold over a silver that was set back.

use std::time::{Duration, Instant};

use super::kill_case::{Family, Shot, Start};
use crate::support::command::{call, ended, start};
use crate::support::project::PIPELINE;

/// A replay's hand-overs in their order; R3 is a swap: rejects, silver, late, gold.
const SHOTS: [(&str, u32); 8] = [
    ("R1", 1),
    ("R2", 1),
    ("R3", 1),
    ("R3", 2),
    ("R1", 2),
    ("R2", 2),
    ("R3", 3),
    ("R3", 4),
];

#[test]
fn replays_killed_while_bronze_goes_on_lose_and_double_nothing() {
    let lakes = Start::shared();
    let case = lakes.case(Family::Replay, "replays killed beside live bronze".to_owned());
    let path = case.project.path();
    let log = case.project.lake_path().join(PIPELINE).join("bronze/_delta_log");
    let commits = || std::fs::read_dir(&log).unwrap().count();
    let bronze = start(path, &["run", "bronze", "-p", PIPELINE]);
    for (round, (point, hit)) in (0..).zip(SHOTS) {
        let before = commits();
        case.project
            .events("a.ndjson", 200 + round * 15..200 + (round + 1) * 15);
        let begun = Instant::now();
        assert!(case.crash(Family::Replay, Shot { point, hit }), "{point}#{hit}");
        // Forty-five rows are a commit, so that bronze moves at least every third time.
        while round % 3 == 2 && commits() == before {
            assert!(begun.elapsed() < Duration::from_secs(60), "bronze stands still");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let sent = std::process::Command::new("kill")
        .args(["-TERM", &bronze.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
    let said = ended(bronze);
    assert_eq!(said.code, Some(0), "{}", said.err);
    case.must(Family::Replay);
    case.finish();
    println!("kill replays beside bronze: {} cases", SHOTS.len());
}

#[test]
fn gold_ahead_of_a_silver_that_was_set_back_is_refused() {
    let lakes = Start::shared();
    let case = lakes.case(Family::Run, "silver set back".to_owned());
    let path = case.project.path();
    case.must(Family::Run);
    let log = case.project.lake_path().join(PIPELINE).join("silver/_delta_log");
    let mut entries: Vec<_> = std::fs::read_dir(&log)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    // Its newest commit is lost, as by a restored backup.
    std::fs::remove_file(entries.last().unwrap()).unwrap();
    let said = call(path, &["run", "gold", "-p", PIPELINE, "--once"]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(said.err.contains("silver was set back"), "{}", said.err);
    assert!(said.err.contains("replay gold"), "{}", said.err);
    // Silver alone has the same rows again; with them gold is right as it is, and its replay changes nothing.
    let said = call(path, &["run", "silver", "-p", PIPELINE, "--once"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let said = call(path, &["replay", "gold", "-p", PIPELINE, "--yes"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    case.more();
    case.finish();
}
