//! The power goes after any single change of the disk, which then forgets what was not synced.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use bytes::Bytes;
use medallion::clock::Clock;
use medallion::error::{Kind, Result};
use medallion::run::{Layer, Options, replay, run, tables};
use medallion::table::Lake;
use medallion::table::durable::Durable;
use medallion::table::maintain::{Policy, maintain};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use url::Url;

use crate::support::disk::{FailingSync, SimDisk, Telling};
use crate::support::image::{Change, Forgets, Image};
use crate::support::project::{Project, block};
use crate::support::rows::{assert_same, rows};
use crate::support::tier::{pick, whole};

const ROOT: &str = "lake";
/// 2100: later than any file of the test, so that the log cleanup takes all it may.
const NOW: i64 = 4_102_444_800_000_000;
const MAINTAIN: usize = 2;
const REPLAY: usize = 3;
const LAST: usize = 4;

/// The scenario under power durability, and what it makes of an undisturbed disk.
static POWER: LazyLock<(Scenario, Journey)> = LazyLock::new(|| {
    let scenario = Scenario::new();
    let journey = Journey::of(&scenario, true);
    (scenario, journey)
});

/// What happens to the lake from its first commit on, phase after phase. A phase can be done again at any time.
struct Scenario {
    /// The project as it is in each phase.
    projects: Vec<Project>,
    seed: u64,
}

impl Scenario {
    fn new() -> Self {
        let seed = std::env::var("MEDALLION_SEED").map_or(20_261_121, |seed| seed.parse().unwrap());
        let project = |phase: usize| {
            let project = Project::new(120, 130);
            project.events("a.ndjson", 0..[240, 330, 330, 330, 400][phase]);
            let gold = project.read("layers/view_log/gold.toml");
            let few = gold.replace("[\"network_id\", \"minute_timestamp\"]", "[\"network_id\"]");
            assert_ne!(gold, few);
            project.write("layers/view_log/gold.toml", &few);
            let campaigns = project.read("data/campaigns.csv");
            let rows = if phase == 0 { 4 } else { 7 };
            let few: Vec<&str> = campaigns.lines().take(rows).collect();
            project.write("data/campaigns.csv", &few.join("\n"));
            if phase >= REPLAY {
                let rule = "\n[[expect]]\nname = \"some\"\ncheck = \"banner_id % 3 != 0\"\non_fail = \"reject\"\n";
                project.append("layers/view_log/silver.toml", rule);
            }
            project
        };
        Self {
            projects: (0..=LAST).map(project).collect(),
            seed,
        }
    }

    fn phase(&self, phase: usize, lake: &Lake) -> Result<()> {
        let project = &self.projects[phase];
        match phase {
            MAINTAIN => {
                let policy = Policy {
                    target_bytes: 1 << 20,
                    log_retention: Duration::ZERO,
                    vacuum_age: Duration::ZERO,
                };
                for spec in tables::all(&project.pipeline())? {
                    block(maintain(lake, &spec, policy))?;
                }
                Ok(())
            }
            REPLAY => block(replay::silver(
                lake,
                project.path(),
                &project.pipeline(),
                replay::Extent::All,
                &|_, _, _| {},
            ))
            .map(drop),
            _ => {
                for layer in [Layer::Bronze, Layer::Silver, Layer::Gold] {
                    let options = Options {
                        layer: Some(layer),
                        once: true,
                        close_windows: phase == LAST,
                        adopt: false,
                    };
                    run(&project.components(lake), &[project.pipeline()], &options)?;
                }
                Ok(())
            }
        }
    }

    /// The phases from `from` on; says in which one it failed.
    fn phases(&self, from: usize, lake: &Lake) -> std::result::Result<(), (usize, medallion::error::Error)> {
        (from..=LAST).try_for_each(|phase| self.phase(phase, lake).map_err(|error| (phase, error)))
    }

    fn dice(&self, case: usize) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.seed ^ ((case as u64) << 8))
    }

    /// Goes on from `phase` over what is left, on a sound disk; whether all is as if nothing had happened.
    fn finish(&self, phase: usize, left: &BTreeMap<String, Bytes>, wanted: &Rows) -> std::result::Result<(), String> {
        let finish = || {
            let disk = SimDisk::new(Image::holding(ROOT, left), None);
            let lake = lake_on(&disk, true);
            self.phases(phase, &lake).map_err(|(_, error)| error.to_string())?;
            self.projects[LAST].assert_sound(&lake);
            assert_same(&rows(&lake), wanted, "after the power cut");
            Ok(())
        };
        catch_unwind(AssertUnwindSafe(finish)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            Err(text.unwrap_or_else(|| "a panic".to_owned()))
        })
    }
}

type Rows = BTreeMap<&'static str, String>;

/// A lake on a simulated disk, with power or process durability.
fn lake_on(disk: &Arc<SimDisk>, power: bool) -> Lake {
    let inner: Arc<dyn ObjectStore> = match power {
        true => Arc::new(Durable::new(disk.clone(), disk.clone(), Path::from(ROOT)).one_by_one()),
        false => disk.clone(),
    };
    let telling = Telling {
        inner,
        disk: disk.clone(),
    };
    let url = Url::parse(&format!("memory:///{ROOT}/")).unwrap();
    Lake::with_store(url, Arc::new(telling), Clock::fixed(NOW))
}

fn empty_disk(failing: FailingSync) -> Arc<SimDisk> {
    SimDisk::new(Image::holding(ROOT, &BTreeMap::new()), failing)
}

/// The whole scenario without a fault.
struct Journey {
    journal: Vec<Change>,
    /// How long the journal was after each phase.
    ends: Vec<usize>,
    syncs: usize,
    rows: Rows,
}

impl Journey {
    fn of(scenario: &Scenario, power: bool) -> Self {
        let disk = empty_disk(None);
        let lake = lake_on(&disk, power);
        let ends = (0..=LAST)
            .map(|phase| {
                scenario.phase(phase, &lake).unwrap();
                disk.journal().len()
            })
            .collect();
        let (journal, syncs) = (disk.journal(), disk.syncs());
        scenario.projects[LAST].assert_sound(&lake);
        let rows = rows(&lake);
        for table in ["gold", "late", "rejects"] {
            assert!(rows[table].lines().count() > 3, "{table} has no rows: {}", rows[table]);
        }
        Self {
            journal,
            ends,
            syncs,
            rows,
        }
    }

    fn phase_at(&self, at: usize) -> usize {
        self.ends.iter().position(|end| at <= *end).unwrap()
    }
}

/// What committers were told, and so what must be there: log entries and the data files that they add.
#[derive(Clone, Default)]
struct Promises {
    entries: BTreeMap<String, Bytes>,
    files: BTreeSet<String>,
}

impl Promises {
    fn take_in(&mut self, change: &Change) {
        match change {
            Change::Told(at, bytes) => {
                let table = at.split("/_delta_log/").next().unwrap();
                for line in std::str::from_utf8(bytes).unwrap().lines() {
                    let action: Value = serde_json::from_str(line).unwrap();
                    if let Some(path) = action["add"]["path"].as_str() {
                        self.files.insert(format!("{table}/{}", path.replace("%25", "%")));
                    }
                }
                self.entries.insert(at.clone(), bytes.clone());
            }
            // Deleted by the program itself.
            Change::Removed(at) => {
                self.entries.remove(at);
                self.files.remove(at);
            }
            _ => {}
        }
    }

    /// The first promise that is broken where `left` is all that is left of `image`.
    fn broken(&self, image: &Image, left: &BTreeMap<String, Bytes>) -> Option<String> {
        let entry = |(at, bytes): (&String, &Bytes)| (left.get(at) != Some(bytes)).then(|| at.clone());
        let seen = image.seen();
        let file = |at: &String| (left.get(at) != seen.get(at).copied()).then(|| at.clone());
        self.entries
            .iter()
            .find_map(entry)
            .or_else(|| self.files.iter().find_map(file))
    }
}

/// What is left of a disk, told apart without comparing bytes: contents are shared and never change.
fn fingerprint(phase: usize, left: &BTreeMap<String, Bytes>) -> u64 {
    let mut hasher = DefaultHasher::new();
    phase.hash(&mut hasher);
    for (name, bytes) in left {
        (name, bytes.len(), bytes.as_ptr() as usize).hash(&mut hasher);
    }
    hasher.finish()
}

/// One power cut, to be recovered from.
struct Case {
    phase: usize,
    when: String,
    left: BTreeMap<String, Bytes>,
}

/// Cuts the power after every change in every way. Returns the number of cuts, those that broke a promise, and one
/// case for each different disk that was left.
fn cut_everywhere(scenario: &Scenario, journey: &Journey) -> (usize, Vec<String>, Vec<Case>) {
    let mut image = Image::holding(ROOT, &BTreeMap::new());
    let mut promises = Promises::default();
    let (mut cuts, mut broken, mut cases, mut known) = (0, Vec::new(), Vec::new(), HashSet::new());
    for at in 0..=journey.journal.len() {
        if at > 0 {
            image.apply(&journey.journal[at - 1]);
            promises.take_in(&journey.journal[at - 1]);
        }
        for forgets in Forgets::WAYS {
            cuts += 1;
            let phase = journey.phase_at(at);
            let when = format!(
                "power cut after change {at} of {} ({:?}), {forgets:?} forgotten",
                journey.journal.len(),
                at.checked_sub(1).map(|last| short(&journey.journal[last])),
            );
            let left = image.left(forgets, &mut scenario.dice(cuts));
            if let Some(what) = promises.broken(&image, &left) {
                broken.push(format!("{when}: {what}"));
            }
            if known.insert(fingerprint(phase, &left)) {
                cases.push(Case { phase, when, left });
            }
        }
    }
    (cuts, broken, cases)
}

fn short(change: &Change) -> String {
    let text = match change {
        Change::Written(at, _) => format!("written {at}"),
        Change::Told(at, _) => format!("told {at}"),
        other => format!("{other:?}"),
    };
    text.replace("\"", "")
}

/// Every so many of `all`, `wanted` of them at most, on two threads; the seed says which. Returns how many were done
/// and what `check` found.
fn sampled<T: Send>(
    all: Vec<T>,
    wanted: usize,
    seed: u64,
    check: impl Fn(T) -> Option<String> + Sync,
) -> (usize, Vec<String>) {
    let stride = all.len().div_ceil(wanted).max(1);
    let chosen: Vec<T> = all.into_iter().skip(seed as usize % stride).step_by(stride).collect();
    let count = chosen.len();
    let (chosen, found) = (Mutex::new(chosen), Mutex::new(Vec::new()));
    let next = || chosen.lock().unwrap().pop();
    let work = || {
        while let Some(case) = next() {
            let said = check(case).map(|said| format!("MEDALLION_SEED={seed}: {said}"));
            found.lock().unwrap().extend(said);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    (count, found.into_inner().unwrap())
}

#[test]
fn what_was_reported_as_done_outlives_a_power_cut_and_the_rest_is_done_again() {
    let (scenario, journey) = &*POWER;
    let (cuts, broken, cases) = cut_everywhere(scenario, journey);
    assert!(
        broken.is_empty(),
        "MEDALLION_SEED={}: {} broken promises, first: {:?}",
        scenario.seed,
        broken.len(),
        broken[0]
    );
    let different = cases.len();
    let (done, wrong) = sampled(cases, whole(6, 60, 250, usize::MAX), scenario.seed, |case| {
        let finished = scenario.finish(case.phase, &case.left, &journey.rows);
        finished.err().map(|error| format!("{}: {error}", case.when))
    });
    assert!(wrong.is_empty(), "{} of {done}: {}", wrong.len(), wrong.join("\n"));
    println!(
        "power cuts: {} changes, {cuts} cases, {different} different disks, {done} of them run to the end",
        journey.journal.len()
    );
}

#[test]
fn without_syncs_the_same_power_cuts_break_promises_and_tables() {
    let scenario = Scenario::new();
    let journey = Journey::of(&scenario, false);
    let (cuts, broken, cases) = cut_everywhere(&scenario, &journey);
    let (done, wrong) = sampled(cases, pick(4, 16, 200), scenario.seed, |case| {
        scenario.finish(case.phase, &case.left, &journey.rows).err()
    });
    assert!(broken.len() > cuts / 2, "{} of {cuts} broke a promise", broken.len());
    assert!(!wrong.is_empty(), "none of {done} broke a table");
    println!(
        "power cuts under process: {cuts} cases, {} broke a promise; {} of {done} tables could not go on",
        broken.len(),
        wrong.len()
    );
}

#[test]
fn what_a_killed_process_left_unsynced_is_synced_before_anybody_builds_on_it() {
    let (scenario, journey) = &*POWER;
    // The moments at which something is visible that is not on disk: names and directories just made.
    let fresh = |at: &usize| {
        matches!(
            journey.journal[at - 1],
            Change::Linked(..) | Change::Renamed(..) | Change::Made(..)
        )
    };
    let kills: Vec<usize> = (1..=journey.journal.len()).filter(fresh).collect();
    let (done, wrong) = sampled(kills, pick(4, 30, usize::MAX), scenario.seed, |at| {
        let phase = journey.phase_at(at);
        let (mut image, mut promises) = (Image::holding(ROOT, &BTreeMap::new()), Promises::default());
        for change in &journey.journal[..at] {
            image.apply(change);
            promises.take_in(change);
        }
        // The next process finds all of it; the power goes when it has done the phase.
        let disk = SimDisk::new(image, None);
        if let Err(error) = scenario.phase(phase, &lake_on(&disk, true)) {
            return Some(format!("killed after change {at}: {error}"));
        }
        disk.journal().iter().for_each(|change| promises.take_in(change));
        let left = disk.image().left(Forgets::All, &mut scenario.dice(at));
        let broken = promises.broken(&disk.image(), &left);
        let wrong = broken.or_else(|| scenario.finish(phase, &left, &journey.rows).err());
        wrong.map(|what| format!("killed after {}, change {at}: {what}", short(&journey.journal[at - 1])))
    });
    assert!(wrong.is_empty(), "{} of {done}: {}", wrong.len(), wrong.join("\n"));
    println!("killed, then a power cut: {done} cases");
}

#[test]
fn a_sync_that_fails_is_told_and_loses_nothing() {
    let (scenario, journey) = &*POWER;
    let went_on = Mutex::new((0, 0));
    let (done, wrong) = sampled(
        (0..journey.syncs).collect(),
        pick(5, 25, usize::MAX),
        scenario.seed,
        |turn| {
            let when = format!("sync {turn} of {} fails", journey.syncs);
            let disk = empty_disk(Some(turn));
            let lake = lake_on(&disk, true);
            let Err((phase, error)) = scenario.phases(0, &lake) else {
                // Events fail with a warning, which ends no run.
                return (!lost_for_events(&disk.journal())).then(|| format!("{when}: nobody was told"));
            };
            if error.kind() != Kind::Unavailable || !error.to_string().contains("not synced to disk: /lake") {
                return Some(format!("{when}: {:?}: {error}", error.kind()));
            }
            // The same process tries again, as a live run does: from here on every sync reports success.
            match scenario.phase(phase, &lake) {
                Ok(()) => went_on.lock().unwrap().0 += 1,
                Err(error) if error.kind() == Kind::Unavailable => went_on.lock().unwrap().1 += 1,
                Err(error) => return Some(format!("{when}, again: {:?}: {error}", error.kind())),
            }
            let mut promises = Promises::default();
            disk.journal().iter().for_each(|change| promises.take_in(change));
            let left = disk.image().left(Forgets::All, &mut scenario.dice(turn));
            let broken = promises.broken(&disk.image(), &left);
            let wrong = broken.or_else(|| scenario.finish(phase, &left, &journey.rows).err());
            wrong.map(|what| format!("{when} in phase {phase}: {what}"))
        },
    );
    assert!(wrong.is_empty(), "{} of {done}: {}", wrong.len(), wrong.join("\n"));
    let (again, refused) = went_on.into_inner().unwrap();
    assert!(
        done < 50 || (again > 0 && refused > 0),
        "{again} went on, {refused} refused"
    );
    println!(
        "failing syncs: {done} cases of {}; {again} went on in new files, {refused} waited for a restart",
        journey.syncs
    );
}

/// Whether the sync that failed was one of what is written for the table of events: so is what was last written before it.
fn lost_for_events(journal: &[Change]) -> bool {
    let lost = |change: &Change| matches!(change, Change::FileLost(_) | Change::DirectoryLost(_));
    let before = journal
        .iter()
        .take_while(|change| !lost(change))
        .filter_map(|change| match change {
            Change::Made(name) | Change::Written(name, _) | Change::Linked(_, name) => Some(name),
            _ => None,
        });
    before.last().is_some_and(|name| name.contains("/events"))
}

#[test]
fn an_entry_that_was_read_is_on_disk() {
    let linked = || {
        let disk = empty_disk(None);
        let at = Path::from("lake/p/bronze/_delta_log/00000000000000000000.json");
        block(disk.put_opts(&at, "{}".into(), object_store::PutMode::Create.into())).unwrap();
        (disk, at)
    };
    let left = |disk: &SimDisk| disk.image().left(Forgets::All, &mut ChaCha8Rng::seed_from_u64(1));
    let (disk, at) = linked();
    block(disk.get(&at)).unwrap();
    assert!(left(&disk).is_empty(), "the disk forgets nothing");
    let (disk, at) = linked();
    let store = Durable::new(disk.clone(), disk.clone(), Path::from(ROOT));
    block(store.get(&at)).unwrap();
    assert_eq!(left(&disk).len(), 1);
    let syncs = disk.syncs();
    block(store.get(&at)).unwrap();
    assert_eq!(disk.syncs(), syncs, "once is enough");
}
