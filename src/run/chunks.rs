//! Walking a table's rows by seq in bounded pieces.

use arrow::array::RecordBatch;

use crate::error::Result;
use crate::table::Reader;

/// Bronze rows handled at once by everything that walks history.
pub const CHUNK_ROWS: i64 = 500_000;

/// Calls `take` with the rows of `[from, to)` in pieces of at most [`CHUNK_ROWS`] seqs, in order, empty ones too.
/// Files without a row at or after `since` in the reader's time column are skipped.
pub async fn each(
    reader: &Reader,
    from: i64,
    to: i64,
    columns: &[String],
    since: i64,
    mut take: impl FnMut(i64, i64, &RecordBatch) -> Result<()>,
) -> Result<()> {
    let mut at = from;
    while at < to {
        let end = to.min(at.saturating_add(CHUNK_ROWS));
        let rows = reader.read_since(at, end, columns, since).await?;
        take(at, end, &rows)?;
        at = end;
    }
    Ok(())
}
