//! What the pipeline's tables must be at any moment, and their rows in a form in which two lakes can be compared.

use std::collections::{BTreeMap, BTreeSet};

use medallion::run::names;
use object_store::ObjectStore;

use crate::support::plain::{Plain, Row};
use crate::support::project::PIPELINE;
use crate::support::rows::GOLD;

/// Each table's rows as text. Lakes with other interruptions have other ticks and so other seqs: rows are told apart by
/// topic and offset, and what only says when a row was taken in is left out.
pub type Rows = BTreeMap<&'static str, Vec<String>>;

/// How far the work on the tables has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Everything is processed.
    Done,
    /// Broken off somewhere.
    Broken,
    /// Broken off somewhere in a replay: tables may be of two definitions, which `run` refuses.
    BrokenReplay,
}

/// The tables, read by hand.
pub struct Tables {
    /// Those that are there, by the names of [`Rows`].
    pub tables: BTreeMap<&'static str, Plain>,
    /// The rows of all.
    pub rows: Rows,
}

/// Reads every table and checks what must hold at `stage`.
///
/// Errors: what does not hold.
pub async fn check(store: &dyn ObjectStore, stage: Stage, torn: bool) -> Result<Tables, String> {
    let paths = [
        ("bronze", names::bronze_path(PIPELINE)),
        ("silver", names::silver_path(PIPELINE)),
        ("rejects", names::rejects_path(PIPELINE)),
        ("gold", names::gold_path(PIPELINE, GOLD)),
        ("late", names::late_path(PIPELINE, GOLD)),
    ];
    let mut tables = BTreeMap::new();
    for (name, path) in paths {
        if let Some(table) = Plain::read(store, &path, torn).await? {
            tables.insert(name, table);
        } else if stage == Stage::Done {
            return Err(format!("there is no table {path}"));
        }
    }
    let records = bronze(tables.get("bronze"))?;
    positions(&tables, &records, stage)?;
    let rows = normal(&tables, &records);
    Ok(Tables { tables, rows })
}

/// Bronze's rows by seq: dense, every offset once, both up to exactly the positions.
fn bronze(table: Option<&Plain>) -> Result<BTreeMap<i64, Row>, String> {
    let mut records = BTreeMap::new();
    let Some(table) = table else { return Ok(records) };
    let mut ends: BTreeMap<String, i64> = BTreeMap::new();
    let mut offsets = BTreeSet::new();
    for row in &table.rows {
        let seq = number(row, "seq");
        if records.insert(seq, row.clone()).is_some() {
            return Err(format!("bronze has seq {seq} twice"));
        }
        if let Some(topic) = row.get("topic") {
            let place = (format!("{topic}/{}", row["partition"]), number(row, "offset"));
            let end = ends.entry(place.0.clone()).or_default();
            *end = (*end).max(place.1 + 1);
            if !offsets.insert(place.clone()) {
                return Err(format!("bronze has {place:?} twice"));
            }
        }
    }
    let next = table.position(&names::bronze_seq(PIPELINE));
    if next != records.len() as i64 || !records.keys().copied().eq(0..next) {
        return Err(format!(
            "bronze's next seq is {next}, its {} rows have other seqs",
            records.len()
        ));
    }
    let prefix = names::bronze_prefix(PIPELINE);
    for (app, next) in &table.state.txns {
        let Some(partition) = app.strip_prefix(&prefix).filter(|rest| !["seq", "rows"].contains(rest)) else {
            continue;
        };
        if !app.starts_with("medallion/maintain") && ends.get(partition).copied().unwrap_or(0) != *next {
            return Err(format!(
                "bronze's position of {partition} is {next}, its rows end at {ends:?}"
            ));
        }
    }
    Ok(records)
}

/// Positions never run ahead of data, and every record below silver's position has one fate.
fn positions(tables: &BTreeMap<&str, Plain>, bronze: &BTreeMap<i64, Row>, stage: Stage) -> Result<(), String> {
    let app = names::silver_position(PIPELINE);
    let gold_app = names::gold_position(PIPELINE, GOLD);
    let at = |table: &str, app: &str| tables.get(table).map_or(0, |table| table.position(app));
    let head = bronze.len() as i64;
    let (silver, rejects) = (at("silver", &app), at("rejects", &app));
    let (gold, late) = (at("gold", &gold_app), at("late", &gold_app));
    let told = format!("bronze {head}, silver {silver}, rejects {rejects}, gold {gold}, late {late}");
    if silver > head || rejects > head || gold > silver || late > silver {
        return Err(format!("a position is past its upstream's: {told}"));
    }
    if stage == Stage::Done && (silver != head || gold != silver) {
        return Err(format!("not everything is processed: {told}"));
    }
    let seqs = |table: &str, column: &str, below: i64| -> Result<BTreeSet<i64>, String> {
        let mut seqs = BTreeSet::new();
        for row in tables.get(table).into_iter().flat_map(|table| &table.rows) {
            let seq = number(row, column);
            if seq >= below || !seqs.insert(seq) {
                return Err(format!("{table} has seq {seq} twice, or past its position: {told}"));
            }
        }
        Ok(seqs)
    };
    let accepted = seqs("silver", "_seq", silver)?;
    let rejected = seqs("rejects", "seq", rejects)?;
    seqs("late", "_seq", late)?;
    if stage == Stage::BrokenReplay {
        return Ok(());
    }
    if let Some(both) = accepted.intersection(&rejected).next() {
        return Err(format!("seq {both} is in silver and in rejects"));
    }
    let fateless = bronze
        .range(..silver)
        .filter(|(_, row)| row["kind"] == "record")
        .find(|(seq, _)| !accepted.contains(seq) && !rejected.contains(seq));
    match fateless {
        Some((seq, _)) => Err(format!(
            "the record at seq {seq} is in neither silver nor rejects: {told}"
        )),
        None => Ok(()),
    }
}

fn number(row: &Row, column: &str) -> i64 {
    row.get(column).map_or(-1, |text| text.parse().unwrap())
}

fn normal(tables: &BTreeMap<&'static str, Plain>, bronze: &BTreeMap<i64, Row>) -> Rows {
    let place = |seq: &str| {
        let found = seq.parse().ok().and_then(|seq: i64| bronze.get(&seq));
        found.map_or_else(
            || format!("no record at {seq}"),
            |row| format!("{}/{:>6}", row["topic"], row["offset"]),
        )
    };
    let mut rows = Rows::new();
    for (name, table) in tables {
        let mut texts: Vec<String> = table
            .rows
            .iter()
            .filter(|row| row.get("kind").is_none_or(|kind| kind == "record"))
            .map(|row| {
                let mut row = row.clone();
                for seq in ["_seq", "seq"] {
                    if let Some(seq) = row.remove(seq) {
                        row.insert(" at".to_owned(), place(&seq));
                    }
                }
                if let Some(seq) = row.remove("duplicate_of") {
                    row.insert("duplicate_of".to_owned(), place(&seq));
                    row.remove("detail");
                }
                row.remove("ingested_at");
                row.remove("ingest_date");
                let cells: Vec<String> = row.iter().map(|(name, value)| format!("{name}={value}")).collect();
                cells.join(" ")
            })
            .collect();
        texts.sort();
        rows.insert(name, texts);
    }
    rows
}

/// Says where two lakes differ first.
///
/// Errors: the table and its first rows that differ.
pub fn same(found: &Rows, wanted: &Rows) -> Result<(), String> {
    for (table, wanted) in wanted {
        let none = Vec::new();
        let found = found.get(table).unwrap_or(&none);
        if found != wanted {
            let missing = wanted.iter().find(|row| !found.contains(row));
            let extra = found.iter().find(|row| !wanted.contains(row));
            return Err(format!(
                "{table} has {} rows, wanted {}; missing: {missing:?}; too much: {extra:?}",
                found.len(),
                wanted.len()
            ));
        }
    }
    Ok(())
}
