//! What syncing costs. Measured, not judged: run with `--ignored --nocapture` on the disk in question, set by `TMPDIR`.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use medallion::clock::Clock;
use medallion::definition::settings::Durability;
use medallion::table::{Append, Lake, Table, TableSpec};
use serde_json::Value;

use crate::support::project::{NOW, block};

const MODES: [Durability; 2] = [Durability::Process, Durability::Power];

fn spec() -> TableSpec {
    let field = |name: &str, data_type| Field::new(name, data_type, false);
    TableSpec {
        path: "p/bronze".to_owned(),
        comment: String::new(),
        schema: Arc::new(Schema::new(vec![
            field("seq", DataType::Int64),
            field("part", DataType::Int32),
        ])),
        partition_by: vec!["part".to_owned()],
        seq_column: Some("seq".to_owned()),
        append_only: false,
        app_prefix: "medallion/p/bronze/".to_owned(),
        fingerprint: String::new(),
        definition: Vec::new(),
        generation: String::new(),
        upstream: String::new(),
    }
}

fn rows(parts: i32) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(0..i64::from(parts) * 5)),
        Arc::new(Int32Array::from_iter_values((0..parts * 5).map(|row| row % parts))),
    ];
    RecordBatch::try_new(spec().schema, columns).unwrap()
}

/// Medians in milliseconds of commits with `parts` files each, the two modes taking turns.
fn medians(parts: i32, rounds: usize) -> [f64; 2] {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut tables: Vec<Table> = (0..2)
        .map(|mode| {
            let location = folders[mode].path().to_str().unwrap();
            let lake = block(Lake::open(location, Clock::fixed(NOW))).unwrap();
            let lake = lake.with_durability(MODES[mode]).unwrap();
            block(Table::open_or_create(&lake, spec())).unwrap()
        })
        .collect();
    let rows = rows(parts);
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for (mode, table) in tables.iter_mut().enumerate() {
            let append = Append {
                rows: Some(&rows),
                txns: vec![("medallion/p/bronze/seq".to_owned(), round as i64)],
                info: Value::Null,
            };
            let began = Instant::now();
            block(table.append(append)).unwrap();
            times[mode].push(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    })
}

#[test]
#[ignore = "a measurement"]
fn the_cost_of_a_commit_that_survives_a_power_cut() {
    for (parts, rounds) in [(1, 300), (10, 100), (1_000, 8)] {
        let [process, power] = medians(parts, rounds);
        let ratio = power / process;
        println!(
            "{parts} files a commit, median of {rounds}: process {process:.2} ms, power {power:.2} ms, {ratio:.2}x"
        );
    }
}
