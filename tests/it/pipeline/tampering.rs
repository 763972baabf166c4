//! Whatever is done to a table behind medallion's back, the audit finds it and names the table.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use medallion::run::names;
use medallion::table::Lake;

use crate::support::command::{call, done};
use crate::support::project::{PIPELINE, Project, lake_over, memory_lake};
use crate::support::rows::GOLD;
use crate::support::tamper::Raw;

type Change = Box<dyn Fn(&Raw)>;

/// The batch with `column` replaced by what `change` makes of it.
fn with(batch: &RecordBatch, column: &str, change: impl Fn(&ArrayRef) -> ArrayRef) -> RecordBatch {
    let index = batch.schema().index_of(column).unwrap();
    let mut columns = batch.columns().to_vec();
    columns[index] = change(&columns[index]);
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

fn plus_one_int(column: &ArrayRef) -> ArrayRef {
    let values = column.as_primitive::<Int32Type>();
    Arc::new(
        values
            .iter()
            .map(|value| value.map(|value| value + 1))
            .collect::<Int32Array>(),
    )
}

fn plus_one_long(column: &ArrayRef) -> ArrayRef {
    let values = column.as_primitive::<Int64Type>();
    Arc::new(
        values
            .iter()
            .map(|value| value.map(|value| value + 1))
            .collect::<Int64Array>(),
    )
}

fn plus_one_double(column: &ArrayRef) -> ArrayRef {
    let values = column.as_primitive::<Float64Type>();
    Arc::new(
        values
            .iter()
            .map(|value| value.map(|value| value + 1.0))
            .collect::<Float64Array>(),
    )
}

/// Payloads that decode to something else, and still decode.
fn other_payload(column: &ArrayRef) -> ArrayRef {
    let values = column.as_binary::<i32>();
    let other = |value: &[u8]| {
        String::from_utf8_lossy(value)
            .replace("\"banner_id\":", "\"banner_id\":1")
            .into_bytes()
    };
    let changed: Vec<Option<Vec<u8>>> = values.iter().map(|value| value.map(other)).collect();
    Arc::new(changed.iter().map(|value| value.as_deref()).collect::<BinaryArray>())
}

fn other_reason(column: &ArrayRef) -> ArrayRef {
    Arc::new(StringArray::from(vec!["schema"; column.len()]))
}

fn second(raw: &Raw) -> serde_json::Value {
    raw.files()[1].clone()
}

fn column(name: &'static str, change: fn(&ArrayRef) -> ArrayRef) -> Change {
    Box::new(move |raw| raw.rewrite(&second(raw), |batch| with(&batch, name, change)))
}

fn first_row_gone() -> Change {
    Box::new(|raw| raw.rewrite(&second(raw), |batch| batch.slice(1, batch.num_rows() - 1)))
}

fn first_row_twice() -> Change {
    let twice = |batch: RecordBatch| concat_batches(&batch.schema(), &[batch.slice(0, 1), batch]).unwrap();
    Box::new(move |raw| raw.rewrite(&second(raw), twice))
}

fn file_gone() -> Change {
    Box::new(|raw| raw.remove(&second(raw)))
}

fn file_twice() -> Change {
    Box::new(|raw| raw.double(&second(raw)))
}

fn txn(app: String, version: i64) -> Change {
    Box::new(move |raw| raw.set_txn(&app, version))
}

fn of_bronze() -> Vec<(&'static str, Change)> {
    let seq = || names::bronze_seq(PIPELINE);
    let offset = format!("{}input/a.ndjson/0", names::bronze_prefix(PIPELINE));
    vec![
        ("a file is gone", file_gone()),
        (
            "the last file is gone",
            Box::new(|raw| raw.remove(raw.files().last().unwrap())),
        ),
        ("a file is there twice", file_twice()),
        ("a row is gone", first_row_gone()),
        ("a row is there twice", first_row_twice()),
        ("an offset is another", column("offset", plus_one_long)),
        ("seq is too low", txn(seq(), 100)),
        ("seq is too high", txn(seq(), 1_000_000)),
        // One that is too high is no mutation here: offsets have holes, so it looks like one more of them.
        ("an offset position is too low", txn(offset, 3)),
    ]
}

fn of_silver() -> Vec<(&'static str, Change)> {
    vec![
        ("a column is another", column("banner_id", plus_one_long)),
        ("lineage is another", column("_offset", plus_one_long)),
        ("a row is gone", first_row_gone()),
        ("a row is there twice", first_row_twice()),
        ("a file is gone", file_gone()),
        ("the position is too low", txn(names::silver_position(PIPELINE), 100)),
        (
            "the position is too high",
            txn(names::silver_position(PIPELINE), 1_000_000),
        ),
        ("the watermark is another", txn(names::silver_watermark(PIPELINE), 1)),
    ]
}

fn of_rejects() -> Vec<(&'static str, Change)> {
    vec![
        ("a row is gone", first_row_gone()),
        ("a file is there twice", file_twice()),
        ("reasons are others", column("reason", other_reason)),
    ]
}

fn of_gold() -> Vec<(&'static str, Change)> {
    vec![
        ("a value is another", column("avg_duration", plus_one_double)),
        ("a count is another", column("total_count", plus_one_int)),
        ("a file is there twice", file_twice()),
        ("a file is gone", file_gone()),
        (
            "the position is too low",
            txn(names::gold_position(PIPELINE, GOLD), 100),
        ),
        (
            "the position is too high",
            txn(names::gold_position(PIPELINE, GOLD), 1_000_000),
        ),
        (
            "the end of windows is too low",
            txn(names::gold_closed(PIPELINE, GOLD), 1),
        ),
    ]
}

fn of_late() -> Vec<(&'static str, Change)> {
    vec![("a file is gone", file_gone()), ("a file is there twice", file_twice())]
}

fn findings(project: &Project, lake: &Lake) -> Vec<String> {
    let report = project.audit(lake);
    report.findings.into_iter().map(|finding| finding.table).collect()
}

#[test]
fn the_audit_names_the_table_that_was_tampered_with() {
    let project = Project::new(60, 70);
    project.events("a.ndjson", 0..400);
    let (lake, store) = memory_lake();
    project.run(&lake).unwrap();
    project.assert_sound(&lake);
    let tables = [
        (names::bronze_path(PIPELINE), of_bronze()),
        (names::silver_path(PIPELINE), of_silver()),
        (names::rejects_path(PIPELINE), of_rejects()),
        (names::gold_path(PIPELINE, GOLD), of_gold()),
        (names::late_path(PIPELINE, GOLD), of_late()),
    ];
    let mut unseen = Vec::new();
    for (table, changes) in tables {
        for (what, change) in changes {
            let copy = lake_over(Arc::new(store.fork()));
            change(&Raw::new(&copy, &table));
            let found = findings(&project, &copy);
            if !found.contains(&table) {
                unseen.push(format!("{table}: {what}: {found:?}"));
            }
        }
    }
    assert!(unseen.is_empty(), "not found: {unseen:#?}");
}

#[test]
fn a_changed_payload_in_bronze_shows_where_silver_no_longer_follows_from_it() {
    let project = Project::new(60, 70);
    project.events("a.ndjson", 0..400);
    let (lake, _) = memory_lake();
    project.run(&lake).unwrap();
    let raw = Raw::new(&lake, &names::bronze_path(PIPELINE));
    raw.rewrite(&raw.files()[2].clone(), |batch| with(&batch, "value", other_payload));
    assert!(findings(&project, &lake).contains(&names::silver_path(PIPELINE)));
}

#[test]
fn a_finding_is_exit_code_3_with_table_and_row() {
    let project = Project::new(60, 70);
    project.events("a.ndjson", 0..200);
    done(project.path(), &["run", "-p", PIPELINE, "--once", "--close-windows"]);
    let sound = done(project.path(), &["audit", "-p", PIPELINE]);
    assert!(sound.out.starts_with("audit: ok view_log:"), "{}", sound.out);
    let raw = Raw::new(&project.lake(), &names::gold_path(PIPELINE, GOLD));
    raw.rewrite(&raw.files()[0].clone(), |batch| {
        with(&batch, "total_count", plus_one_int)
    });
    let audit = call(project.path(), &["audit", "-p", PIPELINE]);
    assert_eq!(audit.code, Some(3), "{}", audit.err);
    assert!(
        audit
            .out
            .contains("view_log/gold/views_per_minute: a row is not what it should be"),
        "{}",
        audit.out
    );
    assert!(
        audit.out.contains("should be:") && audit.err.contains("next:"),
        "{}",
        audit.err
    );
    let json = call(project.path(), &["audit", "-p", PIPELINE, "--output", "json"]);
    assert_eq!(json.code, Some(3));
    let report: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(report[0]["findings"][0]["table"], "view_log/gold/views_per_minute");
}
