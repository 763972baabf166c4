//! Silver and rejects: every row recomputed from bronze.

use std::path::Path;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use serde_json::Value;

use super::compare::same;
use super::{Progress, Report};
use crate::definition::Pipeline;
use crate::error::Result;
use crate::layer::bronze;
use crate::layer::silver::{Plan, State, rejects_schema};
use crate::run::recover::{silver_state, watermarks_of};
use crate::run::references::References;
use crate::run::silver::all_columns;
use crate::run::tables::SEQ;
use crate::run::{chunks, names};
use crate::table::{Lake, Reader};

pub(super) async fn audit(
    lake: &Lake,
    project: &Path,
    pipeline: &Pipeline,
    progress: Progress<'_>,
    report: &mut Report,
) -> Result<()> {
    let name = &pipeline.name;
    let mut plan = Plan::compile(&pipeline.silver)?;
    let (silver_path, rejects_path) = (names::silver_path(name), names::rejects_path(name));
    let silver = Reader::open(lake, &silver_path, plan.schema(), SEQ).await?;
    let rejects = Reader::open(lake, &rejects_path, rejects_schema(), "seq").await?;
    let bronze = Reader::open(lake, &names::bronze_path(name), bronze::schema(), "seq").await?;
    let (Some(silver), Some(rejects), Some(bronze)) = (silver, rejects, bronze) else {
        return Ok(());
    };
    report.tables += 2;
    if silver.stored().fingerprint.as_deref() != Some(pipeline.silver.fingerprint.as_str()) {
        report.find(
            &silver_path,
            "it was written by another definition: put that back, or replay silver, then audit",
        );
        return Ok(());
    }
    let position = silver.txn(&names::silver_position(name)).unwrap_or(0);
    let head = bronze.txn(&names::bronze_seq(name)).unwrap_or(0);
    if position > head {
        report.find(
            &silver_path,
            format!("its position {position} is past bronze's end {head}"),
        );
        return Ok(());
    }
    report.none_touched(&silver, &silver_path).await?;
    report.none_touched(&rejects, &rejects_path).await?;
    report.none_past(&silver, &silver_path, position, SEQ).await?;
    // Rejects are committed first, so they may be a step ahead of silver.
    let rejects_position = rejects.txn(&names::silver_position(name)).unwrap_or(0).max(position);
    report
        .none_past(&rejects, &rejects_path, rejects_position, "seq")
        .await?;
    let generation = silver.stored().generation.clone().unwrap_or_default();
    let references = References::open(lake, name, &generation, project, &pipeline.silver).await?;
    let columns = |schema: &arrow::datatypes::SchemaRef| -> Vec<String> {
        schema.fields().iter().map(|field| field.name().clone()).collect()
    };
    let (silver_columns, rejects_columns) = (columns(&plan.schema()), columns(&rejects_schema()));
    let kept = bronze.first().max(silver.first()).max(rejects.first());
    let (mut at, mut state) = match beginning(pipeline, &plan, &silver, &bronze, [kept, position]).await? {
        Some(beginning) => beginning,
        None => (position, State::default()),
    };
    // Of rows before, that each record has one fate is all that can still be proved.
    conserved(&bronze, &silver, &rejects, [kept, at], &silver_path, report).await?;
    report.recomputed_from = at;
    let recomputes = at < position;
    while at < position {
        let (current, boundary) = references.at(at)?;
        let end = position.min(boundary.unwrap_or(i64::MAX));
        let (rows, to) = chunks::next(&bronze, at, end, &all_columns()).await?;
        let expected = plan.process(&rows, &current, &mut state)?;
        let accepted = silver.read(at, to, &silver_columns).await?;
        let rejected = rejects.read(at, to, &rejects_columns).await?;
        report.silver += count(accepted.num_rows());
        report.rejects += count(rejected.num_rows());
        report.ticks += i64::try_from(expected.fates.ticks).unwrap_or(0);
        report.records += i64::try_from(expected.fates.records()).unwrap_or(0);
        let silver_holds = same(&silver_path, &expected.silver, &accepted, report)?;
        let rejects_hold = same(&rejects_path, &expected.rejects, &rejected, report)?;
        progress(&silver_path, to, position);
        if !silver_holds || !rejects_hold {
            return Ok(());
        }
        at = to;
    }
    if recomputes && state.watermarks.value() != silver.txn(&names::silver_watermark(name)) {
        report.find(
            &silver_path,
            format!(
                "its watermark is {:?}, the rows say {:?}",
                silver.txn(&names::silver_watermark(name)),
                state.watermarks.value()
            ),
        );
    }
    Ok(())
}

/// Where recomputing can begin, and silver's state there; none where that is known nowhere.
///
/// That is where silver began, while bronze has all rows since and one definition made all of silver's. A definition that
/// came later begins at its own seq, where the state is recomputed. Where bronze or silver has let go of rows, it is the
/// oldest commit whose watermarks the log still has and whose keys are all in rows that are still there.
async fn beginning(
    pipeline: &Pipeline,
    plan: &Plan,
    silver: &Reader,
    bronze: &Reader,
    [kept, position]: [i64; 2],
) -> Result<Option<(i64, State)>> {
    let begun = silver.txn(&names::silver_begun(&pipeline.name)).unwrap_or(0);
    let adopted = silver
        .stored()
        .adopted_from
        .unwrap_or(0)
        .clamp(begun, position.max(begun));
    if kept <= begun {
        if adopted == begun {
            return Ok(Some((begun, State::default())));
        }
        let state = silver_state(plan, &pipeline.silver, [begun, adopted], None, silver, bronze).await?;
        return Ok(Some((adopted, state)));
    }
    let within = pipeline.silver.dedupe.as_ref().and_then(|dedupe| dedupe.within);
    let within = within.map_or(0, |within| i64::try_from(within.as_micros()).unwrap_or(i64::MAX));
    let remembers = |info: &Value| {
        let Some(before) = silver.before() else {
            return watermarks_of(info).is_some();
        };
        let watermark = watermarks_of(info).and_then(|watermarks| watermarks.value());
        watermark.is_some_and(|watermark| watermark.saturating_sub(within) >= before)
    };
    let info = silver.oldest_state(kept.max(adopted), remembers).await?;
    let Some(at) = info.as_ref().and_then(|info| info.get("position")?.as_i64()) else {
        return Ok(None);
    };
    let state = silver_state(plan, &pipeline.silver, [begun, at], info.as_ref(), silver, bronze).await?;
    Ok(Some((at, state)))
}

/// Every record of `[from, to)` is exactly one row of silver or of rejects, by seq.
async fn conserved(
    bronze: &Reader,
    silver: &Reader,
    rejects: &Reader,
    [from, to]: [i64; 2],
    path: &str,
    report: &mut Report,
) -> Result<()> {
    let mut at = from;
    while at < to {
        let end = to.min(at + chunks::CHUNK_ROWS);
        let rows = bronze.read(at, end, &["kind".to_owned()]).await?;
        let kinds = rows.column_by_name("kind").map(|column| column.as_string::<i32>());
        let records: Vec<i64> = seqs(&rows, "seq")
            .into_iter()
            .zip(kinds.into_iter().flatten())
            .filter(|(_, kind)| *kind == Some("record"))
            .map(|(seq, _)| seq)
            .collect();
        let accepted = seqs(&silver.read(at, end, &[]).await?, SEQ);
        let rejected = seqs(&rejects.read(at, end, &[]).await?, "seq");
        report.records += count(records.len());
        report.ticks += count(rows.num_rows() - records.len());
        report.silver += count(accepted.len());
        report.rejects += count(rejected.len());
        let mut fates = [accepted, rejected].concat();
        fates.sort_unstable();
        if let Some((record, _)) = records.iter().zip(&fates).find(|(record, fate)| record != fate) {
            report.find(
                path,
                format!("the record at seq {record} has no fate, or one beside it has two"),
            );
        } else if records.len() != fates.len() {
            report.find(
                path,
                format!("{} records below seq {end} have {} fates", records.len(), fates.len()),
            );
        }
        at = end;
    }
    Ok(())
}

fn seqs(rows: &RecordBatch, column: &str) -> Vec<i64> {
    rows.column_by_name(column)
        .and_then(|column| column.as_primitive_opt::<Int64Type>())
        .map(|seqs| seqs.values().to_vec())
        .unwrap_or_default()
}

fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
