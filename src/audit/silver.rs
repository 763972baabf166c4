//! Silver and rejects: every row recomputed from bronze.

use std::path::Path;

use super::compare::same;
use super::{Progress, Report};
use crate::definition::Pipeline;
use crate::error::Result;
use crate::layer::bronze;
use crate::layer::silver::{Plan, State, rejects_schema};
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
    let mut state = State::default();
    let mut at = 0;
    while at < position {
        let (current, boundary) = references.at(at)?;
        let to = position.min(at + chunks::CHUNK_ROWS).min(boundary.unwrap_or(i64::MAX));
        let rows = bronze.read(at, to, &all_columns()).await?;
        let expected = plan.process(&rows, &current, &mut state)?;
        let accepted = silver.read(at, to, &silver_columns).await?;
        let rejected = rejects.read(at, to, &rejects_columns).await?;
        report.silver += i64::try_from(accepted.num_rows()).unwrap_or(0);
        report.rejects += i64::try_from(rejected.num_rows()).unwrap_or(0);
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
    if state.watermarks.value() != silver.txn(&names::silver_watermark(name)) {
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
