//! The real process, ended at every named hand-over, and again during the recovery from that.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use medallion::failpoint::POINTS;
use rand::SeedableRng;
use rand::seq::SliceRandom;

use super::kill_case::{Family, Shot, Start, again, each};
use crate::support::command::call;
use crate::support::rows::rows;
use crate::support::tier::{pick, seed, whole};

/// Later passings: another table, or amid the work. Of a replay's swaps each is one: rejects, silver, late, gold.
const LATER: [(&str, &[u32]); 31] = [
    ("B1", &[3]),
    ("B2", &[3]),
    ("B3", &[3]),
    ("B4", &[3]),
    ("B5", &[3]),
    ("B6", &[3]),
    ("B7", &[2, 5]),
    ("S1", &[3]),
    ("S2", &[3]),
    ("S3", &[3]),
    ("S4", &[3]),
    ("S5", &[3]),
    ("S6", &[2]),
    ("S7", &[2]),
    ("S8", &[]),
    ("G1", &[3]),
    ("G2", &[3]),
    ("G3", &[3]),
    ("G4", &[3]),
    ("G6", &[2]),
    ("R1", &[2]),
    ("R2", &[2]),
    ("R3", &[2, 3, 4]),
    ("M1", &[3]),
    ("M2", &[3]),
    ("M3", &[2, 3]),
    ("M4", &[2, 3]),
    ("M5", &[3]),
    ("M6", &[3]),
    ("M7", &[3]),
    ("M8", &[3]),
];

/// Points that a recovery need not pass: every table may be there, and nothing removed may be old enough for vacuum.
const MAY_BE_PASSED_BY: [&str; 3] = ["B7", "M3", "M4"];

/// Two crashes, the second while the first is recovered from.
struct Pair(Shot, Shot);

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.1)
    }
}

fn later() -> impl Iterator<Item = Shot> {
    POINTS.iter().flat_map(|point| {
        let (_, hits) = LATER.iter().find(|(name, _)| name == point).unwrap();
        hits.iter().map(|hit| Shot { point, hit: *hit })
    })
}

fn pairs() -> Vec<Pair> {
    let firsts = || POINTS.into_iter().map(Shot::first);
    let mut pairs: Vec<Pair> = firsts()
        .flat_map(|one| firsts().map(move |two| Pair(one, two)))
        .collect();
    let deep = later().flat_map(|one| firsts().map(move |two| Pair(one, two)));
    pairs.extend(deep.take(pick(0, 0, usize::MAX)));
    pairs.shuffle(&mut rand_chacha::ChaCha8Rng::seed_from_u64(seed()));
    pairs.truncate(whole(4, 50, 250, usize::MAX));
    pairs
}

#[test]
fn a_process_killed_at_any_hand_over_is_finished_by_the_next() {
    let first = seed() as usize % pick(3, 1, 1);
    let some = POINTS.into_iter().skip(first).step_by(pick(3, 1, 1));
    let mut shots: Vec<Shot> = some.map(Shot::first).collect();
    shots.extend(later().take(pick(0, usize::MAX, usize::MAX)));
    let start = Start::shared();
    let count = each(shots, |shot| {
        let what = again(&shot);
        let case = start.case(shot.family(), what.clone());
        let before = (shot.family() == Family::Replay).then(|| rows(&case.project.lake()));
        assert!(case.crash(shot.family(), shot), "{what}: never got there");
        if let Some(before) = before {
            a_replay_that_broke_off(&case.project, shot, &before, &what);
        }
        case.mend(shot);
        case.more();
        if shot.family() != Family::Run {
            case.must(shot.family());
        }
        case.finish();
    });
    println!("kill points: {} points, {count} cases, seed {}", POINTS.len(), seed());
}

/// Until its swap each table is the old one, and `run` takes no mix of old and new.
fn a_replay_that_broke_off(
    project: &crate::support::project::Project,
    shot: Shot,
    before: &super::kill_case::Rows,
    what: &str,
) {
    let swapped: &[&str] = match (shot.point, shot.hit) {
        ("R1" | "R2", 1) => &[],
        ("R3", 1) => &["rejects"],
        ("R1" | "R2", _) | ("R3", 2) => &["rejects", "silver", "late"],
        ("R3", 3) => &["rejects", "silver", "late", "gold"],
        _ => &["rejects", "silver", "late", "gold"],
    };
    let found = rows(&project.lake());
    for (table, wanted) in before.iter().filter(|(table, _)| !swapped.contains(table)) {
        assert!(found[table] == *wanted, "{what}: {table} changed before its swap");
    }
    let said = call(project.path(), Family::Run.args());
    let whole = shot.point == "R3" && shot.hit == 4;
    assert_eq!(said.code == Some(0), whole, "{what}: {}", said.err);
    assert!(whole || said.err.contains("replay"), "{what}: {}", said.err);
}

#[test]
fn a_process_killed_during_the_recovery_from_a_kill_is_finished_by_the_third() {
    let start = Start::shared();
    let reached = AtomicUsize::new(0);
    let count = each(pairs(), |pair| {
        let Pair(one, two) = pair;
        let what = again(&pair);
        let case = start.case(one.family(), what.clone());
        assert!(case.crash(one.family(), one), "{what}: never got to the first");
        case.mend(one);
        case.more();
        let mut at = one.family();
        let mut died = case.crash(at, two);
        if !died && two.family() != at {
            at = two.family();
            if at == Family::Replay {
                case.change();
            }
            died = case.crash(at, two);
        }
        let excused = MAY_BE_PASSED_BY.contains(&two.point);
        assert!(died || excused, "{what}: never got to the second");
        if died {
            reached.fetch_add(1, Ordering::SeqCst);
            case.mend(two);
            case.must(at);
        }
        case.finish();
    });
    let reached = reached.load(Ordering::SeqCst);
    println!(
        "kill pairs: {count} cases, {} of them never reached the second, seed {}",
        count - reached,
        seed()
    );
}
