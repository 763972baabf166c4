//! The newest rows of a table, for people: the last of those that its newest commits added.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use deltalake::kernel::{Action, Add};
use deltalake::logstore::LogStoreRef;
use futures::TryStreamExt;

use super::commit::read_entry;
use super::failure::Reading;
use super::object::ObjectFile;
use super::read::Span;
use super::scan::conform;
use crate::error::{Context, Kind, Result};

/// Entries that are looked at.
const ENTRIES_MAX: u64 = 50;

/// At most `most` rows of `schema` from the active `files` that the commits up to `version` added last, newest commit
/// first; within a file the last rows, in its order.
pub(super) async fn newest(
    log: &LogStoreRef,
    version: u64,
    files: &HashMap<String, Span>,
    schema: &SchemaRef,
    most: usize,
) -> Result<RecordBatch> {
    let mut parts = Vec::new();
    let mut left = most;
    for at in (version.saturating_sub(ENTRIES_MAX)..=version).rev() {
        let Some(entry) = read_entry(log, at).await? else { break };
        for add in entry.iter().rev().filter_map(added) {
            let Some(span) = files.get(&add.path) else { continue };
            let rows = last_rows(log, &add.path, span, schema, left).await?;
            left -= rows.num_rows().min(left);
            parts.push(rows);
            if left == 0 {
                return joined(schema, &parts);
            }
        }
    }
    joined(schema, &parts)
}

fn joined(schema: &SchemaRef, parts: &[RecordBatch]) -> Result<RecordBatch> {
    concat_batches(schema, parts).or_fail(Kind::Bug, || "joining the newest rows")
}

/// A file with new rows; one that compaction made has none.
fn added(action: &Action) -> Option<&Add> {
    match action {
        Action::Add(add) if add.data_change => Some(add),
        _ => None,
    }
}

async fn last_rows(log: &LogStoreRef, path: &str, span: &Span, schema: &SchemaRef, most: usize) -> Result<RecordBatch> {
    let read = || format!("reading the newest rows of {path}");
    let builder = ObjectFile::open(log.object_store(None), path, span.size).await?;
    let rows = usize::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
    let stream = builder
        .with_offset(rows.saturating_sub(most))
        .with_batch_size(most)
        .build()
        .or_fail(Kind::Damaged, read)?;
    let batches: Vec<RecordBatch> = stream.try_collect().await.or_unreadable(read)?;
    let batches: Vec<RecordBatch> = batches
        .iter()
        .map(|batch| conform(batch, schema, &span.partition_values))
        .collect::<Result<_>>()?;
    joined(schema, &batches)
}
