//! A wall clock that is set an hour or a year ahead or back.

use std::collections::BTreeMap;
use std::time::Duration;

use medallion::clock::Clock;
use medallion::table::Lake;
use medallion::table::maintain::{Policy, Report, maintain};

use crate::support::project::{Project, block, memory_lake};
use crate::support::rows::{assert_same, rows, select};

const HOUR: i64 = 3_600_000_000;
const YEAR: i64 = 365 * 24 * HOUR;
const JUMPS: [i64; 4] = [HOUR, -HOUR, YEAR, -YEAR];

/// The tables after three runs, before each of which the clock was set by `jump`, and set half way back within it.
fn tables_with_jumps(jump: i64) -> BTreeMap<&'static str, String> {
    let project = Project::new(20, 25);
    let (lake, _) = memory_lake();
    // Files have no timestamps, so an event later than the clock that takes it in is rejected: the events are older than
    // any clock here.
    lake.clock().jump(4 * YEAR);
    for first in [0, 100, 200] {
        project.events("a.ndjson", first..first + 100);
        lake.clock().jump(jump);
        std::thread::scope(|scope| {
            let running = scope.spawn(|| project.run(&lake));
            // Wherever the run is by now.
            lake.clock().jump(-jump / 2);
            running.join().unwrap().unwrap();
        });
        project.assert_sound(&lake);
    }
    rows(&lake)
}

#[test]
fn rows_are_the_same_however_the_clock_is_set_between_and_within_runs() {
    let wanted = tables_with_jumps(0);
    for jump in JUMPS {
        assert_same(
            &tables_with_jumps(jump),
            &wanted,
            &format!("clock set by {} h", jump / HOUR),
        );
    }
    println!("clock and rows: {} jumps", JUMPS.len());
}

/// A lake on disk under the machine's clock, with log entries and removed files that are minutes old at most.
fn maintained() -> (Project, Lake) {
    let project = Project::new(20, 25);
    project.events("a.ndjson", 0..200);
    let path = project.lake_path();
    let lake = block(Lake::open(path.to_str().unwrap(), Clock::system())).unwrap();
    project.run(&lake).unwrap();
    tidy(
        &project,
        &lake,
        Duration::from_secs(7 * 86_400),
        Duration::from_secs(7 * 86_400),
    );
    project.events("a.ndjson", 200..300);
    project.run(&lake).unwrap();
    (project, lake)
}

fn tidy(project: &Project, lake: &Lake, log_retention: Duration, vacuum_age: Duration) -> Vec<Report> {
    let policy = Policy {
        target_bytes: 16 << 20,
        log_retention,
        vacuum_age,
    };
    let specs = medallion::run::tables::all(&project.pipeline()).unwrap();
    let maintained = specs
        .iter()
        .map(|spec| block(maintain(lake, spec, policy)).unwrap().unwrap());
    maintained.collect()
}

fn deleted(reports: &[Report]) -> usize {
    reports
        .iter()
        .map(|report| report.log_files_removed + report.data_files_removed)
        .sum()
}

#[test]
fn maintenance_deletes_nothing_that_only_a_jump_of_the_clock_makes_look_old() {
    let week = Duration::from_secs(7 * 86_400);
    for jump in JUMPS {
        let (project, lake) = maintained();
        let before = rows(&lake);
        lake.clock().jump(jump);
        let reports = tidy(&project, &lake, week, week);
        assert_eq!(deleted(&reports), 0, "clock set by {} h: {reports:?}", jump / HOUR);
        let held_back = reports.iter().filter(|report| report.held_back.is_some()).count();
        assert_eq!(held_back, if jump < 0 { reports.len() } else { 0 }, "{reports:?}");
        // Commits of the time that the clock was wrong make what is before them no older.
        project.events("a.ndjson", 300..320);
        project.run(&lake).unwrap();
        let reports = tidy(&project, &lake, week, week);
        assert_eq!(
            deleted(&reports),
            0,
            "after commits {} h away: {reports:?}",
            jump / HOUR
        );
        lake.clock().jump(-jump);
        let reports = tidy(&project, &lake, week, week);
        assert_eq!(deleted(&reports), 0, "after the clock was set right: {reports:?}");
        project.assert_sound(&lake);
        let records = |text: &str| text.lines().count();
        assert!(records(&rows(&lake)["bronze"]) > records(&before["bronze"]));
        // The first version is still there for whoever travels in time.
        assert!(
            project
                .lake_path()
                .join("view_log/bronze/_delta_log/00000000000000000000.json")
                .exists()
        );
    }
    println!("clock and maintenance: {} jumps", JUMPS.len());
}

#[test]
fn what_is_old_by_a_clock_that_can_be_right_is_deleted_and_rows_stay() {
    let (project, lake) = maintained();
    let before = select(&lake, "select count(*) from silver");
    lake.clock().jump(2 * HOUR);
    let reports = tidy(&project, &lake, Duration::ZERO, Duration::from_secs(3_600));
    assert!(
        reports[0].log_files_removed > 5 && reports[0].data_files_removed > 5,
        "{reports:?}"
    );
    assert_eq!(select(&lake, "select count(*) from silver"), before);
    project.assert_sound(&lake);
}
