//! The pipelines this project ships are valid and have the columns they promise.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field as Column, Float64Type, Schema};
use datafusion::scalar::ScalarValue;

use crate::definition::expression::{aggregate_expr, compile, instant, session};
use crate::definition::*;

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn shipped(name: &str) -> Pipeline {
    load_one(project(), name, &|_| None).unwrap_or_else(|error| panic!("{error}"))
}

fn columns(schema: &Schema) -> Vec<(&str, DataType)> {
    schema
        .fields()
        .iter()
        .map(|field| (field.name().as_str(), field.data_type().clone()))
        .collect()
}

#[test]
fn the_shipped_pipelines_are_valid_and_fully_described() {
    let pipelines = load(project(), &|_| None).unwrap_or_else(|error| panic!("{error}"));
    let names: Vec<&str> = pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect();
    assert_eq!(names, ["view_log", "web_requests"]);
    for pipeline in &pipelines {
        assert!(!pipeline.silver.contract.description.is_empty());
        let mut schemas = vec![silver_schema(&pipeline.silver).unwrap()];
        for gold in &pipeline.gold {
            assert!(!gold.description.is_empty());
            assert_eq!(gold.fingerprint.len(), 32);
            schemas.push(gold_schema(gold, &pipeline.silver).unwrap());
        }
        for field in schemas.iter().flat_map(|schema| schema.fields()) {
            assert!(
                field.metadata().contains_key("comment"),
                "{} has no comment",
                field.name()
            );
        }
    }
}

#[test]
fn view_log_has_the_columns_of_its_contract() {
    let pipeline = shipped("view_log");
    let silver = silver_schema(&pipeline.silver).unwrap();
    assert_eq!(
        columns(&silver)[..7],
        [
            ("view_id", DataType::Utf8),
            ("start_timestamp", instant()),
            ("end_timestamp", instant()),
            ("banner_id", DataType::Int64),
            ("campaign_id", DataType::Int32),
            ("network_id", DataType::Int32),
            ("event_date", DataType::Date32),
        ]
    );
    let gold = &pipeline.gold[0];
    assert_eq!(
        columns(&gold_schema(gold, &pipeline.silver).unwrap()),
        [
            ("campaign_id", DataType::Int32),
            ("network_id", DataType::Int32),
            ("minute_timestamp", instant()),
            ("avg_duration", DataType::Float64),
            ("total_count", DataType::Int32),
        ]
    );
    assert_eq!(gold.watermark, Duration::from_secs(10));
    assert_eq!(pipeline.silver.dedupe.unwrap().within, None);
    let SourceKind::Kafka(kafka) = pipeline.bronze.source else {
        panic!("not Kafka")
    };
    assert_eq!(
        (kafka.brokers.as_str(), kafka.topic.as_str()),
        ("localhost:9092", "view_log")
    );
}

#[test]
fn web_requests_has_the_columns_of_its_contract() {
    let pipeline = shipped("web_requests");
    let silver = silver_schema(&pipeline.silver).unwrap();
    assert_eq!(
        silver.field_with_name("status_class").unwrap().data_type(),
        &DataType::Utf8
    );
    assert!(silver.field_with_name("bytes").unwrap().is_nullable());
    assert_eq!(
        columns(&gold_schema(&pipeline.gold[0], &pipeline.silver).unwrap()),
        [
            ("date", DataType::Date32),
            ("minute", instant()),
            ("status_class", DataType::Utf8),
            ("requests", DataType::Int64),
            ("bytes", DataType::Int64),
            ("client_ips", DataType::Int64),
            ("errors", DataType::Int64),
        ]
    );
}

/// 0.1 s, 0.2 s and 0.3 s: a sum of doubles gives 0.6000000000000001, the declared expression the nearest double.
#[tokio::test]
async fn the_average_duration_of_views_is_exact() {
    let pipeline = shipped("view_log");
    let silver = silver_schema(&pipeline.silver).unwrap();
    let gold = &pipeline.gold[0];
    let average = gold
        .columns
        .iter()
        .find(|column| column.name == "avg_duration")
        .unwrap();
    let expr = aggregate_expr(&average.sql, &silver, &gold.group_by).unwrap();

    let start = 1_700_000_000_000_000_i64;
    let starts: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![start; 3]).with_timezone("UTC"));
    let ends = [100_000, 200_000, 300_000].map(|length| start + length).to_vec();
    let ends: ArrayRef = Arc::new(TimestampMicrosecondArray::from(ends).with_timezone("UTC"));
    let narrow = Schema::new(vec![
        Column::new("start_timestamp", instant(), false),
        Column::new("end_timestamp", instant(), false),
    ]);
    let batch = RecordBatch::try_new(Arc::new(narrow), vec![starts, ends]).unwrap();
    let frame = session().read_batch(batch).unwrap();
    let rows = frame.aggregate(vec![], vec![expr]).unwrap().collect().await.unwrap();
    assert_eq!(
        rows[0].column(0).as_primitive::<Float64Type>().value(0).to_bits(),
        0.2_f64.to_bits()
    );
}

/// The value of `sql` for a row of `silver` that has the given columns and is null elsewhere.
fn value(sql: &str, silver: &Silver, row: &[(&str, ScalarValue)]) -> ScalarValue {
    let schema = row_schema(silver).unwrap();
    let column = |field: &Arc<Column>| {
        let given = row.iter().find(|(name, _)| name == field.name());
        let value = given.map_or_else(
            || ScalarValue::try_from(field.data_type()).unwrap(),
            |(_, value)| value.clone(),
        );
        value.to_array().unwrap()
    };
    let columns = schema.fields().iter().map(column).collect();
    let fields: Vec<Column> = schema
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_nullable(true))
        .collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let result = compile(sql, &schema).unwrap().evaluate(&batch).unwrap();
    ScalarValue::try_from_array(&result.into_array(1).unwrap(), 0).unwrap()
}

#[test]
fn a_view_may_last_from_nothing_to_one_day() {
    let silver = shipped("view_log").silver;
    let at = |micros: i64| ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()));
    let day = 86_400_000_000;
    for (length, expected) in [
        (-1, [false, true]),
        (0, [true, true]),
        (day, [true, true]),
        (day + 1, [true, false]),
    ] {
        let row = [("start_timestamp", at(0)), ("end_timestamp", at(length))];
        let passes = [0, 1].map(|rule| value(&silver.expects[rule].sql, &silver, &row) == ScalarValue::from(true));
        assert_eq!(passes, expected, "{length}");
    }
}

#[test]
fn requests_have_the_class_of_their_status_and_an_absolute_path() {
    let silver = shipped("web_requests").silver;
    for (status, class) in [(200, "2xx"), (304, "3xx"), (404, "4xx"), (599, "5xx")] {
        let row = [("status", ScalarValue::from(status))];
        assert_eq!(value(&silver.derive[0].sql, &silver, &row), ScalarValue::from(class));
    }
    for (method, path, expected) in [
        ("GET", "/a", true),
        ("OPTIONS", "*", true),
        ("GET", "*", false),
        ("GET", "a", false),
    ] {
        let row = [("method", ScalarValue::from(method)), ("path", ScalarValue::from(path))];
        assert_eq!(
            value(&silver.expects[0].sql, &silver, &row),
            ScalarValue::from(expected),
            "{method} {path}"
        );
    }
}
