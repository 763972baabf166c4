//! What became of all records below silver's position: it rides in silver's commits, so that metrics are right from the
//! first moment after a restart.

use arrow::array::{Array, RecordBatch};
use arrow::util::display::array_value_to_string;
use serde_json::Value;

use super::keep::ever;
use super::{chunks, names};
use crate::error::{Context, Error, Kind, Result};
use crate::layer::silver::{Fates, Reason, rejects_schema};
use crate::table::{Lake, Reader, Table};

/// The key of the totals in the state of a silver commit.
pub(super) const KEY: &str = "totals";
/// The key of what became of the records of the step alone.
pub(super) const OF_STEP: &str = "fates";

/// The totals at `position`: from silver's newest commit, or where that has none (another release wrote it, or it took in
/// a definition), counted anew in the tables, without what the rules said and without bronze rows and rejects that were
/// let go.
///
/// # Errors
/// Those of reading the tables.
pub(super) async fn at(lake: &Lake, pipeline: &str, silver: &Table, bronze: &Reader, position: i64) -> Result<Fates> {
    if let Some(totals) = in_info(silver.info()) {
        return Ok(totals);
    }
    let mut totals = Fates {
        accepted: ever(silver).and_then(|rows| u64::try_from(rows).ok()).unwrap_or(0),
        ticks: count(bronze, position, "kind", |kind| kind == "tick").await?,
        ..Fates::default()
    };
    let path = names::rejects_path(pipeline);
    let rejects = Reader::open(lake, &path, rejects_schema(), "seq").await?;
    if let Some(rejects) = rejects {
        for reason in Reason::ALL {
            let rows = count(&rejects, position, "reason", |word| word == reason.word()).await?;
            totals.add_rejected(reason, rows);
        }
    }
    Ok(totals)
}

/// The totals in the state of a silver commit, where it has any.
pub(super) fn in_info(info: Option<&Value>) -> Option<Fates> {
    serde_json::from_value(info?.get(KEY)?.clone()).ok()
}

/// The rows below `position` of which `column` fits.
async fn count(reader: &Reader, position: i64, column: &str, fits: impl Fn(&str) -> bool) -> Result<u64> {
    let mut found = 0;
    let columns = [column.to_owned()];
    chunks::each(
        reader,
        reader.first().min(position),
        position,
        &columns,
        i64::MIN,
        |_, _, rows| {
            found += fitting(rows, column, &fits)?;
            Ok(())
        },
    )
    .await?;
    Ok(found)
}

fn fitting(rows: &RecordBatch, column: &str, fits: &impl Fn(&str) -> bool) -> Result<u64> {
    let values = rows
        .column_by_name(column)
        .ok_or_else(|| Error::new(Kind::Bug, format!("rows have no column {column}")))?;
    let mut found = 0;
    for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
        let text = array_value_to_string(values, row).or_fail(Kind::Damaged, || format!("column {column}"))?;
        found += u64::from(fits(&text));
    }
    Ok(found)
}
