//! A fault at every single call on the store, in one scenario through everything.
//!
//! `MEDALLION_FAULT=AnswerLost@137` runs exactly that case: the fault, and the number of the call in the scenario.
//! `MEDALLION_FAULT=AnswerLost` runs all cases of that fault.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex};

use medallion::error::{Error, Kind};
use object_store::memory::InMemory;

use super::invariants::{Rows, Stage, check, same};
use super::scenario::{Phase, Work, files, phases};
use crate::support::faulty::{self, Fault, Faulty};
use crate::support::project::{Project, block, lake_over};
use crate::support::tier::{pick, seed, whole};

/// The scenario, done once undisturbed.
pub static PHASES: LazyLock<Vec<Phase>> = LazyLock::new(phases);

/// Of how many cases of a fault one is tried in this tier. A death leaves the store as it is, and only changes move it,
/// so deaths after changes are all the deaths there are.
fn one_of(fault: Fault) -> usize {
    match fault {
        Fault::RefusedOnce => pick(59, 1, 1),
        Fault::AnswerLost | Fault::DiesAfter => pick(17, 1, 1),
        // Those that apply to few calls.
        Fault::Torn | Fault::LandsLate | Fault::LandsAfterDeath => pick(17, 3, 1),
        Fault::OwnExists | Fault::OwnPrecondition => pick(17, 3, 1),
        Fault::StaleOnce | Fault::StaleOn => whole(59, 12, 5, 1),
        // Other words for what is tried above, or other moments of the same death.
        _ => whole(191, 89, 23, 1),
    }
}

/// One fault at one call.
#[derive(Clone, Copy)]
struct Case {
    fault: Fault,
    phase: usize,
    /// The number of the call in its phase.
    at: usize,
}

impl Case {
    fn phase(&self) -> &'static Phase {
        &PHASES[self.phase]
    }

    /// The number of the call in the scenario.
    fn number(&self) -> usize {
        self.phase().first + self.at
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = self.phase();
        let (kind, path) = &phase.calls[self.at];
        let (name, seed, number) = (phase.name, seed(), self.number());
        let fault = self.fault;
        write!(
            f,
            "{name}, call {} of {}, {kind:?} {path}: MEDALLION_SEED={seed} MEDALLION_FAULT={fault:?}@{number}",
            self.at,
            phase.calls.len()
        )
    }
}

/// All cases of a fault, in the order of calls.
fn all(fault: Fault) -> Vec<Case> {
    let mut cases = Vec::new();
    for (phase, of) in PHASES.iter().enumerate() {
        let at = (0..of.calls.len()).filter(|at| fault.applies(of.calls[*at].0));
        cases.extend(at.map(|at| Case { fault, phase, at }));
    }
    cases
}

/// The cases of this tier: every so many of each fault, begun where the seed says, or the one that was asked for.
fn cases() -> Vec<Case> {
    if let Ok(wanted) = std::env::var("MEDALLION_FAULT") {
        let every = Fault::ALL.into_iter().flat_map(all);
        let named = |case: &Case| {
            let fault = format!("{:?}", case.fault);
            fault == wanted || format!("{fault}@{}", case.number()) == wanted
        };
        let found: Vec<Case> = every.filter(named).collect();
        assert!(!found.is_empty(), "MEDALLION_FAULT={wanted} is no case");
        return found;
    }
    let mut cases = Vec::new();
    for (place, fault) in Fault::ALL.into_iter().enumerate() {
        let step = one_of(fault);
        let first = (seed() as usize).wrapping_add(place * 7) % step;
        cases.extend(all(fault).into_iter().skip(first).step_by(step));
    }
    cases
}

/// Whether an error says what happened, where, and what kind of thing it is.
///
/// Errors: what is not honest in it.
pub fn honest(fault: Fault, error: &Error) -> Result<(), String> {
    let text = error.to_string();
    let allowed: &[Kind] = match fault.lies() {
        false => &[Kind::Unavailable],
        // A store that hides what is there looks like a damaged one, or like another writer's.
        true => &[Kind::Unavailable, Kind::Damaged, Kind::Fenced],
    };
    if !allowed.contains(&error.kind()) {
        return Err(format!("it ends with {:?}: {text}", error.kind()));
    }
    if !text.contains("view_log") && !text.contains("lake memory:///") {
        return Err(format!("its message names no place: {text}"));
    }
    Ok(())
}

fn try_case(case: Case) -> Result<(), String> {
    let phase = case.phase();
    let store = Arc::new(phase.before.fork());
    let faulty = Faulty::new(store.clone(), case.fault, case.at);
    let outcome = phase.work.on(&phase.project, faulty.clone());
    let (at, _) = faulty.hit().ok_or("the fault never happened")?;
    if at != case.at {
        return Err(format!("it happened at call {at}"));
    }
    let torn = case.fault == Fault::Torn;
    let stage = match (&outcome, phase.work) {
        (Ok(()), _) => Stage::Done,
        (Err(_), Work::Replay) => Stage::BrokenReplay,
        (Err(_), _) => Stage::Broken,
    };
    let left = block(check(store.as_ref(), stage, torn)).map_err(|why| format!("left behind: {why}"))?;
    match &outcome {
        Err(error) => honest(case.fault, error)?,
        // Success means that the work is done.
        Ok(()) => {
            same(&left.rows, &phase.wanted).map_err(|why| format!("success, but {why}"))?;
            // What a list does not show, compaction leaves for the next time, as it does what is appended beside it.
            if phase.work == Work::Maintain && !case.fault.lies() && files(&left) != phase.files {
                return Err(format!("success with {} files, wanted {}", files(&left), phase.files));
            }
        }
    }
    let told = outcome
        .err()
        .map_or_else(|| "success".to_owned(), |error| error.to_string());
    mend(case, &store, &faulty).map_err(|why| format!("{why}; the broken run said: {told}"))
}

/// Starts again on the healthy store until the work is done, and looks at what came of it.
fn mend(case: Case, store: &Arc<InMemory>, faulty: &Faulty) -> Result<(), String> {
    let phase = case.phase();
    let again = if case.at.is_multiple_of(2) {
        &phase.project
    } else {
        &phase.other
    };
    if let Some(put) = faulty.take_pending() {
        // Somewhere in the next process' work, someone else's put comes down.
        let at = (seed() as usize + case.at * 13) % phase.calls.len().min(50);
        let landing = Faulty::landing(store.clone(), put, at);
        match phase.work.on(again, landing.clone()) {
            Err(error) if error.kind() != Kind::Fenced => return Err(format!("beside a late put: {error}")),
            _ => {}
        }
        if landing.take_pending().is_some() {
            return Err("the late put never came".to_owned());
        }
    }
    let mut end = phase;
    if phase.work == Work::Maintain {
        end = &PHASES[case.phase + 1];
        let path = phase.calls[case.at].1.as_ref();
        let torn = case.fault == Fault::Torn && path.ends_with(".checkpoint.parquet");
        // Events that cannot be told stop nobody.
        if torn && !path.contains("/events/") {
            told_to_maintain(end, store)?;
        }
        // Otherwise broken maintenance hinders neither the next one nor a run. Around a log checkpoint the next one is
        // the harder: it finds one that was not told of.
        let checkpoint = phase.calls[case.at].1.as_ref().contains("checkpoint");
        if checkpoint || case.at.is_multiple_of(2) {
            phase
                .work
                .on(again, store.clone())
                .map_err(|error| format!("the next maintenance: {error}"))?;
        }
    }
    let again = if case.at.is_multiple_of(2) {
        &end.project
    } else {
        &end.other
    };
    end.work
        .on(again, store.clone())
        .map_err(|error| format!("the next start: {error}"))?;
    finished(store, &end.wanted)?;
    // The rows are those of a run that the audit found sound; that it finds so here, too, is tried less often.
    match case.number() % pick(3, 6, 2) {
        0 => sound(store, again),
        _ => Ok(()),
    }
}

/// A log checkpoint that is not whole makes its table unreadable, and whoever meets it is told what to do.
fn told_to_maintain(phase: &Phase, store: &Arc<InMemory>) -> Result<(), String> {
    let error = phase
        .work
        .on(&phase.project, store.clone())
        .err()
        .ok_or("a torn log checkpoint was read")?;
    let told = error.to_string();
    let said = error.kind() == Kind::Damaged && told.contains("is not whole") && told.contains("medallion maintain");
    if said {
        Ok(())
    } else {
        Err(format!("a torn log checkpoint is told as {told}"))
    }
}

/// Everything is processed, as it would have been undisturbed.
///
/// Errors: what is otherwise.
pub fn finished(store: &Arc<InMemory>, wanted: &Rows) -> Result<(), String> {
    let end = block(check(store.as_ref(), Stage::Done, false)).map_err(|why| format!("at the end: {why}"))?;
    same(&end.rows, wanted).map_err(|why| format!("at the end: {why}"))
}

/// The audit finds nothing.
///
/// Errors: what it finds.
pub fn sound(store: &Arc<InMemory>, project: &Project) -> Result<(), String> {
    let findings = project.audit(&lake_over(store.clone())).findings;
    match findings.is_empty() {
        true => Ok(()),
        false => Err(format!("the audit: {findings:#?}")),
    }
}

/// Tries all cases on two threads.
///
/// # Panics
/// Where any fails, with what each says.
pub fn in_turns<C: Send>(cases: Vec<C>, attempt: impl Fn(C) -> Result<(), String> + Sync) {
    let (cases, failures) = (Mutex::new(cases), Mutex::new(Vec::new()));
    let next = || cases.lock().unwrap().pop();
    let work = || {
        while let Some(case) = next() {
            if let Err(why) = attempt(case) {
                println!("{why}");
                failures.lock().unwrap().push(why);
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let failures: Vec<String> = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "{} cases failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn a_fault_at_any_store_call_ends_honestly_and_the_next_start_finishes_the_work() {
    let cases = cases();
    let mut faults: BTreeMap<Fault, usize> = BTreeMap::new();
    for case in &cases {
        *faults.entry(case.fault).or_default() += 1;
    }
    let mut kinds = BTreeMap::new();
    for (kind, _) in PHASES.iter().flat_map(|phase| &phase.calls) {
        *kinds.entry(*kind).or_insert(0) += 1;
    }
    let calls: usize = kinds.values().sum();
    println!(
        "storage faults: {calls} calls {kinds:?}, {} cases {faults:?}",
        cases.len()
    );
    in_turns(cases, |case| try_case(case).map_err(|why| format!("{case}\n    {why}")));
}

#[test]
fn a_log_checkpoint_that_is_torn_or_was_never_told_of_loses_no_table() {
    let (maintenance, phase) = (3, &PHASES[3]);
    let written = (0..phase.calls.len()).filter(|at| {
        let (kind, path) = &phase.calls[*at];
        *kind == faulty::Kind::Put && path.as_ref().contains("checkpoint")
    });
    let faults = [Fault::DiesBefore, Fault::Torn];
    let cases: Vec<Case> = written
        .flat_map(|at| {
            faults.map(|fault| Case {
                fault,
                phase: maintenance,
                at,
            })
        })
        .collect();
    assert_eq!(cases.len(), 24, "a log checkpoint and its hint for each of six tables");
    let some = cases
        .into_iter()
        .skip(seed() as usize % pick(3, 1, 1))
        .step_by(pick(3, 1, 1));
    let cases: Vec<Case> = some.collect();
    println!("log checkpoints torn or untold: {} cases", cases.len());
    in_turns(cases, |case| try_case(case).map_err(|why| format!("{case}\n    {why}")));
}

#[test]
fn reference_data_that_changes_while_a_step_is_half_done_leaves_each_row_one_fate() {
    let phase = &PHASES[0];
    let other = Project::new(45, 30);
    other.write("input/a.ndjson", &phase.project.read("input/a.ndjson"));
    other.write(
        "layers/view_log/gold.toml",
        &phase.project.read("layers/view_log/gold.toml"),
    );
    let campaigns = other.read("data/campaigns.csv");
    let header = campaigns.lines().next().unwrap();
    other.write(
        "data/campaigns.csv",
        &format!("{header}\n7,10,a\n7,20,b\n7,30,c\n7,40,d\n"),
    );
    let counting = Faulty::counting(Arc::new(InMemory::new()));
    phase.project.run_in_turn(&lake_over(counting.clone())).unwrap();
    let calls = counting.calls();
    let changes = (0..calls.len()).filter(|at| calls[*at].0.changes());
    let dying = changes.skip(seed() as usize % 2).step_by(pick(2, 1, 1));
    let mut cases: Vec<(Fault, usize)> = dying.map(|at| (Fault::DiesBefore, at)).collect();
    // A copy of reference data that was begun, never finished, and is not wanted any more.
    let copy = |at: &usize| calls[*at].0 == faulty::Kind::Put && calls[*at].1.as_ref().contains("_reference");
    let torn: Vec<(Fault, usize)> = (0..calls.len()).filter(copy).map(|at| (Fault::Torn, at)).collect();
    assert!(!torn.is_empty(), "no copy of reference data is made");
    cases.extend(torn);
    println!("reference data changed after a death: {} cases", cases.len());
    in_turns(cases, |(fault, at)| {
        let store = Arc::new(InMemory::new());
        let died = phase
            .project
            .run_in_turn(&lake_over(Faulty::new(store.clone(), fault, at)));
        let when = || format!("the first run died at call {at}, {fault:?}");
        if died.is_ok() && !calls[at].1.as_ref().contains("/events/") {
            return Err(format!("{}: success without a store", when()));
        }
        other
            .run_in_turn(&lake_over(store.clone()))
            .map_err(|error| format!("{}: {error}", when()))?;
        block(check(store.as_ref(), Stage::Done, false)).map_err(|why| format!("{}: {why}", when()))?;
        sound(&store, &other).map_err(|why| format!("{}: {why}", when()))
    });
}
