//! A process that sleeps through a takeover, as a paused virtual machine does, and goes on as if nothing had happened.

use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::Semaphore;

use super::processes::{Program, finished_as_by_one};
use crate::support::bucket::Seen;
use crate::support::command::ended;
use crate::support::project::{PIPELINE, Project};
use crate::support::rows::GOLD;
use crate::support::s3::{ConditionalPut, Server};
use crate::support::stopped::{go_on, stop, until};
use crate::support::tier::{pick, seed};

/// Where in its work the first process falls asleep.
#[derive(Debug, Clone)]
enum Moment {
    /// A data file of the table is stored: its commit comes next.
    BeforeCommit(String),
    /// Its commit is on the way and arrives only after the takeover.
    CommitUnderWay(String),
    /// Its commit is done, and it does not know yet.
    AfterCommit(String),
    /// At this request, whatever it is.
    Request(usize),
}

impl Moment {
    /// Whether this is it; `number` counts what was seen.
    fn is(&self, seen: &Seen, number: usize) -> bool {
        let of = |table: &str, what: &str| seen.what == "put" && seen.key.contains(table) && seen.key.contains(what);
        match self {
            Self::BeforeCommit(table) => seen.done && of(table, ".parquet"),
            // Version 0 only makes the table.
            Self::CommitUnderWay(table) => !seen.done && of(table, "_delta_log/") && !of(table, "00000.json"),
            Self::AfterCommit(table) => seen.done && of(table, "_delta_log/") && !of(table, "00000.json"),
            Self::Request(at) => number >= *at,
        }
    }
}

/// The named moments of every table, then some that the seed chooses.
fn moments(count: usize) -> Vec<Moment> {
    let tables = ["bronze", "silver", "rejects", &format!("gold/{GOLD}")].map(|table| format!("/{PIPELINE}/{table}/"));
    let mut moments: Vec<Moment> = Vec::new();
    for table in tables {
        moments.push(Moment::BeforeCommit(table.clone()));
        moments.push(Moment::CommitUnderWay(table.clone()));
        moments.push(Moment::AfterCommit(table));
    }
    let mut dice = ChaCha8Rng::seed_from_u64(seed());
    let quick = moments.len().min(count);
    // Few of many: begun where the seed says, and every third, so that tables and moments change.
    let first: usize = dice.random_range(0..moments.len());
    let mut chosen: Vec<Moment> = (0..quick)
        .map(|step| moments[(first + step * 4 + step / 3) % moments.len()].clone())
        .collect();
    chosen.extend((quick..count).map(|_| Moment::Request(dice.random_range(5..200))));
    chosen
}

#[test]
fn a_process_on_s3_that_slept_through_a_takeover_loses_and_says_who_holds_the_table() {
    let server = Server::start(ConditionalPut::Kept);
    let moments = moments(pick(3, 14, 50));
    for (round, moment) in moments.iter().enumerate() {
        let when = format!("{moment:?}, MEDALLION_SEED={}", seed());
        let project = Project::new(15, 20);
        project.grow("a.ndjson", 220);
        let program = Program::on_s3(&project, &server, &format!("zombie/{round}"));
        let gate = Arc::new(Semaphore::new(0));
        let (sleeper, stopped) = sleeping_at(&server, moment.clone(), gate.clone());
        let mut zombie = program.start(&["run"]);
        sleeper.store(zombie.id(), Ordering::SeqCst);
        until(&format!("it is stopped at {when}"), || {
            assert!(zombie.try_wait().unwrap().is_none(), "{when}: it ended before");
            stopped.load(Ordering::SeqCst) > 0
        });
        server.unwatch();
        takeover(&program, &project, zombie, &when, || gate.add_permits(1));
    }
    println!("zombies on S3: {} moments", moments.len());
}

/// Watches the server: whoever's process id is put into the first value is stopped at `moment`, and the second value is
/// then above 0.
fn sleeping_at(server: &Server, moment: Moment, gate: Arc<Semaphore>) -> (Arc<AtomicU32>, Arc<AtomicUsize>) {
    let (pid, stopped) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicUsize::new(0)));
    let (watched, told) = (pid.clone(), stopped.clone());
    let count = Mutex::new(0);
    server.watch(Box::new(move |seen| {
        let mut count = count.lock().unwrap();
        *count += 1;
        if told.load(Ordering::SeqCst) > 0 || !moment.is(seen, *count) {
            return None;
        }
        until("the process has an id", || watched.load(Ordering::SeqCst) > 0);
        stop(watched.load(Ordering::SeqCst));
        told.store(*count, Ordering::SeqCst);
        matches!(moment, Moment::CommitUnderWay(_)).then(|| gate.clone())
    }));
    (pid, stopped)
}

/// While `zombie` is stopped another process does all the work; then it goes on, and must lose.
fn takeover(program: &Program, project: &Project, zombie: Child, when: &str, release: impl Fn()) {
    project.grow("a.ndjson", 250);
    let (holder, _) = program.done(&["run", "--once"]);
    release();
    go_on(zombie.id());
    // Whatever it was about to do, new records give it something to commit.
    project.grow("a.ndjson", 280);
    let said = ended_in_time(zombie, when);
    assert_eq!(said.code, Some(1), "{when}: {}", said.err);
    assert!(
        said.err.contains("another writer holds view_log/") && said.err.contains(&format!("pid {holder} run")),
        "{when}, held by {holder}: {}",
        said.err
    );
    finished_as_by_one(program, project, when);
}

fn ended_in_time(mut child: Child, when: &str) -> crate::support::command::Said {
    until(&format!("the zombie of {when} ends"), || {
        child.try_wait().unwrap().is_some()
    });
    ended(child)
}

#[test]
fn a_process_whose_lock_is_out_of_sight_loses_to_the_one_that_took_over_its_lake() {
    let rounds = pick(2, 8, 30);
    let mut dice = ChaCha8Rng::seed_from_u64(seed());
    for round in 0..rounds {
        let when = format!("round {round}, MEDALLION_SEED={}", seed());
        let project = Project::new(5, 7);
        project.grow("a.ndjson", 220);
        let program = Program::on_disk(&project);
        let zombie = program.start(&["run"]);
        let tables = ["bronze", "silver", "rejects", &format!("gold/{GOLD}")];
        let table = project.lake_path().join(PIPELINE).join(tables[round % tables.len()]);
        let target = dice.random_range(2..=5);
        until(&format!("{} is committed to in {when}", table.display()), || {
            commits(&table) >= target
        });
        std::thread::sleep(std::time::Duration::from_micros(dice.random_range(0..15_000)));
        stop(zombie.id());
        // As over a network file system, which does not show one host the locks of another.
        std::fs::remove_dir_all(project.lake_path().join("_locks")).unwrap();
        takeover(&program, &project, zombie, &when, || {});
    }
    println!("zombies on a local lake: {rounds} moments");
}

fn commits(table: &Path) -> usize {
    std::fs::read_dir(table.join("_delta_log")).map_or(0, |entries| entries.count())
}
