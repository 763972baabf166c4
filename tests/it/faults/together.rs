//! Faults while the layers run at once, each on a thread of its own, over a store whose calls take their time: so
//! another layer moves between a call and what follows it. The seed fixes the fault and the pauses, the scheduler of the
//! machine what comes of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use medallion::clock::Clock;
use medallion::run::{Options, run};
use medallion::table::Lake;
use object_store::memory::InMemory;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use url::Url;

use super::invariants::{Stage, check, same};
use super::scenario::{Phase, Work, once};
use super::store::{PHASES, finished, honest, in_turns, sound};
use crate::support::faulty::{Fault, Faulty};
use crate::support::project::{block, lake_over};
use crate::support::tier::{pick, seed};

/// How long a run may take to get over a fault and do the work.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy)]
struct Case {
    phase: &'static Phase,
    fault: Fault,
    at: usize,
    dice: u64,
}

impl Case {
    fn told(&self) -> String {
        let Self { phase, fault, at, dice } = self;
        let seed = seed();
        format!(
            "{}, all layers at once, {fault:?} at call {at}, pauses {dice}: MEDALLION_SEED={seed}",
            phase.name
        )
    }
}

/// Cases with a phase that runs, a fault of `faults` and a call, all by the seed.
fn cases(count: usize, phases: &[usize], faults: &[Fault]) -> Vec<Case> {
    let mut dice = ChaCha8Rng::seed_from_u64(seed());
    // Layers at once tell of events once, layers in turn three times.
    let of_layers = |phase: &Phase| {
        let calls = phase.calls.iter();
        calls.filter(|(_, path)| !path.as_ref().contains("/events")).count()
    };
    let mut case = || {
        let phase = &PHASES[phases[dice.random_range(0..phases.len())]];
        Case {
            phase,
            fault: faults[dice.random_range(0..faults.len())],
            // Before the last calls, so that there is one of the right kind to come.
            at: dice.random_range(0..of_layers(phase) * 3 / 4),
            dice: dice.random(),
        }
    };
    (0..count).map(|_| case()).collect()
}

#[test]
fn a_fault_while_the_layers_run_at_once_over_a_slow_store_ends_honestly_and_is_finished() {
    let truthful: Vec<Fault> = Fault::ALL.into_iter().filter(|fault| !fault.lies()).collect();
    let cases = cases(pick(12, 80, 400), &[0, 1, 4], &truthful);
    println!("storage faults among layers at once: {} cases", cases.len());
    in_turns(cases, |case| {
        try_once(case).map_err(|why| format!("{}\n    {why}", case.told()))
    });
}

fn try_once(case: Case) -> Result<(), String> {
    let Work::Run { close_windows } = case.phase.work else {
        return Err("this phase does not run".to_owned());
    };
    let (store, project) = (Arc::new(case.phase.before.fork()), &case.phase.project);
    let faulty = Faulty::dawdling(store.clone(), case.dice, Some((case.fault, case.at)));
    let outcome = once(project, &lake_over(faulty.clone()), None, close_windows);
    faulty.hit().ok_or("the fault never happened")?;
    let torn = case.fault == Fault::Torn;
    let stage = if outcome.is_ok() { Stage::Done } else { Stage::Broken };
    let left = block(check(store.as_ref(), stage, torn)).map_err(|why| format!("left behind: {why}"))?;
    match &outcome {
        Err(error) => honest(case.fault, error)?,
        Ok(()) => same(&left.rows, &case.phase.wanted).map_err(|why| format!("success, but {why}"))?,
    }
    if let Some((path, payload, options)) = faulty.take_pending() {
        use object_store::ObjectStore;
        // Nobody is at work when it lands.
        let _ = block(store.put_opts(&path, payload, options));
    }
    case.phase
        .work
        .on(&case.phase.other, store.clone())
        .map_err(|error| format!("the next start: {error}"))?;
    finished(&store, &case.phase.wanted)?;
    sound(&store, project)
}

#[test]
fn a_running_pipeline_gets_over_a_fault_that_passes_without_being_started_again() {
    let passing = [
        Fault::RefusedOnce,
        Fault::AnswerLost,
        Fault::OwnExists,
        Fault::OwnPrecondition,
        Fault::TimedOut,
        Fault::CutShort,
    ];
    let cases = cases(pick(4, 20, 80), &[0, 1], &passing);
    println!(
        "storage faults that a running pipeline gets over: {} cases",
        cases.len()
    );
    in_turns(cases, |case| {
        get_over(case).map_err(|why| format!("{}\n    {why}", case.told()))
    });
}

fn get_over(case: Case) -> Result<(), String> {
    let store = Arc::new(case.phase.before.fork());
    let faulty = Faulty::dawdling(store.clone(), case.dice, Some((case.fault, case.at)));
    // The clock runs, or no commit would ever be due for its age.
    let lake = Lake::with_store(Url::parse("memory:///").unwrap(), faulty.clone(), Clock::system());
    let project = &case.phase.project;
    let options = Options {
        layer: None,
        once: false,
        close_windows: false,
        adopt: false,
    };
    let (components, pipelines) = (project.components(&lake), [project.pipeline()]);
    std::thread::scope(|scope| {
        let running = scope.spawn(|| run(&components, &pipelines, &options));
        let begun = Instant::now();
        let done = loop {
            let done = as_wanted(&store, case.phase);
            if done.is_ok() || running.is_finished() || begun.elapsed() > PATIENCE {
                break done;
            }
            std::thread::sleep(Duration::from_millis(30));
        };
        let ended = running.is_finished();
        components.stop.ask();
        let outcome = running.join().unwrap();
        if ended {
            return Err(format!(
                "it ended by itself: {:?}",
                outcome.err().map(|error| error.to_string())
            ));
        }
        outcome.map_err(|error| format!("asked to stop: {error}"))?;
        done
    })?;
    faulty.hit().ok_or("the fault never happened")?;
    sound(&store, project)
}

fn as_wanted(store: &Arc<InMemory>, phase: &Phase) -> Result<(), String> {
    same(&block(check(store.as_ref(), Stage::Done, false))?.rows, &phase.wanted)
}
