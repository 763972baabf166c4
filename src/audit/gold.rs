//! Gold and late: every row recomputed from silver.

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;

use super::compare::{same, sorted};
use super::{Progress, Report};
use crate::definition::{Gold, Pipeline, silver_schema};
use crate::error::{Context, Error, Kind, Result};
use crate::layer::gold::{Plan, State};
use crate::run::gold::last_watermark;
use crate::run::silver::rows_from;
use crate::run::tables::SEQ;
use crate::run::{chunks, names};
use crate::table::{self, Lake, Queryable, Reader, conform};

pub(super) async fn audit(
    lake: &Lake,
    pipeline: &Pipeline,
    definition: &Gold,
    progress: Progress<'_>,
    report: &mut Report,
) -> Result<()> {
    let name = &pipeline.name;
    let schema = silver_schema(&pipeline.silver)?;
    let plan = Plan::compile(definition, &pipeline.silver.event_time, &schema)?;
    let gold_path = names::gold_path(name, &definition.name);
    let late_path = names::late_path(name, &definition.name);
    let silver = Reader::open(lake, &names::silver_path(name), schema, SEQ).await?;
    let late = Reader::open(lake, &late_path, plan.late_schema(), SEQ).await?;
    // The gold table has no seq; the reader is only asked for positions and what the table says of itself.
    let gold = Reader::open(lake, &gold_path, plan.schema(), SEQ).await?;
    let (Some(silver), Some(late), Some(gold)) = (silver, late, gold) else {
        return Ok(());
    };
    report.tables += 2;
    if gold.stored().fingerprint.as_deref() != Some(definition.fingerprint.as_str()) {
        report.find(
            &gold_path,
            "it was written by another definition: put that back, or replay gold, then audit",
        );
        return Ok(());
    }
    if gold.stored().upstream != silver.stored().generation {
        report.find(
            &gold_path,
            "it was computed from silver as it was before its last replay: replay gold",
        );
        return Ok(());
    }
    let position = gold.txn(&names::gold_position(name, &definition.name)).unwrap_or(0);
    let closed = gold
        .txn(&names::gold_closed(name, &definition.name))
        .unwrap_or(i64::MIN);
    let end = silver.txn(&names::silver_position(name)).unwrap_or(0);
    if position > end {
        report.find(
            &gold_path,
            format!("its position {position} is past silver's end {end}"),
        );
        return Ok(());
    }
    // Late rows are committed first, so they may be a step ahead of gold.
    let late_position = late.txn(&names::gold_position(name, &definition.name)).unwrap_or(0);
    report
        .none_past(&late, &late_path, late_position.max(position), SEQ)
        .await?;
    report.none_touched(&gold, &gold_path).await?;
    report.none_touched(&late, &late_path).await?;
    let mut state = State::new(i64::MIN);
    let mut expected: Vec<RecordBatch> = Vec::new();
    let mut expected_late: Vec<RecordBatch> = Vec::new();
    chunks::each(
        &silver,
        silver.first(),
        position,
        &plan.input_columns(),
        i64::MIN,
        |_, to, rows| {
            expected_late.push(plan.fold(rows, &mut state)?);
            expected.extend(plan.close(last_watermark(rows), &mut state)?);
            progress(&gold_path, to, position);
            Ok(())
        },
    )
    .await?;
    if state.closed > closed {
        report.find(
            &gold_path,
            format!("windows up to {} should be closed, it says {closed}", state.closed),
        );
    }
    let delay = i64::try_from(definition.watermark.as_micros()).unwrap_or(i64::MAX);
    expected.extend(plan.close(Some(closed.saturating_add(delay)), &mut state)?);

    let columns: Vec<String> = plan
        .late_schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let kept_late = silver.first().max(late.first());
    let actual_late = late.read(kept_late, position, &columns).await?;
    report.late += i64::try_from(actual_late.num_rows()).unwrap_or(0);
    let expected_late =
        arrow::compute::concat_batches(&plan.late_schema(), &expected_late).or_fail(Kind::Bug, || "joining batches")?;
    let expected_late = rows_from(&expected_late, SEQ, kept_late)?;
    same(&late_path, &expected_late, &actual_late, report)?;

    let mut actual = read_all(lake, &gold_path, &plan).await?;
    report.gold += i64::try_from(actual.num_rows()).unwrap_or(0);
    // Windows that had closed before the definition was adopted are an earlier definition's; older ones were let go, here
    // or with silver's rows that they came from.
    let from = [gold.stored().adopted_closed, gold.before(), silver.before()];
    if let Some(from) = from.into_iter().flatten().max() {
        expected = expected
            .iter()
            .map(|rows| windows_from(rows, &definition.window.start, from))
            .collect::<Result<Vec<_>>>()?;
        actual = windows_from(&actual, &definition.window.start, from)?;
    }
    same(&gold_path, &sorted(&expected, &plan.schema())?, &actual, report)?;
    Ok(())
}

/// The rows of windows that begin at or after `from`, in microseconds.
fn windows_from(rows: &RecordBatch, start: &str, from: i64) -> Result<RecordBatch> {
    let bug = || "filtering by window";
    let starts = rows
        .column_by_name(start)
        .and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>())
        .ok_or_else(|| Error::new(Kind::Bug, bug()))?;
    let keep: BooleanArray = starts.values().iter().map(|start| Some(*start >= from)).collect();
    filter_record_batch(rows, &keep).or_fail(Kind::Bug, bug)
}

async fn read_all(lake: &Lake, path: &str, plan: &Plan) -> Result<RecordBatch> {
    let read = || format!("reading {path}");
    let tables = [Queryable {
        schema: "audit".to_owned(),
        name: "gold".to_owned(),
        path: path.to_owned(),
    }];
    let context = table::session(lake, &tables, "audit").await?;
    let frame = context.sql("select * from gold").await.or_fail(Kind::Damaged, read)?;
    let batches = frame.collect().await.or_fail(Kind::Damaged, read)?;
    let batches = batches
        .iter()
        .map(|batch| conform(batch, &plan.schema(), &std::collections::HashMap::new()))
        .collect::<Result<Vec<_>>>()?;
    sorted(&batches, &plan.schema())
}
