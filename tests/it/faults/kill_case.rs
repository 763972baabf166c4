//! One case of the kill suite: a project on disk, the real binary armed with a point, and what must hold at the end.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use medallion::failpoint::VARIABLE;

use crate::support::command::{Said, call, done, medallion};
use crate::support::project::{PIPELINE, Project, memory_lake};
use crate::support::rows::{assert_same, rows};
use crate::support::tier::seed;

/// The rows of a lake by table.
pub type Rows = BTreeMap<&'static str, String>;

/// What is in the input before the first crash, and what comes after it.
const FIRST: u64 = 200;
const ALL: u64 = 320;
/// A rule that only a replay can bring into force.
const RULE: &str = "\n[[expect]]\nname = \"thirds\"\ncheck = \"banner_id % 3 != 0\"\non_fail = \"reject\"\n";
/// Vacuum spares what was removed less than an hour ago, so one maintenance lies that far back.
const LONG_AGO: &str = "-3h";
const ABORTED: i32 = 6;

/// A point and at which of its passings it acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shot {
    pub point: &'static str,
    pub hit: u32,
}

impl Shot {
    /// At the point's first passing.
    pub fn first(point: &'static str) -> Self {
        Self { point, hit: 1 }
    }

    /// The command that passes the point.
    pub fn family(self) -> Family {
        match self.point.as_bytes()[0] {
            b'R' => Family::Replay,
            b'M' => Family::Maintain,
            _ => Family::Run,
        }
    }
}

impl fmt::Display for Shot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.point, self.hit)
    }
}

/// The commands that pass points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Run,
    Replay,
    Maintain,
}

impl Family {
    /// Its command line.
    pub fn args(self) -> &'static [&'static str] {
        match self {
            Self::Run => &["run", "-p", PIPELINE, "--once"],
            Self::Replay => &["replay", "silver", "-p", PIPELINE, "--yes"],
            Self::Maintain => &["maintain", "-p", PIPELINE, "--log-days", "0", "--vacuum-hours", "1"],
        }
    }
}

/// The projects that cases begin as copies of, and the rows that each must end with.
pub struct Start {
    empty: Project,
    processed: Project,
    maintained: Project,
    wanted: Rows,
    wanted_with_rule: Rows,
}

impl Start {
    /// Those that another test has at hand, or new ones. They go away with the last test that has them.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Start>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let made = Arc::new(Self::new());
            *shared = Arc::downgrade(&made);
            made
        })
    }

    fn new() -> Self {
        let (empty, processed, maintained) = (project(0..FIRST), project(0..FIRST), project(0..80));
        done(processed.path(), Family::Run.args());
        processed.append("layers/view_log/silver.toml", RULE);
        // The first maintenance leaves a log that begins with a checkpoint, the second removed files old enough for
        // vacuum, and the last run what there is to compact.
        done(maintained.path(), Family::Run.args());
        done(maintained.path(), Family::Maintain.args());
        maintained.events("a.ndjson", 80..140);
        done(maintained.path(), Family::Run.args());
        let long_ago = medallion(maintained.path())
            .env("MEDALLION_CLOCK_OFFSET", LONG_AGO)
            .args(["maintain", "-p", PIPELINE])
            .output();
        assert!(long_ago.unwrap().status.success());
        maintained.events("a.ndjson", 140..FIRST);
        done(maintained.path(), Family::Run.args());
        let whole = project(0..ALL);
        let wanted = undisturbed(&whole);
        whole.append("layers/view_log/silver.toml", RULE);
        let wanted_with_rule = undisturbed(&whole);
        assert_ne!(wanted["silver"], wanted_with_rule["silver"]);
        Self {
            empty,
            processed,
            maintained,
            wanted,
            wanted_with_rule,
        }
    }

    /// A case before the first command of `family`; `what` names it in every message.
    pub fn case(&self, family: Family, what: String) -> Case<'_> {
        let from = match family {
            Family::Run => &self.empty,
            Family::Replay => &self.processed,
            Family::Maintain => &self.maintained,
        };
        let project = Project::new(1, 1);
        copy(from.path(), project.path());
        Case {
            start: self,
            project,
            what,
        }
    }
}

/// A project of its own on the way through its crashes.
pub struct Case<'a> {
    start: &'a Start,
    /// Its directory.
    pub project: Project,
    what: String,
}

impl Case<'_> {
    /// Runs the command of `family` with `shot` armed; whether the process died there. It must die there or do its work.
    pub fn crash(&self, family: Family, shot: Shot) -> bool {
        let output = medallion(self.project.path())
            .env(VARIABLE, shot.to_string())
            .args(family.args())
            .output()
            .unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        let told = err.contains(&format!("failpoint {shot}: abort"));
        let died = output.status.signal() == Some(ABORTED);
        let Self { what, .. } = self;
        assert_eq!(died, told, "{what}: {family:?} at {shot}: {:?} {err}", output.status);
        assert!(died || output.status.success(), "{what}: {family:?} with {shot}: {err}");
        died
    }

    /// New records.
    pub fn more(&self) {
        self.project.events("a.ndjson", FIRST..ALL);
    }

    /// Changes the definition, so that a replay has something to do.
    pub fn change(&self) {
        self.project.append("layers/view_log/silver.toml", RULE);
    }

    /// Runs the command of `family`, which must succeed.
    pub fn must(&self, family: Family) {
        self.succeeds(family.args());
    }

    fn succeeds(&self, args: &[&str]) -> Said {
        let said = call(self.project.path(), args);
        assert_eq!(said.code, Some(0), "{}: {args:?}: {}", self.what, said.err);
        said
    }

    /// What an operator does after the damage of M8: `run` refuses, naming the file, and that file is removed.
    pub fn mend(&self, shot: Shot) {
        if shot.point != "M8" {
            return;
        }
        let said = call(self.project.path(), Family::Run.args());
        let what = &self.what;
        assert_eq!(said.code, Some(1), "{what}: {}", said.err);
        assert!(
            said.err.contains("remove its file _last_checkpoint"),
            "{what}: {}",
            said.err
        );
        let pipeline = self.project.lake_path().join(PIPELINE);
        let mut removed = 0;
        for table in [
            "bronze",
            "silver",
            "rejects",
            "gold/views_per_minute",
            "late/views_per_minute",
        ] {
            let log = pipeline.join(table).join("_delta_log");
            let Ok(hint) = fs::read_to_string(log.join("_last_checkpoint")) else {
                continue;
            };
            // One that M7 tore names nothing.
            let hint: serde_json::Value = serde_json::from_str(&hint).unwrap_or_default();
            let Some(version) = hint["version"].as_u64() else {
                continue;
            };
            if !log.join(format!("{version:020}.checkpoint.parquet")).exists() {
                fs::remove_file(log.join("_last_checkpoint")).unwrap();
                removed += 1;
            }
        }
        assert_eq!(removed, 1, "{what}: hints without their log checkpoint");
    }

    /// Runs to the end and asserts that the audit finds nothing and that the rows are those of an undisturbed run.
    pub fn finish(&self) {
        let Self { what, project, start } = self;
        self.succeeds(&["run", "-p", PIPELINE, "--once", "--close-windows"]);
        let lake = project.lake();
        let report = project.audit(&lake);
        assert!(report.findings.is_empty(), "{what}: {:#?}", report.findings);
        assert_eq!(report.records, report.silver + report.rejects, "{what}");
        let ruled = project.read("layers/view_log/silver.toml").contains(RULE);
        let wanted = if ruled { &start.wanted_with_rule } else { &start.wanted };
        assert_same(&rows(&lake), wanted, what);
    }
}

/// Does `check` with every case, two at a time, and returns how many there were. `MEDALLION_KILL` leaves only the case
/// with that name.
pub fn each<T: Send + fmt::Display>(mut cases: Vec<T>, check: impl Fn(T) + Sync) -> usize {
    if let Ok(only) = std::env::var("MEDALLION_KILL") {
        cases.retain(|case| case.to_string() == only);
    }
    let count = cases.len();
    cases.reverse();
    let cases = Mutex::new(cases);
    let next = || cases.lock().unwrap().pop();
    let work = || {
        while let Some(case) = next() {
            check(case);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    count
}

/// How to see one case again.
pub fn again(case: &impl fmt::Display) -> String {
    let seed = seed();
    format!("{case} (again: MEDALLION_SEED={seed} MEDALLION_KILL='{case}' cargo test --locked --test it kill_)")
}

fn project(events: std::ops::Range<u64>) -> Project {
    let project = Project::new(45, 50);
    project.events("a.ndjson", events);
    // A snapshot of silver's state with nearly every step of silver.
    project.write("medallion.toml", "checkpoint_rows = 40\n");
    // One partition per gold commit: the same code, fewer files.
    let gold = project.read("layers/view_log/gold.toml");
    let partitions = "partition_by = [\"network_id\", \"minute_timestamp\"]";
    assert!(gold.contains(partitions));
    project.write(
        "layers/view_log/gold.toml",
        &gold.replace(partitions, "partition_by = []"),
    );
    project
}

fn undisturbed(project: &Project) -> Rows {
    let (lake, _) = memory_lake();
    project.run(&lake).unwrap();
    project.assert_sound(&lake);
    rows(&lake)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
