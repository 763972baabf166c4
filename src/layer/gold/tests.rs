use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::array::{TimestampMicrosecondArray, UInt64Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::util::pretty::pretty_format_batches;

use super::{Plan, State, Tumbling};
use crate::definition::{Aggregate, Gold, Window};
use crate::error::Kind;

fn definition(columns: &[(&str, &str)], group_by: &[&str]) -> Gold {
    Gold {
        name: "views".to_owned(),
        description: String::new(),
        window: Window {
            length: Duration::from_micros(100),
            start: "minute".to_owned(),
            date: None,
        },
        watermark: Duration::from_micros(10),
        group_by: group_by.iter().map(|name| (*name).to_owned()).collect(),
        columns: columns
            .iter()
            .map(|(name, sql)| Aggregate {
                name: (*name).to_owned(),
                sql: (*sql).to_owned(),
                description: format!("what {name} is"),
            })
            .collect(),
        partition_by: Vec::new(),
        keep: None,
        column_order: Vec::new(),
        fingerprint: String::new(),
    }
}

fn silver_schema() -> SchemaRef {
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let comment = [("comment".to_owned(), "Which campaign".to_owned())];
    Arc::new(Schema::new(vec![
        Field::new("_seq", DataType::Int64, false),
        Field::new("at", instant.clone(), false),
        Field::new("campaign", DataType::Int32, true).with_metadata(comment.into()),
        Field::new("name", DataType::Utf8, true),
        Field::new("size", DataType::UInt64, true),
        Field::new("took", DataType::Float64, true),
        Field::new("_watermark", instant, true),
    ]))
}

/// Rows of (event, campaign, watermark); seq counts on from `seq`, `size` is the seq, `took` a tenth of it.
fn silver(seq: i64, rows: &[(i64, Option<i32>, Option<i64>)]) -> RecordBatch {
    let seqs = || seq..seq + rows.len() as i64;
    let instants = |values: TimestampMicrosecondArray| -> ArrayRef { Arc::new(values.with_timezone("UTC")) };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(seqs())),
        instants(rows.iter().map(|row| Some(row.0)).collect()),
        Arc::new(rows.iter().map(|row| row.1).collect::<Int32Array>()),
        Arc::new(seqs().map(|seq| Some(format!("s{}", seq % 2))).collect::<StringArray>()),
        Arc::new(UInt64Array::from_iter_values(seqs().map(|seq| seq as u64))),
        Arc::new(Float64Array::from_iter_values(seqs().map(|seq| seq as f64 / 10.0))),
        instants(rows.iter().map(|row| row.2).collect()),
    ];
    RecordBatch::try_new(silver_schema(), columns).unwrap()
}

fn plan(columns: &[(&str, &str)], group_by: &[&str]) -> Plan {
    Plan::compile(&definition(columns, group_by), "at", &silver_schema()).unwrap()
}

fn refused(definition: &Gold) -> String {
    let error = Plan::compile(definition, "at", &silver_schema()).unwrap_err();
    assert_eq!(error.kind(), Kind::Definition, "{error}");
    error.to_string()
}

fn longs(batch: &RecordBatch, column: &str) -> Vec<Option<i64>> {
    batch
        .column_by_name(column)
        .unwrap()
        .as_primitive::<Int64Type>()
        .iter()
        .collect()
}

fn instants(batch: &RecordBatch, column: &str) -> Vec<Option<i64>> {
    let values = batch.column_by_name(column).unwrap();
    values.as_primitive::<TimestampMicrosecondType>().iter().collect()
}

fn names(schema: &SchemaRef) -> Vec<&str> {
    schema.fields().iter().map(|field| field.name().as_str()).collect()
}

#[test]
fn an_event_at_the_end_of_a_window_belongs_to_the_next_one() {
    let plan = plan(&[("n", "count(*)")], &[]);
    let mut state = State::new(i64::MIN);
    let rows = [0, 99, 100, -1, -100, -101].map(|event| (event, None, None));
    plan.fold(&silver(0, &rows), &mut state).unwrap();
    assert_eq!((state.open_windows(), state.rows()), (4, 4));
    let gold = plan.close(Some(i64::MAX), &mut state).unwrap().unwrap();
    assert_eq!(instants(&gold, "minute"), [Some(-200), Some(-100), Some(0), Some(100)]);
    assert_eq!(longs(&gold, "n"), [Some(1), Some(2), Some(2), Some(1)]);
    assert_eq!((state.open_windows(), state.rows(), state.bytes()), (0, 0, 0));
}

#[test]
fn a_window_closes_exactly_when_the_watermark_reaches_its_end_and_the_delay() {
    let plan = plan(&[("n", "count(*)")], &[]);
    let mut state = State::new(i64::MIN);
    plan.fold(&silver(0, &[(5, None, None)]), &mut state).unwrap();
    assert!(plan.close(None, &mut state).unwrap().is_none());
    assert_eq!(state.closed, i64::MIN);
    assert!(plan.close(Some(109), &mut state).unwrap().is_none());
    assert_eq!(state.closed, 0);
    let gold = plan.close(Some(110), &mut state).unwrap().unwrap();
    assert_eq!(longs(&gold, "n"), [Some(1)]);
    assert_eq!(state.closed, 100);
    assert!(plan.close(Some(310), &mut state).unwrap().is_none());
    assert_eq!(state.closed, 300, "moves on without rows");
    assert!(plan.close(Some(0), &mut state).unwrap().is_none());
    assert_eq!(state.closed, 300, "and never back");
}

#[test]
fn a_row_is_late_exactly_when_its_own_watermark_has_passed_its_window_and_the_delay() {
    let plan = plan(&[("n", "count(*)")], &["campaign"]);
    let mut state = State::new(i64::MIN);
    let rows = [
        (5, Some(1), None),
        (5, Some(2), Some(109)),
        (5, Some(3), Some(110)),
        (i64::MAX, None, Some(i64::MAX - 1)),
        (i64::MAX, None, Some(i64::MAX)),
        (i64::MIN, Some(4), Some(i64::MIN)),
    ];
    let late = plan.fold(&silver(7, &rows), &mut state).unwrap();
    assert_eq!(
        names(&late.schema()),
        ["_seq", "minute", "campaign", "at", "_watermark"]
    );
    assert_eq!(late.schema(), plan.late_schema());
    assert_eq!(longs(&late, "_seq"), [Some(9), Some(11)]);
    let last = i64::MAX - i64::MAX.rem_euclid(100);
    assert_eq!(instants(&late, "minute"), [Some(0), Some(last)]);
    assert_eq!(instants(&late, "at"), [Some(5), Some(i64::MAX)]);
    assert_eq!(instants(&late, "_watermark"), [Some(110), Some(i64::MAX)]);
    assert_eq!(state.open_windows(), 3);
}

#[test]
fn at_infinity_all_windows_close_and_every_later_row_is_late() {
    let plan = plan(&[("n", "count(*)")], &[]);
    let mut state = State::new(i64::MIN);
    plan.fold(
        &silver(0, &[(i64::MAX, None, None), (i64::MIN, None, None)]),
        &mut state,
    )
    .unwrap();
    let gold = plan.close(Some(i64::MAX), &mut state).unwrap().unwrap();
    assert_eq!(gold.num_rows(), 2);
    assert_eq!(state.closed, i64::MAX);
    let late = plan
        .fold(&silver(2, &[(i64::MAX, None, Some(i64::MAX))]), &mut state)
        .unwrap();
    assert_eq!(late.num_rows(), 1);
    assert_eq!(state.open_windows(), 0);
}

#[test]
fn the_last_closed_window_is_the_last_that_is_over() {
    for (length, delay) in [(1_u64, 0_u64), (7, 3), (100, 10), (60_000_000, 0), (i64::MAX as u64, 5)] {
        let mut definition = definition(&[], &[]);
        definition.window.length = Duration::from_micros(length);
        definition.watermark = Duration::from_micros(delay);
        let window = Tumbling::new(&definition).unwrap();
        let times = [
            i64::MIN,
            i64::MIN + 1,
            i64::MIN + 150,
            -101,
            -100,
            -1,
            0,
            1,
            99,
            100,
            i64::MAX - 150,
            i64::MAX - 1,
            i64::MAX,
        ];
        for event in times {
            let (start, end) = (window.start(event), window.end(window.start(event)));
            assert!(
                start <= event && (event < end || end == i64::MAX),
                "{event} in [{start}, {end})"
            );
            for watermark in times.into_iter().chain((-20..20).map(|step| end.saturating_add(step))) {
                assert_eq!(
                    window.is_over(end, watermark),
                    end <= window.closed(watermark),
                    "length {length}, delay {delay}: window to {end} at {watermark}"
                );
            }
        }
    }
}

#[test]
fn restoring_skips_what_is_closed_and_what_was_late() {
    let plan = plan(&[("n", "count(*)")], &[]);
    let rows = silver(
        0,
        &[
            (5, None, None),
            (105, None, None),
            (205, None, None),
            (50, None, Some(110)),
            (120, None, Some(110)),
        ],
    );
    let mut before = State::new(i64::MIN);
    assert_eq!(plan.fold(&rows, &mut before).unwrap().num_rows(), 1);
    plan.close(Some(110), &mut before).unwrap().unwrap();

    let mut after = State::new(before.closed);
    plan.restore(&rows, &mut after).unwrap();
    assert_eq!(after.open_windows(), 2);
    let close = |state: &mut State| plan.close(Some(1_000), state).unwrap().unwrap();
    let (expected, restored) = (close(&mut before), close(&mut after));
    assert_eq!(restored, expected);
    assert_eq!(longs(&restored, "n"), [Some(2), Some(1)]);
}

#[test]
fn a_row_in_time_for_a_closed_window_stops_the_fold() {
    let plan = plan(&[("n", "count(*)")], &[]);
    let error = plan
        .fold(&silver(41, &[(500, None, None), (5, None, None)]), &mut State::new(100))
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged);
    assert!(error.to_string().contains("seq 42"), "{error}");
}

#[test]
fn gold_has_the_declared_columns_in_the_declared_order_with_comments() {
    let mut definition = definition(
        &[("mean", "avg(took)"), ("total", "cast(count(*) as int)")],
        &["campaign", "name"],
    );
    definition.window.date = Some("day".to_owned());
    let plan = Plan::compile(&definition, "at", &silver_schema()).unwrap();
    assert_eq!(
        names(&plan.schema()),
        ["campaign", "name", "minute", "day", "mean", "total"]
    );

    definition.column_order = ["campaign", "minute", "mean", "total", "day", "name"]
        .map(str::to_owned)
        .into();
    let plan = Plan::compile(&definition, "at", &silver_schema()).unwrap();
    let schema = plan.schema();
    assert_eq!(names(&schema), ["campaign", "minute", "mean", "total", "day", "name"]);
    let kinds: Vec<_> = schema.fields().iter().map(|field| field.data_type().clone()).collect();
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let expected = [
        DataType::Int32,
        instant,
        DataType::Float64,
        DataType::Int32,
        DataType::Date32,
        DataType::Utf8,
    ];
    assert_eq!(kinds, expected);
    assert!(!schema.field(1).is_nullable());
    assert_eq!(schema.field(0).metadata()["comment"], "Which campaign");
    assert_eq!(schema.field(2).metadata()["comment"], "what mean is");
    assert_eq!(
        plan.input_columns(),
        ["at", "_seq", "_watermark", "campaign", "name", "took"]
    );

    let mut state = State::new(i64::MIN);
    plan.fold(
        &silver(
            1,
            &[
                (-1, Some(2), None),
                (-1, Some(1), None),
                (-1, None, None),
                (-1, Some(2), None),
            ],
        ),
        &mut state,
    )
    .unwrap();
    assert!(state.bytes() > 0);
    let gold = plan.close(Some(i64::MAX), &mut state).unwrap().unwrap();
    let expected = "\
+----------+-----------------------------+------+-------+------------+------+
| campaign | minute                      | mean | total | day        | name |
+----------+-----------------------------+------+-------+------------+------+
|          | 1969-12-31T23:59:59.999900Z | 0.3  | 1     | 1969-12-31 | s1   |
| 1        | 1969-12-31T23:59:59.999900Z | 0.2  | 1     | 1969-12-31 | s0   |
| 2        | 1969-12-31T23:59:59.999900Z | 0.4  | 1     | 1969-12-31 | s0   |
| 2        | 1969-12-31T23:59:59.999900Z | 0.1  | 1     | 1969-12-31 | s1   |
+----------+-----------------------------+------+-------+------------+------+";
    assert_eq!(pretty_format_batches(&[gold]).unwrap().to_string(), expected);
}

#[test]
fn composite_expressions_filters_casts_and_constants_are_computed() {
    let plan = plan(
        &[
            (
                "ratio",
                "cast(sum(size) filter (where took > 0.15) as double) / count(*)",
            ),
            ("some", "coalesce(sum(size) filter (where took > 100), 0)"),
            ("most", "max(size)"),
            ("names", "count(distinct name) + count(distinct campaign)"),
            ("scaled", "sum(took * 10) + campaign"),
            ("label", "concat('n', cast(count(*) as varchar))"),
        ],
        &["campaign"],
    );
    let mut state = State::new(i64::MIN);
    plan.fold(
        &silver(1, &[(1, Some(5), None), (2, Some(5), None), (3, Some(5), None)]),
        &mut state,
    )
    .unwrap();
    let gold = plan.close(Some(i64::MAX), &mut state).unwrap().unwrap();
    let shown: Vec<String> = gold.columns()[2..]
        .iter()
        .map(|column| arrow::util::display::array_value_to_string(column, 0).unwrap())
        .collect();
    assert_eq!(shown, ["1.6666666666666667", "0", "3", "3", "11.0", "n3"]);
    let kind = |name: &str| gold.schema().field_with_name(name).unwrap().data_type().clone();
    assert_eq!(
        (kind("most"), kind("label"), kind("some")),
        (DataType::Int64, DataType::Utf8, DataType::Int64)
    );
}

#[test]
fn equal_batches_in_other_types_and_column_orders_are_read_the_same() {
    let plan = plan(&[("least", "min(name)")], &["name"]);
    let batch = silver(0, &[(1, None, None), (2, None, None)]);
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    for (field, values) in batch.schema().fields().iter().zip(batch.columns()).rev() {
        let kind = match field.data_type() {
            DataType::Utf8 => DataType::Utf8View,
            DataType::Timestamp(unit, _) => DataType::Timestamp(*unit, Some("+00:00".into())),
            other => other.clone(),
        };
        columns.push(arrow::compute::cast(values, &kind).unwrap());
        fields.push(Field::new(field.name(), kind, true));
    }
    let other = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let gold = |batch: &RecordBatch| {
        let mut state = State::new(i64::MIN);
        plan.fold(batch, &mut state).unwrap();
        plan.close(Some(i64::MAX), &mut state).unwrap().unwrap()
    };
    assert_eq!(gold(&batch).num_rows(), 2);
    assert_eq!(gold(&other), gold(&batch));
}

#[test]
fn a_gold_row_of_a_group_without_counted_rows_is_there_with_nothing_in_it() {
    let columns = [
        ("some", "sum(size) filter (where took > 5)"),
        ("distinct", "sum(distinct size) filter (where took > 5)"),
    ];
    let plan = plan(&columns, &[]);
    let mut state = State::new(i64::MIN);
    plan.fold(&silver(0, &[(1, None, None)]), &mut state).unwrap();
    let gold = plan.close(Some(i64::MAX), &mut state).unwrap().unwrap();
    assert_eq!(
        (longs(&gold, "some"), longs(&gold, "distinct")),
        (vec![None], vec![None])
    );
}

#[test]
fn what_does_not_fit_is_refused_when_compiled() {
    let one = |sql: &str| refused(&definition(&[("x", sql)], &["campaign"]));
    assert!(one("sum(nothing)").contains("nothing"));
    assert!(one("sum(took) + size").contains("outside of an aggregate"));
    assert!(one("sum(took").contains("gold table 'views': column \"x\""));
    assert!(one("max(now())").contains("now()"));
    assert!(one("sum(took * random())").contains("random()"));
    assert!(one("max(at) - min(at)").contains("cannot store"));
    assert!(refused(&definition(&[("campaign", "count(*)")], &["campaign"])).contains("two columns"));
    assert!(refused(&definition(&[("n", "count(*)")], &["nothing"])).contains("\"nothing\""));
    let mut short = definition(&[("n", "count(*)")], &[]);
    short.window.length = Duration::from_nanos(1);
    assert!(refused(&short).contains("at least 1 us"));
    let mut clashing = definition(&[("n", "count(*)")], &[]);
    clashing.window.start = "at".to_owned();
    assert!(refused(&clashing).contains("cannot be named \"at\""));
}

#[test]
fn an_expression_that_fails_stops_gold_but_not_on_a_late_row() {
    let plan = plan(&[("x", "max(100 / campaign)")], &[]);
    let mut state = State::new(i64::MIN);
    let rows = silver(0, &[(1, Some(2), None), (1, Some(0), Some(1_000))]);
    assert_eq!(plan.fold(&rows, &mut state).unwrap().num_rows(), 1);
    let error = plan.fold(&silver(2, &[(1, Some(0), None)]), &mut state).unwrap_err();
    assert_eq!(error.kind(), Kind::Definition);
    assert!(error.to_string().contains("replay gold"), "{error}");
}

#[test]
fn a_silver_row_without_event_time_is_damage() {
    let plan = plan(&[("n", "count(*)")], &[]);
    let batch = silver(0, &[(1, None, None)]);
    let fields: Vec<_> = batch
        .schema()
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_nullable(true))
        .collect();
    let mut columns = batch.columns().to_vec();
    columns[1] = arrow::array::new_null_array(fields[1].data_type(), 1);
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let error = plan.fold(&batch, &mut State::new(i64::MIN)).unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged);
}

#[test]
fn an_empty_batch_changes_nothing() {
    let plan = plan(&[("n", "count(*)")], &["campaign"]);
    let mut state = State::new(i64::MIN);
    let late = plan.fold(&silver(0, &[]), &mut state).unwrap();
    assert_eq!((late.num_rows(), state.open_windows()), (0, 0));
    assert!(plan.close(Some(i64::MAX), &mut state).unwrap().is_none());
}

#[test]
fn gold_of_closing_at_once_is_gold_of_closing_step_by_step() {
    let plan = plan(&[("n", "count(*)")], &["campaign"]);
    let rows: Vec<_> = (0..500).map(|row| (row * 3, Some((row % 4) as i32), None)).collect();
    let gold = |watermarks: &[i64]| {
        let mut state = State::new(i64::MIN);
        plan.fold(&silver(0, &rows), &mut state).unwrap();
        let closed: Vec<_> = watermarks
            .iter()
            .filter_map(|at| plan.close(Some(*at), &mut state).unwrap())
            .collect();
        concat_batches(&plan.schema(), &closed).unwrap()
    };
    let once = gold(&[2_000]);
    assert_eq!(gold(&[120, 130, 555, 556, 1_900, 2_000]), once);
    let campaigns: Vec<_> = once.column(0).as_primitive::<Int32Type>().iter().take(4).collect();
    assert_eq!(campaigns, [Some(0), Some(1), Some(2), Some(3)]);
}

#[test]
fn plans_and_states_may_be_sent_to_other_threads() {
    fn sent<T: Send>() {}
    fn shared<T: Sync>() {}
    sent::<Plan>();
    shared::<Plan>();
    sent::<State>();
}
