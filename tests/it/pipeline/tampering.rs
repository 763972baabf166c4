//! Whatever is done to a table behind medallion's back, the audit finds it and names the table.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use medallion::run::names;
use medallion::table::Lake;

use crate::support::command::{call, done};
use crate::support::project::{PIPELINE, Project, lake_over, memory_lake};
use crate::support::rows::GOLD;
use crate::support::tamper::Raw;

type Mutation = (&'static str, String, Box<dyn Fn(&Raw)>);

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

fn mutations() -> Vec<Mutation> {
    let bronze = || names::bronze_path(PIPELINE);
    let silver = || names::silver_path(PIPELINE);
    let rejects = || names::rejects_path(PIPELINE);
    let gold = || names::gold_path(PIPELINE, GOLD);
    let late = || names::late_path(PIPELINE, GOLD);
    let second = |raw: &Raw| raw.files()[1].clone();
    let column = |name: &'static str, change: fn(&ArrayRef) -> ArrayRef| -> Box<dyn Fn(&Raw)> {
        Box::new(move |raw| raw.rewrite(&second(raw), |batch| with(&batch, name, change)))
    };
    let first_row = || -> Box<dyn Fn(&Raw)> {
        Box::new(move |raw| raw.rewrite(&second(raw), |batch| batch.slice(1, batch.num_rows() - 1)))
    };
    let first_twice = || -> Box<dyn Fn(&Raw)> {
        Box::new(move |raw| {
            raw.rewrite(&second(raw), |batch| {
                arrow::compute::concat_batches(&batch.schema(), &[batch.slice(0, 1), batch]).unwrap()
            });
        })
    };
    let gone = || -> Box<dyn Fn(&Raw)> { Box::new(move |raw| raw.remove(&second(raw))) };
    let doubled = || -> Box<dyn Fn(&Raw)> { Box::new(move |raw| raw.double(&second(raw))) };
    let txn = |app: String, version: i64| -> Box<dyn Fn(&Raw)> { Box::new(move |raw| raw.set_txn(&app, version)) };
    vec![
        ("a bronze file is gone", bronze(), gone()),
        (
            "the last bronze file is gone",
            bronze(),
            Box::new(|raw| raw.remove(raw.files().last().unwrap())),
        ),
        ("a bronze file is there twice", bronze(), doubled()),
        ("a bronze row is gone", bronze(), first_row()),
        ("a bronze row is there twice", bronze(), first_twice()),
        ("a bronze offset is another", bronze(), column("offset", plus_one_long)),
        (
            "a silver column is another",
            silver(),
            column("banner_id", plus_one_long),
        ),
        (
            "silver's lineage is another",
            silver(),
            column("_offset", plus_one_long),
        ),
        ("a silver row is gone", silver(), first_row()),
        ("a silver row is there twice", silver(), first_twice()),
        ("a silver file is gone", silver(), gone()),
        ("a reject is gone", rejects(), first_row()),
        ("rejects are there twice", rejects(), doubled()),
        (
            "the reasons of rejects are others",
            rejects(),
            column("reason", other_reason),
        ),
        (
            "a gold value is another",
            gold(),
            column("avg_duration", plus_one_double),
        ),
        ("a gold count is another", gold(), column("total_count", plus_one_int)),
        ("gold rows are there twice", gold(), doubled()),
        ("gold rows are gone", gold(), gone()),
        ("late rows are gone", late(), gone()),
        ("late rows are there twice", late(), doubled()),
        (
            "silver's position is too low",
            silver(),
            txn(names::silver_position(PIPELINE), 100),
        ),
        (
            "silver's position is too high",
            silver(),
            txn(names::silver_position(PIPELINE), 1_000_000),
        ),
        (
            "silver's watermark is another",
            silver(),
            txn(names::silver_watermark(PIPELINE), 1),
        ),
        (
            "bronze's seq is too low",
            bronze(),
            txn(names::bronze_seq(PIPELINE), 100),
        ),
        (
            "bronze's seq is too high",
            bronze(),
            txn(names::bronze_seq(PIPELINE), 1_000_000),
        ),
        (
            "bronze's offset is too low",
            bronze(),
            txn(format!("{}input/a.ndjson/0", names::bronze_prefix(PIPELINE)), 3),
        ),
        // An offset that is too high is no mutation here: offsets have holes, so it looks like one more of them.
        (
            "gold's position is too low",
            gold(),
            txn(names::gold_position(PIPELINE, GOLD), 100),
        ),
        (
            "gold's position is too high",
            gold(),
            txn(names::gold_position(PIPELINE, GOLD), 1_000_000),
        ),
        (
            "gold's end of windows is too low",
            gold(),
            txn(names::gold_closed(PIPELINE, GOLD), 1),
        ),
    ]
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
    let mut unseen = Vec::new();
    for (what, table, mutate) in mutations() {
        let copy = lake_over(Arc::new(store.fork()));
        mutate(&Raw::new(&copy, &table));
        let found = findings(&project, &copy);
        if !found.contains(&table) {
            unseen.push((what, found));
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
