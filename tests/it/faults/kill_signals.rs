//! SIGTERM while the process is held at a hand-over: once it ends well, twice it ends at once, and the tables are right.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use medallion::failpoint::{POINTS, VARIABLE};

use super::kill_case::{Family, Shot, Start, again, each};
use crate::support::command::{done, medallion};
use crate::support::project::{PIPELINE, Project};
use crate::support::tier::{pick, seed};

const TERM: i32 = 15;
/// Exit code of a process that a second SIGTERM ended.
const TERMINATED: i32 = 143;
/// A process held for this long must have got the signal meanwhile.
const PAUSE: &str = "pause:250";
/// In which it must have ended after the first signal, and after the second.
const ENDS_WITHIN: Duration = Duration::from_secs(10);
const LEAVES_WITHIN: Duration = Duration::from_secs(2);
/// Enough of each kind for the smallest tier.
const FEW: [&str; 5] = ["B3", "S4", "G2", "R3", "M3"];

/// Signals at a point.
struct Signal {
    shot: Shot,
    twice: bool,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} TERM{}", self.shot, if self.twice { " TERM" } else { "" })
    }
}

/// A process whose standard error is in a file.
struct Held {
    child: Child,
    err: std::path::PathBuf,
    what: String,
}

impl Held {
    /// Starts the command and waits until it is held at the point.
    fn start(project: &Path, args: &[&str], order: &str, what: &str) -> Self {
        let err = project.join("stderr.txt");
        let child = medallion(project)
            .env(VARIABLE, order)
            .args(args)
            .stdout(File::create(project.join("stdout.txt")).unwrap())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .unwrap();
        let what = what.to_owned();
        let held = Self { child, err, what };
        held.says("failpoint ");
        held
    }

    fn says(&self, text: &str) {
        let begun = Instant::now();
        while !fs::read_to_string(&self.err).unwrap().contains(text) {
            let said = fs::read_to_string(&self.err).unwrap();
            assert!(
                begun.elapsed() < ENDS_WITHIN,
                "{}: never said {text:?}: {said}",
                self.what
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn terminate(&self) {
        self.signal("TERM");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// How it ended, in at most `limit`.
    fn ends(&mut self, limit: Duration) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            let said = fs::read_to_string(&self.err).unwrap();
            assert!(
                begun.elapsed() < limit,
                "{}: still there after {limit:?}: {said}",
                self.what
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _may_have_ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn signals(twice: bool) -> Vec<Signal> {
    let wanted = |point: &&str| pick(FEW.contains(point), true, true);
    let points = POINTS.into_iter().filter(wanted);
    // M8 is damage by others, not a hand-over of ours. Only `run` has a step to finish, the others die by the first.
    let points = points.filter(|point| *point != "M8" && (!twice || !point.starts_with(['R', 'M'])));
    let shots = points.map(Shot::first);
    shots.map(|shot| Signal { shot, twice }).collect()
}

fn args(family: Family) -> &'static [&'static str] {
    match family {
        Family::Run => &["run", "-p", PIPELINE],
        other => other.args(),
    }
}

#[test]
fn a_process_told_to_end_at_any_hand_over_finishes_its_step_and_loses_nothing() {
    let start = Start::shared();
    let count = each(signals(false), |signal| {
        let (family, what) = (signal.shot.family(), again(&signal));
        let case = start.case(family, what.clone());
        let order = format!("{}={PAUSE}", signal.shot);
        let mut held = Held::start(case.project.path(), args(family), &order, &what);
        held.terminate();
        let status = held.ends(ENDS_WITHIN);
        let said = fs::read_to_string(&held.err).unwrap();
        match family {
            Family::Run => assert_eq!(status.code(), Some(0), "{what}: {said}"),
            // A replay or a maintenance that did not finish must not look as if it had.
            _ => assert_eq!(status.signal(), Some(TERM), "{what}: {said}"),
        }
        case.more();
        if family != Family::Run {
            case.must(family);
        }
        case.finish();
    });
    println!("signals: SIGTERM at {count} points, seed {}", seed());
}

#[test]
fn a_process_told_twice_to_end_leaves_at_once_and_loses_nothing() {
    let start = Start::shared();
    let count = each(signals(true), |signal| {
        let what = again(&signal);
        let case = start.case(Family::Run, what.clone());
        let order = format!("{}=stop", signal.shot);
        let mut held = Held::start(case.project.path(), args(Family::Run), &order, &what);
        held.terminate();
        held.says("stopping after the step at hand");
        held.terminate();
        let status = held.ends(LEAVES_WITHIN);
        let said = fs::read_to_string(&held.err).unwrap();
        assert_eq!(status.code(), Some(TERMINATED), "{what}: {said}");
        assert!(said.contains("left at once"), "{what}: {said}");
        case.more();
        case.finish();
    });
    println!("signals: SIGTERM twice at {count} points, seed {}", seed());
}

#[test]
fn a_one_shot_run_told_to_end_before_the_end_says_so_and_is_no_success() {
    let project = Project::new(40, 50);
    project.events("a.ndjson", 0..200);
    let args = ["run", "-p", PIPELINE, "--once"];
    let summary = |out: &str| -> serde_json::Value { serde_json::from_str(out.lines().last().unwrap()).unwrap() };
    for (signal, code) in [("INT", 130), ("TERM", TERMINATED)] {
        let mut held = Held::start(project.path(), &args, &format!("B1={PAUSE}"), signal);
        held.signal(signal);
        let status = held.ends(ENDS_WITHIN);
        let said = fs::read_to_string(&held.err).unwrap();
        assert_eq!(status.code(), Some(code), "{said}");
        assert!(said.contains("stopped before the end of what was there"), "{said}");
        let out = fs::read_to_string(project.path().join("stdout.txt")).unwrap();
        let summary = summary(&out);
        assert_eq!(summary["pipelines"][0]["complete"], false, "{out}");
        let bronze = &summary["pipelines"][0]["layers"][0];
        assert!(bronze["rows_out"].as_u64().unwrap() > 0, "its step was finished: {out}");
    }
    let through = done(project.path(), &args);
    assert_eq!(
        summary(&through.out)["pipelines"][0]["complete"],
        true,
        "{}",
        through.out
    );
    done(project.path(), &["audit", "-p", PIPELINE]);
}
