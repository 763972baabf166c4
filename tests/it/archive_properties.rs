//! The memory of accepted keys beside a hash table of all of them: whatever is archived, merged, forgotten, saved and
//! opened again, they answer alike.

use std::collections::HashMap;
use std::time::Duration;

use medallion::checkpoint::{Checkpoints, Folder, Shape, Volumes};
use medallion::layer::silver::{Dedupe, First, Horizon, Key};
use medallion::run::archive::VolumeArchive;
use proptest::prelude::*;
use tempfile::TempDir;

/// All keys in memory, as slow and obvious as can be.
#[derive(Default)]
struct Model {
    firsts: HashMap<Key, First>,
}

impl Model {
    fn admit(&mut self, key: Key, row: First, horizon: Horizon) -> Result<(), First> {
        match self.firsts.get(&key) {
            Some(first) if horizon.remembers(first.event_time) => Err(*first),
            _ => {
                self.firsts.insert(key, row);
                Ok(())
            }
        }
    }

    /// From the accepted rows in their order: the latest of a key counts, and is forgotten or not.
    fn rebuilt(accepted: &[(Key, First)], horizon: Horizon) -> Self {
        let mut firsts: HashMap<Key, First> = accepted.iter().copied().collect();
        firsts.retain(|_, first| horizon.remembers(first.event_time));
        Self { firsts }
    }
}

/// The memory under test, in a folder of its own.
struct Bed {
    _root: TempDir,
    folder: Folder,
    shape: Shape,
    archive: VolumeArchive,
    dedupe: Dedupe,
}

impl Bed {
    fn new(shape: Shape) -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = Checkpoints::at(root.path().to_owned()).of("views").unwrap();
        let archive = VolumeArchive::new("views", Volumes::new(&folder, shape));
        Self {
            _root: root,
            dedupe: Dedupe::over(Box::new(archive.clone()), shape.lot),
            archive,
            folder,
            shape,
        }
    }

    fn begin(&mut self, volumes: Volumes) {
        self.archive = VolumeArchive::new("views", volumes);
        self.dedupe = Dedupe::over(Box::new(self.archive.clone()), self.shape.lot);
    }

    /// As after a restart with a snapshot; its recent keys come in no order.
    fn restart(&mut self, horizon: Horizon) {
        let named = self.archive.volumes().saved().unwrap();
        let mut recent: Vec<(Key, First)> = self.dedupe.recent().collect();
        recent.sort_by_key(|(key, _)| key.rotate_left(7));
        self.begin(Volumes::open(&self.folder, self.shape, &named).unwrap());
        for (key, first) in recent {
            self.dedupe.restore(key, first, horizon);
        }
    }

    /// As after a restart without one.
    fn rebuild(&mut self, accepted: &[(Key, First)], chunk: usize, horizon: Horizon) {
        self.begin(Volumes::new(&self.folder, self.shape));
        for rows in accepted.chunks(chunk) {
            self.dedupe.make_room(rows.len(), horizon);
            for (key, first) in rows {
                self.dedupe.restore(*key, *first, horizon);
            }
        }
    }

    fn files(&self) -> usize {
        let listed = std::fs::read_dir(self.folder.path());
        listed.map_or(0, |listed| listed.count())
    }
}

/// A row: its key, its event time after the watermark, and how far the watermark moves after it.
type Row = (u8, i64, i64);

#[derive(Debug, Clone)]
enum Act {
    Step(Vec<Row>),
    Restart,
    /// Another definition is adopted, with keys kept so long, and the state rebuilt from so many rows at a time.
    Adopt(Option<i64>, usize),
    /// Merges that go on come to their end.
    Rest,
    /// Files of no use are deleted.
    Sweep,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let row = (0..40_u8, -30..40_i64, 0..3_i64);
    let act = prop_oneof![
        8 => prop::collection::vec(row, 0..24).prop_map(Act::Step),
        1 => Just(Act::Restart),
        1 => (prop::option::of(0..90_i64), 1..20_usize).prop_map(|(within, chunk)| Act::Adopt(within, chunk)),
        2 => Just(Act::Rest),
        1 => Just(Act::Sweep),
    ];
    prop::collection::vec(act, 1..40)
}

/// Neighbours have their upper halves in common, every third key its print.
fn key(number: u8) -> Key {
    let number = u128::from(number);
    ((number / 2 * 0x9E37_79B9_7F4A_7C15) << 64) | (number % 3)
}

fn check(acts: &[Act], shape: Shape, within: Option<i64>) {
    let micros = |within: Option<i64>| within.map(|within| Duration::from_micros(within as u64));
    let (mut bed, mut model) = (Bed::new(shape), Model::default());
    let mut horizon = Horizon {
        within: micros(within),
        watermark: None,
    };
    let (mut accepted, mut seq) = (Vec::new(), 0);
    for act in acts {
        match act {
            Act::Step(rows) => {
                let keys: Vec<Key> = rows.iter().map(|(number, ..)| key(*number)).collect();
                bed.dedupe.make_room(keys.len(), horizon);
                let archived: HashMap<usize, First> = bed.dedupe.look_up(&keys).unwrap().into_iter().collect();
                for (at, (number, after, moves)) in rows.iter().enumerate() {
                    let event_time = horizon.watermark.unwrap_or(0) + after;
                    let row = First { seq, event_time };
                    seq += 1;
                    let wanted = model.admit(key(*number), row, horizon);
                    let admitted = bed.dedupe.admit(key(*number), row, archived.get(&at).copied(), horizon);
                    assert_eq!(admitted, wanted, "key {number}, seq {}, {horizon:?}", row.seq);
                    if admitted.is_ok() {
                        accepted.push((key(*number), row));
                    }
                    horizon.watermark = Some(horizon.watermark.unwrap_or(0) + moves);
                }
            }
            Act::Restart => bed.restart(horizon),
            Act::Adopt(within, chunk) => {
                horizon.within = micros(*within);
                model = Model::rebuilt(&accepted, horizon);
                bed.rebuild(&accepted, *chunk, horizon);
            }
            Act::Rest => bed.archive.volumes().rest(),
            Act::Sweep => {
                bed.archive.volumes().rest();
                bed.archive.volumes().sweep(&bed.folder);
                assert_eq!(bed.files(), bed.archive.volumes().len(), "files of no use stay");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn archived_keys_answer_as_keys_in_memory_do(
        acts in acts(),
        lot in 1..12_usize,
        fan_out in 2..5_usize,
        within in prop::option::of(0..90_i64),
    ) {
        check(&acts, Shape { lot, fan_out }, within);
    }
}

#[test]
fn a_key_is_forgotten_with_its_latest_row_though_an_earlier_one_is_archived() {
    // Keys are kept for 10, key 1 is accepted at 100, and again, at 20, when the watermark is at 115. Then keys are kept
    // for 100: the earlier row would be remembered, but the later one stands for the key, and is forgotten at 150.
    let others = |from: u8| (from..from + 8).map(|number| (number, 0, 0)).collect::<Vec<Row>>();
    let mut rows = vec![Act::Step(vec![(1, 100, 115)]), Act::Step(others(8))];
    rows.extend([
        Act::Step(vec![(1, -95, 0)]),
        Act::Step(others(16)),
        Act::Step(vec![(2, 0, 35)]),
    ]);
    // Alone in its volume, too, which is all forgotten then.
    for (lot, fan_out) in [(2, 2), (1, 2), (1, 100)] {
        for (chunk, after) in [(1, Act::Rest), (1, Act::Restart), (3, Act::Rest), (100, Act::Restart)] {
            let mut acts = rows.clone();
            let step = Act::Step(vec![(1, 0, 0), (1, 0, 0)]);
            acts.extend([Act::Adopt(Some(100), chunk), after, step]);
            check(&acts, Shape { lot, fan_out }, Some(10));
        }
    }
}

#[test]
fn what_a_bounded_memory_holds_is_bounded() {
    let (lot, alive) = (64, 3_000);
    let mut bed = Bed::new(Shape { lot, fan_out: 4 });
    for seq in 0..100_000_i64 {
        let horizon = Horizon {
            within: Some(Duration::from_micros(alive)),
            watermark: Some(seq),
        };
        bed.dedupe.make_room(1, horizon);
        let row = First { seq, event_time: seq };
        bed.dedupe
            .admit(key(0) + seq as Key * (1 << 100), row, None, horizon)
            .unwrap();
        let held = bed.dedupe.len() as u64;
        assert!(held <= 3 * alive, "{held} keys are held where {alive} are remembered");
    }
    bed.archive.volumes().rest();
    bed.archive.volumes().sweep(&bed.folder);
    assert_eq!(bed.files(), bed.archive.volumes().len());
}
