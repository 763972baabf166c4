//! Silver against the model: any bronze, cut anyhow, stopped anywhere, gives the model's tables.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use medallion::layer::silver::{Fates, Plan, State, Step, Watermarks};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use std::sync::Arc;

use crate::model::generate::{BASE, bronze, payload, poisons, settings};
use crate::model::silver::{Tables, silver};
use crate::model::view_log::{self, Settings};
use crate::model::{BronzeRow, Record, SECOND, tables};

/// What the program makes of bronze cut at `cuts`, as the model's rows.
fn run(
    rows: &[BronzeRow],
    settings: &Settings,
    cuts: &BTreeSet<usize>,
    crash: impl Fn(usize) -> bool,
) -> (Tables, Fates) {
    let definition = view_log::silver(settings);
    let references = view_log::references(&definition);
    let mut plan = Plan::compile(&definition).unwrap();
    let bronze = tables::bronze(rows);
    let (mut state, mut tables, mut fates) = (State::default(), Tables::default(), Fates::default());
    let mut written: Vec<RecordBatch> = Vec::new();
    let mut from = 0;
    for (step, cut) in cuts.iter().copied().chain([rows.len()]).enumerate() {
        let part = bronze.slice(from, cut - from);
        let Step {
            silver,
            rejects,
            fates: counted,
        } = plan.process(&part, &references, &mut state).unwrap();
        assert_eq!(silver.schema(), plan.schema());
        tables.silver.extend(tables::silver_rows(&silver));
        tables.rejects.extend(tables::reject_rows(&rejects));
        fates.add(&counted);
        written.push(silver);
        from = cut;
        if crash(step) {
            let watermarks = serde_json::to_string(&state.watermarks).unwrap();
            state = restart(&plan, &watermarks, &written);
        }
    }
    tables.watermark = state.watermarks.value();
    (tables, fates)
}

/// The state as a new process has it: from the table, newest rows first as a scan may give them, and the last commit.
fn restart(plan: &Plan, watermarks: &str, written: &[RecordBatch]) -> State {
    let mut state = State {
        watermarks: serde_json::from_str::<Watermarks>(watermarks).unwrap(),
        ..State::default()
    };
    for batch in written.iter().rev() {
        let places: Vec<usize> = plan
            .remember_columns()
            .iter()
            .map(|name| batch.schema().index_of(name).unwrap())
            .collect();
        plan.remember(&batch.project(&places).unwrap(), &mut state).unwrap();
    }
    state
}

fn cuts(most: usize) -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..most)
}

fn places(cuts: &[prop::sample::Index], rows: usize) -> BTreeSet<usize> {
    cuts.iter().map(|cut| cut.index(rows + 1)).collect()
}

fn same(found: &Tables, wanted: &Tables) -> Result<(), TestCaseError> {
    for (found, wanted) in found.silver.iter().zip(&wanted.silver) {
        prop_assert_eq!(found, wanted);
    }
    for (found, wanted) in found.rejects.iter().zip(&wanted.rejects) {
        prop_assert_eq!(found, wanted);
    }
    prop_assert_eq!(found, wanted);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn any_cut_into_batches_gives_the_models_tables(rows in bronze(120), settings in settings(), cuts in cuts(12)) {
        let (found, _) = run(&rows, &settings, &places(&cuts, rows.len()), |_| false);
        same(&found, &silver(&rows, &settings))?;
    }

    #[test]
    fn a_crash_after_any_step_gives_the_models_tables(
        rows in bronze(120),
        settings in settings(),
        cuts in cuts(12),
        crashes in prop::collection::vec(any::<bool>(), 13),
    ) {
        let crash = |step: usize| crashes.get(step).copied().unwrap_or(true);
        let (found, _) = run(&rows, &settings, &places(&cuts, rows.len()), crash);
        same(&found, &silver(&rows, &settings))?;
    }

    #[test]
    fn every_record_has_exactly_one_fate(rows in bronze(120), settings in settings(), cuts in cuts(12)) {
        let (found, fates) = run(&rows, &settings, &places(&cuts, rows.len()), |_| false);
        let mut seqs: Vec<i64> = found.silver.iter().map(|row| row.seq).collect();
        seqs.extend(found.rejects.iter().map(|row| row.seq));
        seqs.sort_unstable();
        let is_record = |(_, row): &(i64, &BronzeRow)| matches!(row, BronzeRow::Record(_));
        let records: Vec<i64> = (0..).zip(&rows).filter(is_record).map(|(seq, _)| seq).collect();
        prop_assert_eq!(&seqs, &records);
        prop_assert_eq!(fates.records(), records.len() as u64);
        prop_assert_eq!(fates.ticks, (rows.len() - records.len()) as u64);
    }
}

fn records(payloads: impl IntoIterator<Item = Option<Vec<u8>>>) -> Vec<BronzeRow> {
    let record = |(offset, value)| {
        BronzeRow::Record(Record {
            topic: "view_log".to_owned(),
            partition: 0,
            offset,
            timestamp: Some(BASE),
            value,
            ingested_at: BASE,
        })
    };
    (0..).zip(payloads).map(record).collect()
}

#[test]
fn each_poison_between_good_views_is_judged_alone() {
    let good = |id: u32| Some(payload(id, BASE, BASE + SECOND, 1, 1).into_bytes());
    let mut fates = BTreeSet::new();
    for poison in poisons() {
        let rows = records([good(100), poison, good(101)]);
        let (found, _) = run(&rows, &Settings::default(), &BTreeSet::new(), |_| false);
        assert_eq!(found, silver(&rows, &Settings::default()));
        let seqs: BTreeSet<i64> = found.silver.iter().map(|row| row.seq).collect();
        assert!(seqs.contains(&0) && seqs.contains(&2));
        fates.extend(found.rejects.into_iter().map(|row| row.reason));
    }
    assert_eq!(
        fates.into_iter().collect::<Vec<_>>(),
        ["expectation", "malformed", "schema"]
    );
}

#[test]
fn the_generators_reach_every_fate() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut reached = BTreeSet::new();
    let mut watermarks = BTreeSet::new();
    for _ in 0..40 {
        let rows = bronze(120).new_tree(&mut runner).unwrap().current();
        let settings = settings().new_tree(&mut runner).unwrap().current();
        let found = silver(&rows, &settings);
        reached.extend(found.rejects.into_iter().map(|row| row.reason));
        watermarks.extend(found.silver.into_iter().map(|row| row.watermark));
    }
    let reasons = [
        "dropped",
        "duplicate",
        "event_time",
        "expectation",
        "lookup",
        "malformed",
        "schema",
    ];
    assert_eq!(reached.into_iter().collect::<Vec<_>>(), reasons);
    assert!(
        watermarks.len() > 20
            && watermarks.contains(&None)
            && watermarks.contains(&Some(medallion::clock::END_OF_TIME))
    );
}

#[test]
fn a_table_reader_may_choose_view_layouts() {
    let rows = records(poisons());
    let definition = view_log::silver(&Settings::default());
    let references = view_log::references(&definition);
    let mut plan = Plan::compile(&definition).unwrap();
    let plain = tables::bronze(&rows);
    let mut fields: Vec<Field> = Vec::new();
    let mut columns = Vec::new();
    for (field, column) in plain.schema().fields().iter().zip(plain.columns()) {
        let kind = match field.data_type() {
            DataType::Utf8 => DataType::Utf8View,
            DataType::Binary => DataType::BinaryView,
            other => other.clone(),
        };
        columns.push(cast(column, &kind).unwrap());
        fields.push(field.as_ref().clone().with_data_type(kind));
    }
    let views = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let from_plain = plan.process(&plain, &references, &mut State::default()).unwrap();
    let from_views = plan.process(&views, &references, &mut State::default()).unwrap();
    assert_eq!(from_plain.silver, from_views.silver);
    assert_eq!(from_plain.rejects, from_views.rejects);
}
