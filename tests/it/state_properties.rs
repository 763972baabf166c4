//! Silver's state, had in three ways: carried on, rebuilt from its rows, and from a snapshot with the rows after it.
//! They answer alike, whatever comes next.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use medallion::checkpoint::snapshot::{Entry, Header, Identity, decode, write_front};
use medallion::layer::silver::{First, Plan, State, Step};
use proptest::prelude::*;

use crate::model::generate::{BASE, bronze, payload, settings};
use crate::model::view_log::{self, Settings};
use crate::model::{BronzeRow, Record, SECOND, tables};

fn identity() -> Identity {
    Identity {
        lake: "memory:///".to_owned(),
        pipeline: "view_log".to_owned(),
        generation: "g".to_owned(),
        definition: "d".to_owned(),
        adopted_from: None,
    }
}

/// The bytes of a snapshot of this state.
fn saved(state: &State, position: usize) -> Vec<u8> {
    let header = Header {
        identity: identity(),
        position: position as i64,
        version: 0,
        mark: String::new(),
        rows: 0,
        keys: state.dedupe.recent().len() as u64,
        volumes: Vec::new(),
        written_at: String::new(),
    };
    let entries = state
        .dedupe
        .recent()
        .map(|(key, First { seq, event_time })| Entry { key, seq, event_time });
    write_front(Vec::new(), &header).unwrap().finish(entries).unwrap()
}

/// A state of these watermarks from a snapshot, if there is one, and rows of silver.
fn restored(plan: &Plan, carried: &State, snapshot: Option<&[u8]>, rows: &[RecordBatch]) -> State {
    let mut state = State {
        watermarks: carried.watermarks.clone(),
        ..State::default()
    };
    for Entry { key, seq, event_time } in
        snapshot.map_or(Vec::new(), |bytes| decode(bytes, &identity()).unwrap().entries)
    {
        plan.recall(key, First { seq, event_time }, &mut state);
    }
    for batch in rows {
        let column = |name: &String| batch.schema().index_of(name).unwrap();
        let places: Vec<usize> = plan.remember_columns().iter().map(column).collect();
        plan.remember(&batch.project(&places).unwrap(), &mut state).unwrap();
    }
    state
}

/// Silver's rows of each step up to `rows.len()`, cut at `cuts`.
struct Walk<'a> {
    plan: Plan,
    references: Vec<medallion::layer::silver::Reference>,
    bronze: &'a RecordBatch,
}

impl<'a> Walk<'a> {
    fn new(settings: &Settings, bronze: &'a RecordBatch) -> Self {
        let definition = view_log::silver(settings);
        Self {
            plan: Plan::compile(&definition).unwrap(),
            references: view_log::references(&definition),
            bronze,
        }
    }

    fn step(&mut self, from: usize, to: usize, state: &mut State) -> Step {
        let part = self.bronze.slice(from, to - from);
        self.plan.process(&part, &self.references, state).unwrap()
    }
}

/// What a step says, to be compared.
fn said(step: &Step) -> (RecordBatch, RecordBatch) {
    (step.silver.clone(), step.rejects.clone())
}

/// Walks bronze with the definition `before` up to `adopted` and `after` from there, and at every cut has the state in
/// all three ways, each snapshot with each tail.
fn check(rows: &[BronzeRow], before: &Settings, after: &Settings, adopted: usize, cuts: &BTreeSet<usize>) {
    let bronze = tables::bronze(rows);
    let mut walk = Walk::new(before, &bronze);
    let mut state = State::default();
    let mut written = vec![walk.step(0, adopted, &mut state).silver];
    let mut walk = Walk::new(after, &bronze);
    // Adopting is a restart with the new definition.
    state = restored(&walk.plan, &state, None, &written);
    let mut snapshots = vec![(1, saved(&state, adopted))];
    let mut from = adopted;
    let later = cuts.iter().copied().filter(|cut| *cut > adopted);
    for to in later.chain([rows.len()]).collect::<Vec<_>>() {
        let mut others = vec![restored(&walk.plan, &state, None, &written)];
        for (steps, snapshot) in &snapshots {
            others.push(restored(&walk.plan, &state, Some(snapshot), &written[*steps..]));
        }
        let step = walk.step(from, to, &mut state);
        for (way, other) in others.iter_mut().enumerate() {
            let answered = walk.step(from, to, other);
            assert_eq!(said(&answered), said(&step), "way {way}, seq {from} to {to}");
            assert_eq!(other.watermarks, state.watermarks);
        }
        written.push(step.silver);
        snapshots.push((written.len(), saved(&state, to)));
        from = to;
    }
}

fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_snapshot_and_the_rows_after_it_answer_as_the_tables_and_as_the_run_that_never_stopped(
        rows in bronze(120),
        settings in settings(),
        cuts in cuts(),
    ) {
        let cuts = cuts.iter().map(|cut| cut.index(rows.len() + 1)).collect();
        check(&rows, &settings, &settings, 0, &cuts);
    }

    #[test]
    fn so_they_do_where_a_definition_with_another_memory_was_adopted(
        rows in bronze(120),
        before in settings(),
        within in prop::option::of((0..30_i64).prop_map(|step| step * 10 * SECOND)),
        adopted in any::<prop::sample::Index>(),
        cuts in cuts(),
    ) {
        let cuts = cuts.iter().map(|cut| cut.index(rows.len() + 1)).collect();
        let after = Settings { within, ..before };
        check(&rows, &before, &after, adopted.index(rows.len() + 1), &cuts);
    }
}

/// Views of one id, or of others that only move the watermark, ended so many seconds after the start.
fn views(ended: &[(u32, i64)]) -> Vec<BronzeRow> {
    let view = |(offset, (id, end)): (i64, &(u32, i64))| {
        let end = BASE + end * SECOND;
        BronzeRow::Record(Record {
            topic: "view_log".to_owned(),
            partition: 0,
            offset,
            timestamp: None,
            value: Some(payload(*id, end - SECOND, end, 1, 1).into_bytes()),
            ingested_at: BASE + 86_400 * SECOND,
        })
    };
    (0..).zip(ended).map(view).collect()
}

#[test]
fn a_key_is_forgotten_with_its_latest_row_though_an_earlier_one_would_be_remembered_by_now() {
    let within = |seconds: i64| Settings {
        max_ahead: None,
        within: Some(seconds * SECOND),
        ..Settings::default()
    };
    // Accepted twice while keys were kept for 10 s: first at second 100, then, long after, one from second 20. Then
    // keys are kept for 100 s, the watermark reaches 150, and the key comes again.
    let rows = views(&[(1, 100), (2, 115), (1, 20), (3, 150), (1, 149), (4, 160)]);
    for adopted in 3..=5 {
        check(&rows, &within(10), &within(100), adopted, &BTreeSet::from([3, 4, 5]));
    }
}
