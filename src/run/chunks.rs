//! Walking a table's rows by seq in pieces bounded in rows and in memory.

use arrow::array::RecordBatch;

use crate::error::Result;
use crate::table::{Ask, Reader};

/// Bronze rows handled at once by everything that walks history.
pub const CHUNK_ROWS: i64 = 500_000;
/// Bytes of rows handled at once, about.
pub const CHUNK_BYTES: u64 = 64 << 20;

/// The next piece of `[at, to)` and where it ends: at most [`CHUNK_ROWS`] seqs and about [`CHUNK_BYTES`] bytes.
pub async fn next(reader: &Reader, at: i64, to: i64, columns: &[String]) -> Result<(RecordBatch, i64)> {
    piece(reader, at, to, columns, i64::MIN).await
}

/// Calls `take` with the rows of `[from, to)` in pieces as [`next`] gives them, in order, empty ones too.
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
        let (rows, end) = piece(reader, at, to, columns, since).await?;
        take(at, end, &rows)?;
        at = end;
    }
    Ok(())
}

async fn piece(reader: &Reader, at: i64, to: i64, columns: &[String], since: i64) -> Result<(RecordBatch, i64)> {
    let end = to.min(at.saturating_add(CHUNK_ROWS));
    let ask = Ask {
        columns,
        since,
        max_bytes: CHUNK_BYTES,
    };
    reader.read_within(at, end, ask).await
}
