//! One fixed scenario through everything that touches the store, in phases that can be begun anywhere.
//!
//! A first run makes every table; a second one takes in more events and changed reference data; a changed definition is
//! replayed; maintenance writes log checkpoints, cleans logs, compacts and vacuums; a last run closes the windows. Each
//! phase is a function of what the phase before left, so a fault in it is tried on a copy of that.

use std::sync::Arc;
use std::time::Duration;

use medallion::clock::Clock;
use medallion::error::{Error, Kind, Result};
use medallion::run::{Layer, Options, replay, run, tables};
use medallion::table::Lake;
use medallion::table::maintain::{Policy, Report, maintain};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use url::Url;

use super::invariants::{Rows, Stage, Tables, check};
use crate::support::faulty::{self, Faulty};
use crate::support::project::{Project, block, lake_over};

/// The wall clock of maintenance, far enough ahead that every log entry is old: 2100-01-01.
const LATER: i64 = 4_102_444_800_000_000;

/// What a phase does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Runs all layers, one after the other, so that the order of calls is the same each time.
    Run {
        /// Tells them that the input has ended.
        close_windows: bool,
    },
    /// Rebuilds silver and gold.
    Replay,
    /// Maintains every table.
    Maintain,
}

/// One phase with what it starts from and what it must come to.
pub struct Phase {
    /// Its name in messages.
    pub name: &'static str,
    /// What it does.
    pub work: Work,
    /// The project as it is then.
    pub project: Project,
    /// The same in other steps.
    pub other: Project,
    /// The store before it.
    pub before: InMemory,
    /// The calls that it makes undisturbed.
    pub calls: Vec<(faulty::Kind, Path)>,
    /// The number of its first call in the scenario.
    pub first: usize,
    /// The rows after it.
    pub wanted: Rows,
    /// Data files of all tables after it.
    pub files: usize,
}

/// A phase's name, its work, and how its project comes to be.
type Plan = (&'static str, Work, fn(&Project));

/// The phases, each done once undisturbed.
pub fn phases() -> Vec<Phase> {
    let plans: [Plan; 5] = [
        ("first run", Work::Run { close_windows: false }, first),
        ("second run", Work::Run { close_windows: false }, second),
        ("replay", Work::Replay, changed),
        ("maintenance", Work::Maintain, changed),
        ("last run", Work::Run { close_windows: true }, last),
    ];
    let mut store = InMemory::new();
    let mut phases: Vec<Phase> = Vec::new();
    for (name, work, prepare) in plans {
        let [project, other] = [(30, 35), (1_000, 23)].map(|(bronze_rows, silver_rows)| {
            let project = Project::new(bronze_rows, silver_rows);
            // What a commit waits for at most where the clock runs.
            let bronze = project.read("layers/view_log/bronze.toml");
            let bronze = bronze.replace("commit = { ", "commit = { max_delay = \"100ms\", ");
            project.write("layers/view_log/bronze.toml", &bronze);
            prepare(&project);
            project
        });
        let before = store;
        let after = Arc::new(before.fork());
        let counting = Faulty::counting(after.clone());
        work.on(&project, counting.clone()).unwrap();
        let tables = block(check(after.as_ref(), Stage::Done, false)).unwrap();
        project.assert_sound(&lake_over(after.clone()));
        phases.push(Phase {
            name,
            work,
            project,
            other,
            before,
            calls: counting.calls(),
            first: phases.last().map_or(0, |last| last.first + last.calls.len()),
            files: files(&tables),
            wanted: tables.rows,
        });
        store = after.fork();
    }
    prove(&phases);
    phases
}

/// Data files of all tables.
pub fn files(tables: &Tables) -> usize {
    tables.tables.values().map(|table| table.state.files.len()).sum()
}

/// The scenario passes through what it says.
fn prove(phases: &[Phase]) {
    let rows = |phase: usize, table: &str| phases[phase].wanted[table].len();
    let tables = ["bronze", "silver", "rejects", "gold", "late"];
    for table in tables {
        assert!(
            rows(0, table) > 0 && rows(1, table) >= rows(0, table),
            "{table} in the runs"
        );
        assert!(rows(4, table) >= rows(3, table), "{table} in the last run");
    }
    assert!(rows(1, "gold") > rows(0, "gold") && rows(4, "gold") > rows(3, "gold"));
    assert!(rows(1, "late") + rows(4, "late") > rows(0, "late") + rows(3, "late"));
    assert!(
        rows(2, "rejects") > rows(1, "rejects"),
        "the changed definition rejects more"
    );
    let of = |phase: usize, kind| phases[phase].calls.iter().filter(|(found, _)| *found == kind).count();
    assert!(of(3, faulty::Kind::Delete) > 20, "log cleanup and vacuum delete");
    assert!(phases[3].files < phases[2].files, "compaction makes fewer files");
    let checkpoints = phases[3]
        .calls
        .iter()
        .filter(|(kind, path)| kind.changes() && path.as_ref().contains("checkpoint"));
    assert_eq!(
        checkpoints.count(),
        2 * (tables.len() + 1),
        "a log checkpoint and its hint per table, that of events included"
    );
}

fn first(project: &Project) {
    project.events("a.ndjson", 0..70);
    // One file per gold commit: the same code, fewer calls.
    let gold = project.read("layers/view_log/gold.toml");
    let gold = gold.replace(
        "partition_by = [\"network_id\", \"minute_timestamp\"]",
        "partition_by = []",
    );
    // Two events a second: windows must close within the scenario.
    let gold = gold
        .replace("watermark = \"10s\"", "watermark = \"1s\"")
        .replace("tumbling = \"1m\"", "tumbling = \"10s\"");
    project.write("layers/view_log/gold.toml", &gold);
}

fn second(project: &Project) {
    first(project);
    project.events("a.ndjson", 70..100);
    let campaigns = project.read("data/campaigns.csv");
    let fewer: Vec<&str> = campaigns.lines().filter(|line| !line.contains(",60,")).collect();
    assert!(fewer.len() < campaigns.lines().count(), "the reference data changes");
    project.write("data/campaigns.csv", &(fewer.join("\n") + "\n"));
}

fn changed(project: &Project) {
    second(project);
    project.append(
        "layers/view_log/silver.toml",
        "\n[[expect]]\nname = \"short\"\ncheck = \"banner_id % 3 != 0\"\non_fail = \"reject\"\n",
    );
}

fn last(project: &Project) {
    changed(project);
    project.events("a.ndjson", 100..125);
}

impl Work {
    /// Does it with a new process' view of `store`.
    pub fn on(self, project: &Project, store: Arc<dyn ObjectStore>) -> Result<()> {
        match self {
            Self::Run { close_windows } => {
                let lake = lake_over(store);
                block(lake.probe_conditional_put())?;
                for layer in [Layer::Bronze, Layer::Silver, Layer::Gold] {
                    once(project, &lake, Some(layer), close_windows)?;
                }
                Ok(())
            }
            Self::Replay => {
                let lake = lake_over(store);
                let pipeline = project.pipeline();
                let replayed = block(replay::silver(
                    &lake,
                    project.path(),
                    &pipeline,
                    replay::Extent::All,
                    &|_, _, _| {},
                ))?;
                assert_eq!(replayed.len(), 4, "{replayed:?}");
                Ok(())
            }
            Self::Maintain => {
                let lake = Lake::with_store(Url::parse("memory:///").unwrap(), store, Clock::fixed(LATER));
                tidy(project, &lake).map(drop)
            }
        }
    }
}

/// Runs up to what is there, one layer or all at once.
pub fn once(project: &Project, lake: &Lake, layer: Option<Layer>, close_windows: bool) -> Result<()> {
    let options = Options {
        layer,
        once: true,
        close_windows,
        adopt: false,
    };
    run(&project.components(lake), &[project.pipeline()], &options).map(drop)
}

fn tidy(project: &Project, lake: &Lake) -> Result<Vec<Report>> {
    let policy = Policy {
        target_bytes: 1 << 20,
        log_retention: Duration::ZERO,
        vacuum_age: Duration::ZERO,
    };
    let mut reports = Vec::new();
    for spec in tables::all(&project.pipeline())? {
        // All tables are there: a maintenance that sees none has told so and done nothing.
        let report = block(maintain(lake, &spec, policy))?;
        reports.push(report.ok_or_else(|| Error::new(Kind::Unavailable, format!("{} is not there", spec.path)))?);
    }
    Ok(reports)
}
