//! Walking a table's rows by seq in pieces bounded in rows and in memory.

use std::sync::Arc;

use arrow::array::RecordBatch;
use tokio::task::JoinHandle;

use crate::error::{Context, Kind, Result};
use crate::table::{Ask, Reader};

/// Bronze rows handled at once by everything that walks history.
pub const CHUNK_ROWS: i64 = 500_000;
/// Bytes of rows handled at once, about; as many are being read meanwhile.
pub const CHUNK_BYTES: u64 = 32 << 20;

/// The next piece of `[at, to)` and where it ends: at most [`CHUNK_ROWS`] seqs and about [`CHUNK_BYTES`] bytes.
pub async fn next(reader: &Reader, at: i64, to: i64, columns: &[String]) -> Result<(RecordBatch, i64)> {
    piece(reader, at, to, columns, i64::MIN).await
}

/// The pieces of `[from, to)` as [`next`] gives them, in order, the next one being read while the
/// caller works on the last, so that two are in memory.
pub struct Pieces {
    reader: Arc<Reader>,
    columns: Arc<[String]>,
    since: i64,
    to: i64,
    coming: Option<JoinHandle<Result<(RecordBatch, i64)>>>,
}

impl Pieces {
    /// Begins to read. Files without a row at or after `since` in the reader's time column are skipped.
    pub fn read(reader: &Reader, from: i64, to: i64, columns: &[String], since: i64) -> Self {
        let mut pieces = Self {
            reader: Arc::new(reader.clone()),
            columns: columns.into(),
            since,
            to,
            coming: None,
        };
        pieces.begin(from);
        pieces
    }

    /// The next piece and where it ends; none after the last.
    ///
    /// # Errors
    /// Those of [`Reader::read_within`].
    pub async fn next(&mut self) -> Result<Option<(RecordBatch, i64)>> {
        let Some(coming) = self.coming.take() else {
            return Ok(None);
        };
        let (rows, end) = coming.await.or_fail(Kind::Bug, || "reading ahead")??;
        self.begin(end);
        Ok(Some((rows, end)))
    }

    fn begin(&mut self, at: i64) {
        if at >= self.to {
            return;
        }
        let (reader, columns, since, to) = (self.reader.clone(), self.columns.clone(), self.since, self.to);
        self.coming = Some(tokio::spawn(
            async move { piece(&reader, at, to, &columns, since).await },
        ));
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        if let Some(coming) = &self.coming {
            coming.abort();
        }
    }
}

/// Calls `take` with the rows of `[from, to)` in [`Pieces`], in order, empty ones too.
pub async fn each(
    reader: &Reader,
    from: i64,
    to: i64,
    columns: &[String],
    since: i64,
    mut take: impl FnMut(i64, i64, &RecordBatch) -> Result<()>,
) -> Result<()> {
    let mut at = from;
    let mut pieces = Pieces::read(reader, from, to, columns, since);
    while let Some((rows, end)) = pieces.next().await? {
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
