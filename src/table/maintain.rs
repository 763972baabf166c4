//! Keeping a table small: log checkpoint, log cleanup, compaction, vacuum; by one owner at a time.
//!
//! **Invariant: rows before = rows after.** Compaction commits only when the files it writes hold exactly the rows
//! of the files it removes, and a guard transaction makes two owners exclude each other. What is deleted by age is
//! deleted only where the clock can be right ([`super::age`]).

use std::sync::Arc;
use std::time::Duration;

use deltalake::DeltaTable;
use deltalake::logstore::{LogStoreRef, commit_uri_from_version};
use deltalake::protocol::checkpoints::{cleanup_expired_logs_for, create_checkpoint};
use object_store::{Error as StoreError, ObjectStoreExt};
use serde::Serialize;

use super::age::Ages;
use super::commit::last_checkpoint;
use super::compact::Compaction;
use super::crowded::crowded;
use super::foreign::{miscounted, newest_stand, promised_rows, since_ours};
use super::load::{load, totals};
use super::torn::torn;
use super::{Lake, TableSpec, txns};
use crate::clock::Micros;
use crate::error::{Context, Error, Kind, Result};

/// Least age of a removed file before vacuum deletes it: a reader or a replay may still be at it.
pub const VACUUM_AGE_MIN: Duration = Duration::from_secs(3600);

/// What maintenance may do.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Files below half of this are compacted into files of about this size, in bytes.
    pub target_bytes: i64,
    /// Log entries older than this are cleaned.
    pub log_retention: Duration,
    /// Removed files older than this are deleted.
    pub vacuum_age: Duration,
}

/// What maintenance did to one table.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct Report {
    /// The table's path in the lake.
    pub table: String,
    /// Active files before and after.
    pub files_before: usize,
    /// Active files after.
    pub files_after: usize,
    /// Rows before, which are the rows after.
    pub rows: i64,
    /// Version of the log checkpoint written.
    pub checkpoint_version: u64,
    /// Log files deleted.
    pub log_files_removed: usize,
    /// Data files deleted by vacuum.
    pub data_files_removed: usize,
    /// Why nothing was deleted, where the clock cannot be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_back: Option<String>,
}

/// Maintains one table; none where it does not exist.
///
/// Errors: [`Kind::Fenced`] when another owner is at it, [`Kind::Damaged`] when rows do not add up (nothing is
/// committed then).
pub async fn maintain(lake: &Lake, spec: &TableSpec, policy: Policy) -> Result<Option<Report>> {
    let log = lake.log_store(&spec.path)?;
    let what = || format!("maintaining {}", spec.path);
    if let Some(torn) = torn(&log).await? {
        torn.remove(&log).await?;
    }
    let Some(table) = load(&log).await? else {
        return Ok(None);
    };
    let before = totals(&table)?;
    let version = table.version().unwrap_or_default();
    let rows_before = before.rows.ok_or_else(|| {
        Error::new(
            Kind::Damaged,
            format!("a file of {} has no row count in the log", spec.path),
        )
    })?;
    let metadata = table.snapshot().or_fail(Kind::Damaged, what)?.metadata().clone();
    let promised = promised_rows(&txns::all(&log, version).await?);
    if let Some(harm) = miscounted(Some(rows_before), promised) {
        return Err(harm.error(&spec.path));
    }
    let compaction = Compaction {
        lake,
        spec,
        metadata: &metadata,
        state: since_ours(&log, &table).await?.info,
    };
    let small = crowded(&table, &spec.partition_by, policy.target_bytes / 2)?;
    // What a snapshot of millions of files takes is taken once.
    drop(table);
    let alone = compaction
        .run(policy.target_bytes, version, small)
        .await
        .map_err(|error| error.context(what()))?;

    let loaded = async || load(&log).await?.ok_or_else(|| Error::new(Kind::Damaged, what()));
    let table = loaded().await?;
    create_checkpoint(&table, None).await.or_fail(Kind::Unavailable, what)?;
    let checkpoint_version = table.version().unwrap_or_default();
    drop(table);
    // IMPORTANT: before the entries that it sums up are cleaned, it must be there and whole.
    if let Some(torn) = torn(&log).await? {
        return Err(torn.told(&log).context(what()));
    }
    let now_ms = lake.clock().now().div_euclid(1000);
    let ages = Ages::of(&log, now_ms).await?;
    let held_back = ages.clock_went_back();
    let [log_files_removed, data_files_removed] = match &held_back {
        // Where another commit came between, the state that the compaction carries on is not the newest.
        None => delete_old(&log, &ages, policy, now_ms, alone.then_some(checkpoint_version))
            .await
            .map_err(|error| error.context(what()))?,
        Some(why) => {
            tracing::warn!(table = spec.path, why, "nothing was deleted");
            [0, 0]
        }
    };
    let after = totals(&loaded().await?)?;
    Ok(Some(Report {
        table: spec.path.clone(),
        files_before: usize::try_from(before.files).unwrap_or(usize::MAX),
        files_after: usize::try_from(after.files).unwrap_or(usize::MAX),
        rows: rows_before,
        checkpoint_version,
        log_files_removed,
        data_files_removed,
        held_back,
    }))
}

/// Deletes what the policy calls old: entries of the log below a log checkpoint, if one is given, and data files that are in
/// the table no more. Returns how many of each.
async fn delete_old(
    log: &LogStoreRef,
    ages: &Ages,
    policy: Policy,
    now_ms: i64,
    checkpoint: Option<u64>,
) -> Result<[usize; 2]> {
    let entries = match checkpoint {
        Some(checkpoint) => clean_log(log, ages, now_ms, checkpoint, policy.log_retention).await?,
        None => 0,
    };
    // Loaded after that: vacuum reads the log for removed files, and the entries that the cleanup took are read no more.
    let table = load(log).await?;
    let table = table.ok_or_else(|| Error::new(Kind::Damaged, "the table is gone"))?;
    Ok([entries, vacuum(table, ages, now_ms, policy.vacuum_age).await?])
}

/// When the table at `path` was maintained last, in UTC microseconds: when its newest log checkpoint was written, or where it
/// has none its first entry. None where there is no table.
///
/// # Errors
/// [`Kind::Unavailable`] where the store cannot be asked.
pub async fn last(lake: &Lake, path: &str) -> Result<Option<Micros>> {
    let log = lake.log_store(path)?;
    let store = log.object_store(None);
    for file in [
        log.log_path().clone().join("_last_checkpoint"),
        commit_uri_from_version(Some(0)),
    ] {
        match store.head(&file).await {
            Ok(found) => return Ok(Some(found.last_modified.timestamp_micros())),
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error).or_fail(Kind::Unavailable, || format!("looking at the log of {path}")),
        }
    }
    Ok(None)
}

/// Deletes log entries below the log checkpoint that are older than `retention`. Returns how many.
async fn clean_log(
    log: &LogStoreRef,
    ages: &Ages,
    now_ms: i64,
    checkpoint_version: u64,
    retention: Duration,
) -> Result<usize> {
    // A checkpoint whose writer died before it named it is never named by the library later. A writer that stands below
    // an unnamed checkpoint would take a cleaned version for a free one, so nothing is cleaned up to it.
    if last_checkpoint(log).await? != Some(checkpoint_version) {
        return Ok(0);
    }
    let young = ages
        .first_young(retention)
        .map_or(checkpoint_version, |(version, _)| version);
    // A restart goes on from the state in our newest commit, which a table at rest under other tools would lose.
    let keep = newest_stand(log, checkpoint_version)
        .await?
        .map_or(young, |stand| stand.min(young));
    let cutoff = now_ms - millis(retention);
    cleanup_expired_logs_for(keep.min(checkpoint_version), log.as_ref(), cutoff, None)
        .await
        .or_fail(Kind::Unavailable, || "cleaning the log")
}

/// Deletes data files that were removed from the table longer than `age` ago. Returns how many.
async fn vacuum(table: DeltaTable, ages: &Ages, now_ms: i64, age: Duration) -> Result<usize> {
    let age = age.max(VACUUM_AGE_MIN);
    let since_young = ages.first_young(age).map_or(0, |(_, written)| now_ms - written);
    let retention = chrono::Duration::milliseconds(millis(age).max(since_young));
    let (_, metrics) = table
        .vacuum()
        .with_retention_period(retention)
        .with_enforce_retention_duration(false)
        .with_clock(Arc::new(At(now_ms)))
        .await
        .or_fail(Kind::Unavailable, || "vacuum")?;
    Ok(metrics.files_deleted.len())
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

/// The lake's clock as vacuum asks for it.
#[derive(Debug)]
struct At(i64);

impl deltalake::operations::vacuum::Clock for At {
    fn current_timestamp_millis(&self) -> i64 {
        self.0
    }
}
