//! Gold is a function of the silver rows alone: against a slow, obvious model, whatever the batches, the moments of
//! closing and the restarts, every gold row and every late row is the same to the last bit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{
    DataType, Field, Float64Type, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use medallion::definition::{Aggregate, Gold, Window};
use medallion::layer::gold::{Plan, State};
use proptest::prelude::*;

const LENGTH: i64 = 1_000;
const DELAYS: [i64; 3] = [0, 250, 1_500];

/// Modelled columns: each has its twin in `modelled`.
const EXACT: [(&str, &str); 9] = [
    ("total", "count(*)"),
    ("total_int", "cast(count(*) as int)"),
    ("sum_v", "sum(v)"),
    ("avg_d", "avg(d)"),
    ("sum_d", "sum(d)"),
    ("names", "count(distinct s)"),
    ("least", "min(s)"),
    ("most", "max(d)"),
    ("composite", "cast(sum(v) filter (where v > 0) as double) / count(*)"),
];

/// Columns that are hard to model but easy to get wrong: fed by arrays, ordered, approximate.
const OTHERS: [(&str, &str); 14] = [
    ("a", "sum(distinct d) filter (where v > 0)"),
    ("b", "sum(distinct d)"),
    ("c", "avg(distinct d)"),
    ("d1", "first_value(s order by v)"),
    ("e", "last_value(s order by v desc)"),
    ("f", "count(distinct d)"),
    ("g", "string_agg(s, ',')"),
    ("h", "stddev(d)"),
    ("i", "median(d)"),
    ("j", "approx_distinct(s)"),
    ("k", "percentile_cont(0.3) within group (order by d)"),
    ("l", "corr(d, v)"),
    ("m", "first_value(d)"),
    ("n", "covar_samp(d, v)"),
];

#[derive(Debug, Clone)]
struct Row {
    seq: i64,
    event: i64,
    campaign: Option<i32>,
    network: String,
    v: Option<i64>,
    d: Option<f64>,
    s: Option<String>,
    watermark: Option<i64>,
}

/// Silver rows, and the watermark after the last one.
#[derive(Debug, Clone)]
struct Log {
    rows: Vec<Row>,
    end: Option<i64>,
}

impl Log {
    fn watermark(&self, position: usize) -> Option<i64> {
        self.rows.get(position).map_or(self.end, |row| row.watermark)
    }
}

/// One step of a run: how many rows, whether windows are closed after it, and whether a restart follows that reads
/// the rows so far in pieces of this size.
type Step = (usize, bool, Option<usize>);

fn log() -> impl Strategy<Value = Log> {
    let value = (-50_i32..50, 0_usize..4).prop_map(|(value, scale)| f64::from(value) * [0.1, 1e9, 1e-7, 3.3][scale]);
    let row = (
        (0_i64..300, -2_500_i64..2_500, prop::option::of(0_i64..3_000)),
        (prop::option::of(0_i32..3), 0_u8..2),
        (
            prop::option::of(-9_i64..9),
            prop::option::of(value),
            prop::option::of(0_u8..4),
        ),
    );
    let infinite = prop::option::weighted(0.2, 0_usize..150);
    (prop::collection::vec(row, 0..150), infinite).prop_map(|(seeds, infinite)| {
        let mut now = -5_000;
        let mut watermark = None;
        let mut rows = Vec::new();
        for (seq, ((step, jitter, lag), (campaign, network), (v, d, s))) in (100_i64..).zip(seeds) {
            now += step;
            if infinite.is_some_and(|at| rows.len() >= at) {
                watermark = Some(i64::MAX);
            }
            let event = now + jitter;
            rows.push(Row {
                seq,
                event,
                campaign,
                network: format!("n{network}"),
                v,
                d,
                s: s.map(|s| format!("s{s}")),
                watermark,
            });
            watermark = watermark.max(lag.map(|lag| event - lag));
        }
        Log { rows, end: watermark }
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(
        (0_usize..40, any::<bool>(), prop::option::weighted(0.2, 1_usize..60)),
        1..12,
    )
}

fn silver_schema() -> SchemaRef {
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("_watermark", instant.clone(), true),
        Field::new("unread", DataType::Int32, true),
        Field::new("s", DataType::Utf8, true),
        Field::new("d", DataType::Float64, true),
        Field::new("v", DataType::Int64, true),
        Field::new("network", DataType::Utf8, false),
        Field::new("campaign", DataType::Int32, true),
        Field::new("at", instant, false),
        Field::new("_seq", DataType::Int64, false),
    ]))
}

fn silver(rows: &[Row]) -> RecordBatch {
    let instants = |values: TimestampMicrosecondArray| -> ArrayRef { Arc::new(values.with_timezone("UTC")) };
    let columns: Vec<ArrayRef> = vec![
        instants(rows.iter().map(|row| row.watermark).collect()),
        Arc::new(Int32Array::new_null(rows.len())),
        Arc::new(rows.iter().map(|row| row.s.clone()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.d).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| row.v).collect::<Int64Array>()),
        Arc::new(
            rows.iter()
                .map(|row| Some(row.network.clone()))
                .collect::<StringArray>(),
        ),
        Arc::new(rows.iter().map(|row| row.campaign).collect::<Int32Array>()),
        instants(rows.iter().map(|row| Some(row.event)).collect()),
        Arc::new(rows.iter().map(|row| Some(row.seq)).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(silver_schema(), columns).unwrap()
}

fn plan(columns: &[(&str, &str)], delay: i64) -> Plan {
    let definition = Gold {
        name: "test".to_owned(),
        description: String::new(),
        window: Window {
            length: Duration::from_micros(LENGTH as u64),
            start: "window_start".to_owned(),
            date: None,
        },
        watermark: Duration::from_micros(delay as u64),
        group_by: vec!["campaign".to_owned(), "network".to_owned()],
        columns: columns
            .iter()
            .map(|(name, sql)| Aggregate {
                name: (*name).to_owned(),
                sql: (*sql).to_owned(),
                description: String::new(),
            })
            .collect(),
        partition_by: Vec::new(),
        keep: None,
        column_order: Vec::new(),
        fingerprint: String::new(),
    };
    Plan::compile(&definition, "at", &silver_schema()).unwrap()
}

fn exact(delay: usize) -> &'static Plan {
    static PLANS: OnceLock<Vec<Plan>> = OnceLock::new();
    &PLANS.get_or_init(|| DELAYS.map(|delay| plan(&EXACT, delay)).into())[delay]
}

fn others() -> &'static Plan {
    static PLAN: OnceLock<Plan> = OnceLock::new();
    PLAN.get_or_init(|| plan(&OTHERS, DELAYS[1]))
}

/// Runs `log` through `plan` as `steps` say (over and over until all rows are in): gold rows, late rows.
fn run(plan: &Plan, log: &Log, steps: &[Step]) -> (RecordBatch, RecordBatch) {
    let mut state = State::new(i64::MIN);
    let (mut gold, mut late) = (Vec::new(), Vec::new());
    let mut position = 0;
    let mut turns = steps.iter().cycle().take(2_000);
    while position < log.rows.len() {
        let (size, close, restart) = turns.next().copied().unwrap_or((usize::MAX, false, None));
        let next = position.saturating_add(size).min(log.rows.len());
        late.push(plan.fold(&silver(&log.rows[position..next]), &mut state).unwrap());
        position = next;
        if close {
            gold.extend(plan.close(log.watermark(position), &mut state).unwrap());
        }
        if let Some(piece) = restart {
            state = State::new(state.closed);
            for rows in log.rows[..position].chunks(piece) {
                plan.restore(&silver(rows), &mut state).unwrap();
            }
        }
    }
    gold.extend(plan.close(log.end, &mut state).unwrap());
    assert!(
        plan.close(log.end, &mut state).unwrap().is_none(),
        "a window closes once"
    );
    (
        concat_batches(&plan.schema(), &gold).unwrap(),
        concat_batches(&plan.late_schema(), &late).unwrap(),
    )
}

/// A value that is equal only to itself, doubles by their bits.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Null,
    Int(i64),
    Bits(u64),
    Text(String),
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}
impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}
impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Bits(value.to_bits())
    }
}
impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::Text(value)
    }
}

fn values(batch: &RecordBatch) -> Vec<Vec<Value>> {
    let cell = |column: &ArrayRef, row: usize| {
        if column.is_null(row) {
            return Value::Null;
        }
        match column.data_type() {
            DataType::Int32 => i64::from(column.as_primitive::<Int32Type>().value(row)).into(),
            DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
            DataType::Timestamp(..) => column.as_primitive::<TimestampMicrosecondType>().value(row).into(),
            DataType::Float64 => column.as_primitive::<Float64Type>().value(row).into(),
            DataType::Utf8 => column.as_string::<i32>().value(row).to_owned().into(),
            other => panic!("no test value for {other}"),
        }
    };
    (0..batch.num_rows())
        .map(|row| batch.columns().iter().map(|column| cell(column, row)).collect())
        .collect()
}

fn sum(values: impl Iterator<Item = f64>) -> Option<f64> {
    values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

/// The aggregates of `EXACT` over the rows of one group in seq order.
fn modelled(rows: &[&Row]) -> Vec<Value> {
    let total = rows.len() as i64;
    let doubles = || rows.iter().filter_map(|row| row.d);
    let ints = || rows.iter().filter_map(|row| row.v);
    let texts: BTreeSet<_> = rows.iter().filter_map(|row| row.s.clone()).collect();
    let positive = ints().filter(|v| *v > 0).reduce(|a, b| a + b);
    vec![
        total.into(),
        total.into(),
        ints().reduce(|a, b| a + b).into(),
        sum(doubles()).map(|sum| sum / doubles().count() as f64).into(),
        sum(doubles()).into(),
        (texts.len() as i64).into(),
        texts.first().cloned().into(),
        doubles().reduce(f64::max).into(),
        positive.map(|sum| sum as f64 / total as f64).into(),
    ]
}

fn model(log: &Log, delay: i64) -> (Vec<Vec<Value>>, Vec<Vec<Value>>) {
    let start_of = |event: i64| i128::from(event).div_euclid(i128::from(LENGTH)) * i128::from(LENGTH);
    let over = |start: i128, watermark: Option<i64>| {
        watermark.is_some_and(|watermark| start + i128::from(LENGTH + delay) <= i128::from(watermark))
    };
    let mut windows: BTreeMap<(i64, Option<i32>, String), Vec<&Row>> = BTreeMap::new();
    let mut late = Vec::new();
    for row in &log.rows {
        let start = start_of(row.event);
        let group = [row.campaign.map(i64::from).into(), row.network.clone().into()];
        if over(start, row.watermark) {
            let mut cells: Vec<Value> = vec![row.seq.into(), (start as i64).into()];
            cells.extend(group);
            cells.extend([row.event.into(), row.watermark.into()]);
            late.push(cells);
        } else {
            let key = (start as i64, row.campaign, row.network.clone());
            windows.entry(key).or_default().push(row);
        }
    }
    windows.retain(|(start, _, _), _| over(i128::from(*start), log.end));
    let gold = windows.iter().map(|((start, campaign, network), rows)| {
        let mut cells: Vec<Value> = vec![campaign.map(i64::from).into(), network.clone().into(), (*start).into()];
        cells.extend(modelled(rows));
        cells
    });
    (gold.collect(), late)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_batches_any_closing_and_any_restarts_give_the_gold_and_the_late_rows_of_the_model(
        log in log(), steps in steps(), delay in 0_usize..DELAYS.len(),
    ) {
        let (gold, late) = run(exact(delay), &log, &steps);
        let (expected, expected_late) = model(&log, DELAYS[delay]);
        prop_assert_eq!(values(&gold), expected);
        prop_assert_eq!(values(&late), expected_late);
    }

    #[test]
    fn functions_fed_by_arrays_or_by_order_do_not_see_where_batches_end_either(log in log(), steps in steps()) {
        let (gold, late) = run(others(), &log, &steps);
        let (expected, expected_late) = run(others(), &log, &[(usize::MAX, false, None)]);
        prop_assert_eq!(values(&gold), values(&expected));
        prop_assert_eq!(values(&late), values(&expected_late));
    }
}

/// A log whose rows lie as `events` say, with the watermark following at `lag`.
fn long_log(rows: i64, event: impl Fn(i64) -> i64, lag: i64) -> Log {
    let mut watermark = None;
    let mut log = Vec::new();
    for seq in 0..rows {
        let event = event(seq);
        log.push(Row {
            seq,
            event,
            campaign: Some((seq * 7 % 50) as i32),
            network: format!("n{}", seq % 3),
            v: Some(seq % 11),
            d: Some(seq as f64 * 0.1),
            s: None,
            watermark,
        });
        watermark = watermark.max(Some(event - lag));
    }
    Log {
        rows: log,
        end: watermark,
    }
}

#[test]
fn the_rows_of_thousands_of_windows_in_one_batch_are_those_of_the_model() {
    let log = long_log(20_000, |seq| seq * 7_919 % 5_000_000, 5_000_000);
    let log = Log {
        end: Some(i64::MAX),
        ..log
    };
    let (gold, late) = run(exact(0), &log, &[(usize::MAX, false, None)]);
    let (expected, expected_late) = model(&log, DELAYS[0]);
    assert_eq!(expected_late.len(), 0);
    assert!(
        gold.num_rows() > 10_000,
        "most rows are alone in their window and group"
    );
    assert_eq!(values(&gold), expected);
    assert_eq!(values(&late), expected_late);
}

#[test]
#[ignore = "a measurement: prints nanoseconds per row"]
fn a_million_rows_are_folded_and_closed_in_well_under_a_microsecond_each() {
    let columns = [("avg_d", "avg(d)"), ("total", "cast(count(*) as int)")];
    let plan = plan(&columns, DELAYS[1]);
    for (name, per_window) in [("50 000 rows a window", 50_000), ("20 rows a window", 20)] {
        let log = long_log(
            1_000_000,
            |seq| seq * LENGTH / per_window + seq % 2 * LENGTH,
            LENGTH * 2,
        );
        let batches: Vec<_> = log.rows.chunks(50_000).map(silver).collect();
        let mut state = State::new(i64::MIN);
        let (mut gold, mut late) = (0, 0);
        let begun = std::time::Instant::now();
        for (number, batch) in batches.iter().enumerate() {
            late += plan.fold(batch, &mut state).unwrap().num_rows();
            let closed = plan.close(log.watermark((number + 1) * 50_000), &mut state).unwrap();
            gold += closed.map_or(0, |closed| closed.num_rows());
        }
        let nanos = begun.elapsed().as_nanos() / 1_000_000;
        eprintln!(
            "{name}: {nanos} ns a row, {gold} gold rows, {late} late rows, {} bytes open",
            state.bytes()
        );
        assert!(nanos < 5_000);
    }
}
