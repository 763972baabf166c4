//! Silver's state after a restart, from the tables alone.
//!
//! The watermark rides in the newest commit. Where the log no longer has that commit, it is recomputed by walking
//! bronze (which partition a record came from, and the ticks) beside silver (which records were accepted, and when
//! they happened). The dedupe state is the keys of silver's rows.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use serde_json::Value;

use super::chunks;
use super::tables::SEQ;
use crate::definition::Silver;
use crate::error::{Context, Error, Kind, Result};
use crate::layer::bronze::Tick;
use crate::layer::silver::{Plan, State, Watermarks};
use crate::table::Reader;

/// The state at `position` of a silver that began at `begun`, given a reader of silver and of bronze and the own state of
/// the commit that reached `position`.
pub async fn silver_state(
    plan: &Plan,
    definition: &Silver,
    [begun, position]: [i64; 2],
    info: Option<&Value>,
    silver: &Reader,
    bronze: &Reader,
) -> Result<State> {
    let mut state = State {
        watermarks: silver_watermarks(definition, [begun, position], info, silver, bronze).await?,
        ..State::default()
    };
    remember(plan, silver, silver.first(), position, &mut state).await?;
    Ok(state)
}

/// The watermarks at `position`, from the newest commit's own state, or recomputed from where silver began where that is
/// gone.
///
/// # Errors
/// Those of reading; [`Kind::Damaged`] where neither is there any more.
pub async fn silver_watermarks(
    definition: &Silver,
    [begun, position]: [i64; 2],
    info: Option<&Value>,
    silver: &Reader,
    bronze: &Reader,
) -> Result<Watermarks> {
    match watermarks_in(info, position) {
        Some(watermarks) => Ok(watermarks),
        None if bronze.first() > begun && position > begun => Err(Error::new(
            Kind::Damaged,
            format!(
                "silver's newest commit at seq {position} no longer says its watermarks, and bronze has let go of the rows \
                 below seq {} that they came from",
                bronze.first()
            ),
        )
        .with_next("run `medallion replay silver --kept-only`: silver begins anew with what bronze still has")),
        None => recompute_watermarks(definition, [begun, position], silver, bronze).await,
    }
}

/// Puts the keys of silver's rows in `[from, to)` into the state, whose watermarks are those at `to`. Returns how many
/// they are, 0 where nothing is to be remembered.
pub async fn remember(plan: &Plan, silver: &Reader, from: i64, to: i64, state: &mut State) -> Result<u64> {
    let columns = plan.remember_columns();
    if columns.is_empty() {
        return Ok(0);
    }
    let mut count = 0;
    chunks::each(silver, from, to, &columns, i64::MIN, |_, _, rows| {
        count += rows.num_rows() as u64;
        plan.remember(rows, state)
    })
    .await?;
    Ok(count)
}

/// The watermarks in a commit's state, if it is the commit of this position.
fn watermarks_in(info: Option<&Value>, position: i64) -> Option<Watermarks> {
    let info = info?;
    if info.get("position")?.as_i64()? != position {
        return None;
    }
    watermarks_of(info)
}

/// The watermarks in a silver commit's state, where it has them.
pub fn watermarks_of(info: &Value) -> Option<Watermarks> {
    serde_json::from_value(info.get("watermarks")?.clone()).ok()
}

async fn recompute_watermarks(
    definition: &Silver,
    [begun, position]: [i64; 2],
    silver: &Reader,
    bronze: &Reader,
) -> Result<Watermarks> {
    let mut watermarks = Watermarks::default();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let bronze_columns = names(&["seq", "kind", "topic", "partition", "value"]);
    let silver_columns = names(&[SEQ, definition.event_time.as_str()]);
    let mut at = begun;
    while at < position {
        let (records, end) = chunks::next(bronze, at, position, &bronze_columns).await?;
        let accepted = silver.read(at, end, &silver_columns).await?;
        walk(&records, &accepted, &definition.event_time, &mut watermarks)?;
        at = end;
    }
    Ok(watermarks)
}

/// Moves the watermarks over records and ticks in seq order, as silver did.
fn walk(records: &RecordBatch, accepted: &RecordBatch, event_time: &str, watermarks: &mut Watermarks) -> Result<()> {
    let lacking = || Error::new(Kind::Bug, "recovery reads a column that is not there");
    let column = |batch: &RecordBatch, name: &str| batch.column_by_name(name).cloned().ok_or_else(lacking);
    let (seqs, kinds) = (column(records, "seq")?, column(records, "kind")?);
    let (topics, partitions) = (column(records, "topic")?, column(records, "partition")?);
    let values = column(records, "value")?;
    let (seqs, kinds) = (seqs.as_primitive::<Int64Type>(), kinds.as_string::<i32>());
    let (topics, partitions) = (topics.as_string::<i32>(), partitions.as_primitive::<Int32Type>());
    let values = values.as_binary::<i32>();
    let (accepted_seqs, times) = (column(accepted, SEQ)?, column(accepted, event_time)?);
    let accepted_seqs = accepted_seqs.as_primitive::<Int64Type>();
    let times = times.as_primitive::<TimestampMicrosecondType>();
    let mut next_accepted = 0;
    for row in 0..records.num_rows() {
        if kinds.value(row) == "tick" {
            let tick: Tick = serde_json::from_slice(values.value(row))
                .or_fail(Kind::Damaged, || format!("the tick at seq {}", seqs.value(row)))?;
            watermarks.tick(&tick);
            continue;
        }
        let partition = format!("{}/{}", topics.value(row), partitions.value(row));
        watermarks.record_seen(&partition);
        if next_accepted < accepted_seqs.len() && accepted_seqs.value(next_accepted) == seqs.value(row) {
            watermarks.accepted(&partition, times.value(next_accepted));
            next_accepted += 1;
        }
    }
    Ok(())
}
