//! Replacing a table's whole content in one commit: what a replay ends with.

use deltalake::kernel::{Action, Add, Remove};
use serde_json::Value;

use super::Table;
use super::load::{active_files, load};
use crate::error::{Error, Kind, Result};

use arrow::array::RecordBatch;

/// New content of a table, written beside the old until [`Rewrite::commit`].
pub struct Rewrite {
    table: Table,
    adds: Vec<Add>,
    rows: u64,
}

impl Rewrite {
    /// Begins rewriting `table`, whose spec carries the new columns, fingerprint and generation.
    pub fn begin(table: Table) -> Self {
        Self {
            table,
            adds: Vec::new(),
            rows: 0,
        }
    }

    /// Rows written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes rows of the new content; nobody sees them yet.
    pub async fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        self.adds
            .extend(self.table.write(rows).await?.into_iter().map(|file| file.add));
        self.rows += rows.num_rows() as u64;
        Ok(())
    }

    /// Swaps: old files out, new files in, new columns and positions, one commit. Returns the table.
    ///
    /// Errors: [`Kind::Fenced`] when a writer moved the table meanwhile; the old content then stands.
    pub async fn commit(mut self, txns: Vec<(String, i64)>, info: Value) -> Result<Table> {
        let path = self.table.spec().path.clone();
        let delta = load(self.table.log())
            .await?
            .ok_or_else(|| Error::new(Kind::Damaged, format!("table {path} is gone")))?;
        if delta.version() != Some(self.table.version()) {
            return Err(Error::new(
                Kind::Fenced,
                format!(
                    "table {path} moved on from version {} during the replay",
                    self.table.version()
                ),
            )
            .with_next("stop its writer and its maintenance, then replay again; the old content stands"));
        }
        let now_ms = self.table.lake().clock().now().div_euclid(1000);
        let mut actions = vec![Action::Metadata(
            self.table.keep_id(self.table.spec().metadata()?).await?,
        )];
        actions.extend(
            active_files(&delta)?
                .into_iter()
                .map(|add| Action::Remove(tombstone(add, now_ms, true))),
        );
        actions.extend(self.adds.drain(..).map(Action::Add));
        let all_there = self.table.all_there();
        let txns = txns.into_iter().chain(all_there).collect();
        self.table.commit("REPLAY", actions, txns, info).await?;
        Ok(self.table)
    }
}

/// The removal of a file that `add` brought.
pub(super) fn tombstone(add: Add, now_ms: i64, data_change: bool) -> Remove {
    Remove {
        path: add.path,
        data_change,
        deletion_timestamp: Some(now_ms),
        extended_file_metadata: Some(true),
        partition_values: Some(add.partition_values),
        size: Some(add.size),
        ..Default::default()
    }
}
