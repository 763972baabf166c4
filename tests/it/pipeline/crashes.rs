//! A crash or a broken connection at every single change that a run makes to the store.

use std::sync::{Arc, Mutex};

use medallion::clock::Clock;
use medallion::error::Result;
use medallion::run::replay;
use medallion::table::Lake;
use medallion::table::maintain::{Policy, maintain};
use object_store::memory::InMemory;

use crate::support::faulty::{Fault, Faulty};
use crate::support::project::{Project, block, lake_over, memory_lake};
use crate::support::rows::{assert_same, rows};

/// Microseconds.
const HOUR: i64 = 3_600_000_000;

/// Does `work` on a copy of `before` once per change and fault, lets `mend` finish it on the healthy store, and asserts
/// that the audit finds nothing and, where given, that the rows are those of `wanted`.
fn at_every_change(
    name: &str,
    faults: &[Fault],
    project: &Project,
    before: &InMemory,
    wanted: Option<&Lake>,
    work: impl Fn(&Lake) -> Result<()> + Sync,
    mend: impl Fn(&Lake) + Sync,
) {
    let counting = Faulty::counting(Arc::new(before.fork()));
    work(&lake_over(counting.clone())).unwrap();
    let changes = counting.changes();
    assert!(changes > 3, "{name} makes {changes} changes");
    let cases: Vec<_> = (0..changes)
        .flat_map(|at| faults.iter().map(move |fault| (at, *fault)))
        .collect();
    let count = cases.len();
    let cases = Mutex::new(cases);
    let wanted = wanted.map(rows);
    let next = || cases.lock().unwrap().pop();
    let check = || {
        while let Some((at, fault)) = next() {
            let store = Arc::new(before.fork());
            let broken = work(&lake_over(Faulty::new(store.clone(), fault, at)));
            let when = format!("{name}, {fault:?} at change {at} of {changes}");
            if matches!(fault, Fault::DiesBefore) {
                assert!(broken.is_err(), "{when}: success without a store");
            }
            let lake = lake_over(store);
            mend(&lake);
            project.assert_sound(&lake);
            if let Some(wanted) = &wanted {
                assert_same(&rows(&lake), wanted, &when);
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(check);
        scope.spawn(check);
    });
    println!("{name}: {changes} changes, {count} cases");
}

fn small(bronze_rows: usize, silver_rows: usize) -> Project {
    let project = Project::new(bronze_rows, silver_rows);
    project.events("a.ndjson", 0..120);
    // One partition per gold commit: the same code, fewer files.
    let gold = project.read("layers/view_log/gold.toml");
    let gold = gold.replace(
        "partition_by = [\"network_id\", \"minute_timestamp\"]",
        "partition_by = []",
    );
    project.write("layers/view_log/gold.toml", &gold);
    project
}

#[test]
fn a_run_that_breaks_off_anywhere_is_finished_by_the_next() {
    let project = small(45, 50);
    let (wanted, _) = memory_lake();
    project.run_in_turn(&wanted).unwrap();
    project.assert_sound(&wanted);
    let work = |lake: &Lake| project.run_in_turn(lake);
    let mend = |lake: &Lake| project.run_in_turn(lake).unwrap();
    at_every_change(
        "run",
        &Fault::ALL,
        &project,
        &InMemory::new(),
        Some(&wanted),
        work,
        mend,
    );
}

#[test]
fn a_run_that_broke_off_is_finished_in_other_steps() {
    let project = small(45, 50);
    let other = small(1_000, 23);
    let (wanted, _) = memory_lake();
    project.run_in_turn(&wanted).unwrap();
    let work = |lake: &Lake| project.run_in_turn(lake);
    let mend = |lake: &Lake| other.run_in_turn(lake).unwrap();
    at_every_change(
        "run in other steps",
        &Fault::DEATHS,
        &other,
        &InMemory::new(),
        Some(&wanted),
        work,
        mend,
    );
}

#[test]
fn reference_data_that_changes_while_a_step_is_half_done_leaves_each_row_one_fate() {
    let project = small(45, 50);
    let other = small(45, 30);
    let campaigns = other.read("data/campaigns.csv");
    let header = campaigns.lines().next().unwrap();
    other.write(
        "data/campaigns.csv",
        &format!("{header}\n7,10,a\n7,20,b\n7,30,c\n7,40,d\n"),
    );
    let work = |lake: &Lake| project.run_in_turn(lake);
    let mend = |lake: &Lake| other.run_in_turn(lake).unwrap();
    at_every_change(
        "run, other campaigns",
        &Fault::DEATHS,
        &other,
        &InMemory::new(),
        None,
        work,
        mend,
    );
}

#[test]
fn a_replay_that_breaks_off_anywhere_is_mended_by_the_next() {
    let project = small(45, 50);
    let (lake, store) = memory_lake();
    project.run_in_turn(&lake).unwrap();
    project.append(
        "layers/view_log/silver.toml",
        "\n[[expect]]\nname = \"short\"\ncheck = \"banner_id % 3 != 0\"\non_fail = \"reject\"\n",
    );
    let (wanted, _) = memory_lake();
    project.run_in_turn(&wanted).unwrap();
    let again = |lake: &Lake| -> Result<()> {
        block(replay::silver(lake, project.path(), &project.pipeline(), &|_, _, _| {})).map(drop)
    };
    at_every_change("replay", &Fault::ALL, &project, &store, Some(&wanted), again, |lake| {
        again(lake).unwrap()
    });
}

#[test]
fn maintenance_that_breaks_off_anywhere_changes_no_row() {
    let project = small(45, 50);
    let (lake, store) = memory_lake();
    project.run_in_turn(&lake).unwrap();
    let policy = Policy {
        target_bytes: 1 << 20,
        log_retention: std::time::Duration::ZERO,
        vacuum_age: std::time::Duration::ZERO,
    };
    let at = |lake: &Lake, hours: i64| lake.clock().set(Clock::system().now() + hours * HOUR);
    let tidy = |lake: &Lake| -> Result<()> {
        // What the first round removed is old enough to be deleted in the second.
        at(lake, 2);
        for spec in medallion::run::tables::all(&project.pipeline())? {
            block(maintain(lake, &spec, policy))?;
        }
        Ok(())
    };
    at(&lake, 0);
    for spec in medallion::run::tables::all(&project.pipeline()).unwrap() {
        block(maintain(&lake, &spec, policy)).unwrap();
    }
    project.events("a.ndjson", 120..150);
    project.run_in_turn(&lake).unwrap();
    at_every_change("maintain", &Fault::ALL, &project, &store, Some(&lake), tidy, |lake| {
        project.run_in_turn(lake).unwrap();
    });
}
