//! All application transactions of a table: the positions, without knowing their names beforehand.
//!
//! deltalake answers for one app id; bronze needs every partition's. So this replays the `txn` actions alone: the
//! newest log checkpoint's `txn` column, then the entries after it.

use std::collections::HashMap;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use deltalake::kernel::Action;
use deltalake::logstore::LogStoreRef;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::commit::{last_checkpoint, read_entry};
use crate::error::{Context, Error, Kind, Result};

/// The version of every app id at `version`.
pub(super) async fn all(log: &LogStoreRef, version: u64) -> Result<HashMap<String, i64>> {
    let hint = last_checkpoint(log).await?.filter(|hint| *hint <= version);
    let mut newer: Vec<(u64, Vec<Action>)> = Vec::new();
    let mut at = version;
    let mut txns = loop {
        if hint == Some(at)
            && let Some(txns) = from_checkpoint(log, at).await?
        {
            break txns;
        }
        match read_entry(log, at).await? {
            Some(actions) => newer.push((at, actions)),
            // The entries from here down were cleaned. The log checkpoint that sums them up stands here or at one of
            // the entries that were kept, and the hint may name an older one or none: it is written last, if at all.
            None => {
                let stands = newest_checkpoint(log, at, version).await?;
                newer.retain(|(entry, _)| *entry > stands);
                break from_checkpoint(log, stands).await?.unwrap_or_default();
            }
        }
        if at == 0 {
            break HashMap::new();
        }
        at -= 1;
    };
    for action in newer.into_iter().rev().flat_map(|(_, actions)| actions) {
        if let Action::Txn(txn) = action {
            txns.insert(txn.app_id, txn.version);
        }
    }
    Ok(txns)
}

/// The app ids that begin with `prefix`, that taken off, and their versions.
pub(super) fn under(txns: &HashMap<String, i64>, prefix: &str) -> Vec<(String, i64)> {
    txns.iter()
        .filter_map(|(app, version)| Some((app.strip_prefix(prefix)?.to_owned(), *version)))
        .collect()
}

/// The version of the newest log checkpoint from `low` to `high`.
async fn newest_checkpoint(log: &LogStoreRef, low: u64, high: u64) -> Result<u64> {
    let found = checkpoint_files(log).await?;
    let newest = found
        .iter()
        .map(|(version, _)| *version)
        .filter(|it| (low..=high).contains(it))
        .max();
    newest.ok_or_else(|| {
        Error::new(
            Kind::Damaged,
            format!(
                "the log of {} has neither version {low} nor a log checkpoint from there to version {high}",
                log.root_url()
            ),
        )
        .with_next("restore the table's _delta_log")
    })
}

/// The files of log checkpoints, each with its version.
async fn checkpoint_files(log: &LogStoreRef) -> Result<Vec<(u64, Path)>> {
    let of_checkpoint = |meta: ObjectMeta| {
        let (version, rest) = meta.location.filename()?.split_once('.')?;
        let ours = rest.starts_with("checkpoint") && rest.ends_with(".parquet");
        Some((version.parse().ok().filter(|_| ours)?, meta.location.clone()))
    };
    log.object_store(None)
        .list(Some(log.log_path()))
        .try_filter_map(|meta| futures::future::ready(Ok(of_checkpoint(meta))))
        .try_collect()
        .await
        .or_fail(Kind::Unavailable, || format!("listing the log of {}", log.root_url()))
}

/// The `txn` column of the log checkpoint at exactly `version`, in one or several parts; none where there is none.
async fn from_checkpoint(log: &LogStoreRef, version: u64) -> Result<Option<HashMap<String, i64>>> {
    let store = log.object_store(None);
    let what = || format!("reading the log checkpoint {version} of {}", log.root_url());
    let mut parts = checkpoint_files(log).await?;
    parts.retain(|(found, _)| *found == version);
    if parts.is_empty() {
        return Ok(None);
    }
    let mut txns = HashMap::new();
    for (_, part) in parts {
        let file = store.get(&part).await.or_fail(Kind::Unavailable, what)?;
        let bytes = file.bytes().await.or_fail(Kind::Unavailable, what)?;
        read_txn_column(bytes, &mut txns).map_err(|error| error.context(what()))?;
    }
    Ok(Some(txns))
}

fn read_txn_column(bytes: bytes::Bytes, txns: &mut HashMap<String, i64>) -> Result<()> {
    let damaged = || "the txn column";
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).or_fail(Kind::Damaged, damaged)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), ["txn.appId", "txn.version"]);
    for batch in builder.with_projection(mask).build().or_fail(Kind::Damaged, damaged)? {
        let batch = batch.or_fail(Kind::Damaged, damaged)?;
        let Some(txn) = batch.column_by_name("txn").and_then(|column| column.as_struct_opt()) else {
            continue;
        };
        let (Some(apps), Some(versions)) = (
            txn.column_by_name("appId")
                .and_then(|column| column.as_string_opt::<i32>()),
            txn.column_by_name("version")
                .and_then(|column| column.as_primitive_opt::<Int64Type>()),
        ) else {
            return Err(Error::new(Kind::Damaged, "the txn column has an unknown shape"));
        };
        for row in 0..txn.len() {
            if txn.is_valid(row) && apps.is_valid(row) && versions.is_valid(row) {
                txns.insert(apps.value(row).to_owned(), versions.value(row));
            }
        }
    }
    Ok(())
}
