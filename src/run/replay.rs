//! Rebuilding history: silver, rejects and gold from bronze, or gold from silver, each table swapped in one commit.
//!
//! New files are written beside the old; readers see the old table until the swap. Killed anywhere, each table is
//! whole, old or new; a mix of generations between tables is refused by `run` and mended by replaying again.

use std::path::Path;

use serde_json::json;

use super::chunks::Pieces;
use super::lineage::{self, Witness};
use super::references::References;
use super::silver::all_columns;
use super::{Lock, names, tables, totals};
use crate::clock::rfc3339;
use crate::definition::{Gold, Pipeline, silver_schema};
use crate::error::{Context, Error, Kind, Result};
use crate::layer::gold::State as GoldState;
use crate::layer::silver::{Fates, State as SilverState};
use crate::layer::{bronze, gold, silver};
use crate::table::{Lake, Reader, Rewrite, Table};

/// Tells how far a replay has come: table, rows done, rows in all.
pub type Progress<'a> = &'a dyn Fn(&str, i64, i64);

/// What a replay rebuilt.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Replayed {
    /// The table.
    pub table: String,
    /// Its rows.
    pub rows: u64,
    /// Bronze seqs it covers.
    pub position: i64,
    /// The version of the swap.
    pub version: u64,
}

/// What a replay may lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Nothing: it is refused where upstream has let go of rows.
    All,
    /// Rows that came from what upstream has let go.
    KeptOnly,
}

/// Rebuilds silver and rejects from bronze, then every gold table from the new silver.
///
/// # Errors
/// [`Kind::Usage`] where bronze has let go of rows and `extent` does not allow to lose what came from them.
pub async fn silver(
    lake: &Lake,
    project: &Path,
    pipeline: &Pipeline,
    extent: Extent,
    progress: Progress<'_>,
) -> Result<Vec<Replayed>> {
    let name = &pipeline.name;
    let _silver = Lock::take(lake, name, "silver")?;
    let _gold = Lock::take(lake, name, "gold")?;
    let reader = Reader::open_trusted(lake, &names::bronze_path(name), bronze::schema(), "seq", None).await?;
    let reader = reader.ok_or_else(|| super::upstream::no_upstream("silver", "bronze", name))?;
    let head = reader.txn(&names::bronze_seq(name)).unwrap_or(0);
    let begun = reader.first();
    require_all(&reader, &names::bronze_path(name), extent)?;

    let mut plan = silver::Plan::compile(&pipeline.silver)?;
    let generation = tables::generation();
    let (silver_spec, rejects_spec) = tables::silver(name, &pipeline.silver, &plan, &generation);
    let mut references = References::open(lake, name, &generation, project, &pipeline.silver).await?;
    references.refresh(0).await?;
    let (current, _) = references.at(0)?;
    let mut new_silver = Rewrite::begin(Table::open_or_create(lake, silver_spec).await?);
    let mut new_rejects = Rewrite::begin(Table::open_or_create(lake, rejects_spec).await?);
    #[cfg(debug_assertions)]
    crate::failpoint::hit("R1");
    let mut state = SilverState::default();
    let mut fates = Fates::default();
    let mut witness = None;
    let mut at = begun;
    let mut pieces = Pieces::read(&reader, at, head, &all_columns(), i64::MIN);
    while let Some((rows, to)) = pieces.next().await? {
        super::silver::require_dense(name, &rows, at, to)?;
        let step = plan.process(&rows, &current, &mut state)?;
        new_rejects.write(&step.rejects).await?;
        new_silver.write(&step.silver).await?;
        #[cfg(debug_assertions)]
        crate::failpoint::hit("R2");
        fates.add(&step.fates);
        witness = Witness::last(&rows, "seq", &lineage::BRONZE)?;
        at = to;
        progress(&names::silver_path(name), at, head);
    }
    let stand = [begun, head];
    let [accepted, rejected] = swap_silver(name, new_silver, new_rejects, stand, &state, &fates, witness).await?;
    let mut replayed = vec![accepted, rejected];
    for definition in &pipeline.gold {
        replayed.extend(gold_table(lake, pipeline, definition, extent, progress).await?);
    }
    Ok(replayed)
}

/// Swaps rejects, then silver, which now begins and stands at these seqs.
async fn swap_silver(
    pipeline: &str,
    silver: Rewrite,
    rejects: Rewrite,
    [begun, head]: [i64; 2],
    state: &SilverState,
    fates: &Fates,
    witness: Option<Witness>,
) -> Result<[Replayed; 2]> {
    let watermarks = serde_json::to_value(&state.watermarks).or_fail(Kind::Bug, || "writing the watermarks")?;
    let mut txns = vec![(names::silver_position(pipeline), head)];
    let rejected = swap(
        rejects,
        txns.clone(),
        json!({"position": head, totals::OF_STEP: fates}),
        head,
    )
    .await?;
    if let Some(watermark) = state.watermarks.value() {
        txns.push((names::silver_watermark(pipeline), watermark));
    }
    txns.push((names::silver_begun(pipeline), begun));
    let info = json!({
        "position": head,
        "from": begun,
        totals::OF_STEP: fates,
        totals::KEY: fates,
        "watermarks": watermarks,
        "watermark": state.watermarks.value().map(rfc3339),
        lineage::KEY: witness,
    });
    Ok([swap(silver, txns, info, head).await?, rejected])
}

/// Rebuilds every gold table of the pipeline from silver.
///
/// # Errors
/// As [`silver()`], of silver's rows.
pub async fn gold(lake: &Lake, pipeline: &Pipeline, extent: Extent, progress: Progress<'_>) -> Result<Vec<Replayed>> {
    let _gold = Lock::take(lake, &pipeline.name, "gold")?;
    let mut replayed = Vec::new();
    for definition in &pipeline.gold {
        replayed.extend(gold_table(lake, pipeline, definition, extent, progress).await?);
    }
    Ok(replayed)
}

async fn gold_table(
    lake: &Lake,
    pipeline: &Pipeline,
    definition: &Gold,
    extent: Extent,
    progress: Progress<'_>,
) -> Result<Vec<Replayed>> {
    let name = &pipeline.name;
    let schema = silver_schema(&pipeline.silver)?;
    let plan = gold::Plan::compile(definition, &pipeline.silver.event_time, &schema)?;
    let reader = Reader::open_trusted(lake, &names::silver_path(name), schema, tables::SEQ, None).await?;
    let reader = reader.ok_or_else(|| super::upstream::no_upstream("gold", "silver", name))?;
    if reader.stored().fingerprint.as_deref() != Some(pipeline.silver.fingerprint.as_str()) {
        return Err(Error::new(
            Kind::Definition,
            format!("silver of {name} was written by another definition than layers/{name}/silver.toml"),
        )
        .with_next(format!("run `medallion replay silver -p {name}`: it rebuilds gold too")));
    }
    let generation = reader.stored().generation.clone().unwrap_or_default();
    let head = reader.txn(&names::silver_position(name)).unwrap_or(0);
    let watermark = reader.txn(&names::silver_watermark(name));
    require_all(&reader, &names::silver_path(name), extent)?;
    let (gold_spec, late_spec) = tables::gold(pipeline, definition, &plan, &generation)?;
    let mut new_gold = Rewrite::begin(Table::open_or_create(lake, gold_spec).await?);
    let mut new_late = Rewrite::begin(Table::open_or_create(lake, late_spec).await?);
    #[cfg(debug_assertions)]
    crate::failpoint::hit("R1");
    let mut state = GoldState::new(i64::MIN);
    let columns = plan.input_columns();
    let witnessed = lineage::silver(&pipeline.silver.event_time);
    let mut witness = None;
    let mut at = reader.first();
    let mut pieces = Pieces::read(&reader, at, head, &columns, i64::MIN);
    while let Some((rows, to)) = pieces.next().await? {
        new_late.write(&plan.fold(&rows, &mut state)?).await?;
        witness = Witness::last(&rows, tables::SEQ, &witnessed)?.or(witness);
        #[cfg(debug_assertions)]
        crate::failpoint::hit("R2");
        at = to;
        if at < head {
            let reached = super::gold::last_watermark(&rows);
            if let Some(closed) = plan.close(reached, &mut state)? {
                new_gold.write(&closed).await?;
            }
        }
        progress(&names::gold_path(name, &definition.name), at, head);
    }
    if let Some(closed) = plan.close(watermark, &mut state)? {
        new_gold.write(&closed).await?;
    }
    let position_app = names::gold_position(name, &definition.name);
    let mut txns = vec![(position_app, head)];
    let late = swap(new_late, txns.clone(), json!({"position": head}), head).await?;
    if state.closed > i64::MIN {
        txns.push((names::gold_closed(name, &definition.name), state.closed));
    }
    let info = json!({
        "position": head,
        "from": reader.first(),
        "rows": new_gold.rows(),
        "late": late.rows,
        "open_windows": state.open_windows(),
        "watermark": watermark.map(rfc3339),
        lineage::KEY: witness,
    });
    let gold = swap(new_gold, txns, info, head).await?;
    Ok(vec![gold, late])
}

/// Refuses to lose what came from rows that upstream has let go.
fn require_all(upstream: &Reader, path: &str, extent: Extent) -> Result<()> {
    if upstream.first() == 0 || extent == Extent::KeptOnly {
        return Ok(());
    }
    Err(Error::new(
        Kind::Usage,
        format!(
            "{path} has let go of {} rows below seq {} (keep): a replay would lose what was computed from them",
            upstream.gone(),
            upstream.first()
        ),
    )
    .with_next(
        "`medallion run --apply-from-here` keeps history and applies a changed definition to new rows; \
         `medallion replay --kept-only` rebuilds from what is still there",
    ))
}

async fn swap(rewrite: Rewrite, txns: Vec<(String, i64)>, info: serde_json::Value, position: i64) -> Result<Replayed> {
    let rows = rewrite.rows();
    let table = rewrite.commit(txns, info).await?;
    #[cfg(debug_assertions)]
    crate::failpoint::hit("R3");
    Ok(Replayed {
        table: table.spec().path.clone(),
        rows,
        position,
        version: table.version(),
    })
}
