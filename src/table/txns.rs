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
use object_store::ObjectStoreExt;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::commit::{last_checkpoint, read_entry};
use crate::error::{Context, Error, Kind, Result};

/// The version of every app id at `version`.
pub(super) async fn all(log: &LogStoreRef, version: u64) -> Result<HashMap<String, i64>> {
    let hint = last_checkpoint(log).await?.filter(|hint| *hint <= version);
    let mut newer: Vec<Vec<Action>> = Vec::new();
    let mut at = version;
    let mut txns = loop {
        if hint == Some(at)
            && let Some(txns) = from_checkpoint(log, at).await?
        {
            break txns;
        }
        match read_entry(log, at).await? {
            Some(actions) => newer.push(actions),
            None => break below_the_entries(log, at, version).await?,
        }
        if at == 0 {
            break HashMap::new();
        }
        at -= 1;
    };
    for action in newer.into_iter().rev().flatten() {
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

/// What stands where the entries end: from `cleaned` down they are gone. The hint need not name that log checkpoint: a
/// process may have died before it wrote the hint. A cleanup keeps the entry of its checkpoint's own version.
async fn below_the_entries(log: &LogStoreRef, cleaned: u64, version: u64) -> Result<HashMap<String, i64>> {
    for at in [cleaned + 1, cleaned] {
        if at <= version
            && let Some(txns) = from_checkpoint(log, at).await?
        {
            return Ok(txns);
        }
    }
    Err(Error::new(
        Kind::Damaged,
        format!(
            "the log of {} has neither version {cleaned} nor a log checkpoint there",
            log.root_url()
        ),
    )
    .with_next("restore the table's _delta_log"))
}

/// The `txn` column of the log checkpoint at exactly `version`, in one or several parts; none where there is none.
async fn from_checkpoint(log: &LogStoreRef, version: u64) -> Result<Option<HashMap<String, i64>>> {
    let store = log.object_store(None);
    let what = || format!("reading the log checkpoint {version} of {}", log.root_url());
    let prefix = format!("{version:020}.checkpoint");
    let parts: Vec<_> = store
        .list(Some(log.log_path()))
        .try_filter(|meta| {
            let name = meta.location.filename().unwrap_or_default();
            futures::future::ready(name.starts_with(&prefix) && name.ends_with(".parquet"))
        })
        .try_collect()
        .await
        .or_fail(Kind::Unavailable, what)?;
    if parts.is_empty() {
        return Ok(None);
    }
    let mut txns = HashMap::new();
    for part in parts {
        let file = store.get(&part.location).await.or_fail(Kind::Unavailable, what)?;
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
