//! Keeping a table small: log checkpoint, log cleanup, compaction, vacuum; by one owner at a time.
//!
//! **Invariant: rows before = rows after.** Compaction commits only when the files it writes hold exactly the rows
//! of the files it removes, and a guard transaction makes two owners exclude each other. What is deleted by age is
//! deleted only where the clock can be right ([`super::age`]).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arrow::compute::concat_batches;
use deltalake::DeltaTable;
use deltalake::kernel::{Action, Add, Metadata};
use deltalake::logstore::LogStoreRef;
use deltalake::protocol::checkpoints::{cleanup_expired_logs_for, create_checkpoint};
use futures::TryStreamExt;
use serde::Serialize;
use serde_json::{Value, json};

use super::age::Ages;
use super::commit::{Commit, commit, last_checkpoint};
use super::crowded::crowded;
use super::extent::Extent;
use super::failure::Reading;
use super::foreign::{MAINTAIN, miscounted, promised_rows};
use super::load::{load, totals};
use super::object::ObjectFile;
use super::scan::conform;
use super::swap::tombstone;
use super::torn::torn;
use super::write::Layout;
use super::{Lake, TableSpec, txns};
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
    let small = crowded(&table, &spec.partition_by, policy.target_bytes / 2)?;
    // What a snapshot of millions of files takes is taken once.
    drop(table);
    compact(lake, spec, policy, version, small, metadata)
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
    let (mut log_files_removed, mut data_files_removed) = (0, 0);
    match &held_back {
        None => {
            log_files_removed = clean_log(&log, &ages, now_ms, checkpoint_version, policy.log_retention)
                .await
                .map_err(|error| error.context(what()))?;
            // Loaded anew: vacuum reads the log for removed files, and the entries that the cleanup took are read no more.
            data_files_removed = vacuum(loaded().await?, &ages, now_ms, policy.vacuum_age)
                .await
                .map_err(|error| error.context(what()))?;
        }
        Some(why) => tracing::warn!(table = spec.path, why, "nothing was deleted"),
    }
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
    let keep = ages
        .first_young(retention)
        .map_or(checkpoint_version, |(version, _)| version);
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

fn rows(files: &[Add]) -> Result<i64> {
    files.iter().map(file_rows).sum()
}

fn file_rows(file: &Add) -> Result<i64> {
    let stats: Option<Value> = file.stats.as_deref().and_then(|stats| serde_json::from_str(stats).ok());
    stats
        .and_then(|stats| stats.get("numRecords")?.as_i64())
        .ok_or_else(|| Error::new(Kind::Damaged, format!("file {} has no row count in the log", file.path)))
}

async fn compact(
    lake: &Lake,
    spec: &TableSpec,
    policy: Policy,
    version: u64,
    files: Vec<Add>,
    metadata: Metadata,
) -> Result<()> {
    let log = lake.log_store(&spec.path)?;
    let layout = Layout::new(&spec.schema, &spec.partition_by)?;
    let now_ms = lake.clock().now().div_euclid(1000);
    let mut actions = Vec::new();
    for group in groups(spec, policy.target_bytes, files) {
        let mut parts = Vec::new();
        for file in &group {
            read_whole(lake, spec, file, &mut parts).await?;
        }
        let merged = concat_batches(&spec.schema, &parts).or_fail(Kind::Bug, || "joining batches")?;
        let store = log.object_store(None);
        let written = layout.write(store.as_ref(), &merged, now_ms, false).await?;
        let adds: Vec<Add> = written.into_iter().map(|file| file.add).collect();
        let (taken, given) = (rows(&group)?, rows(&adds)?);
        if taken != given || adds.len() != 1 {
            return Err(Error::new(
                Kind::Damaged,
                format!(
                    "compacting {} files with {taken} rows gave {} with {given}",
                    group.len(),
                    adds.len()
                ),
            )
            .with_next("nothing was committed; the files' statistics in the log are wrong"));
        }
        actions.extend(
            group
                .into_iter()
                .map(|file| Action::Remove(tombstone(file, now_ms, false))),
        );
        actions.extend(adds.into_iter().map(Action::Add));
    }
    if actions.is_empty() {
        return Ok(());
    }
    // The metadata as it is: deltalake lets a compaction that began before this one commit after it, and so double every
    // row of the files that both took, unless the metadata was touched in between.
    actions.push(Action::Metadata(metadata.clone()));
    let app = format!("{MAINTAIN}{}", spec.path);
    let request = Commit {
        table: &spec.path,
        operation: "OPTIMIZE",
        actions,
        txns: vec![(app.clone(), now_ms)],
        app_prefix: &app,
        moves_rows_only: true,
        metadata: Some(&metadata),
        info: json!({"maintain": "compaction"}),
        writer: lake.writer(),
        timestamp_ms: now_ms,
    };
    commit(&log, version, &request, &mut Extent::default()).await.map(drop)
}

type PartitionKey = Vec<Option<String>>;

/// Runs of small files of one partition, in seq order, each run of about the target size and at least two files.
fn groups(spec: &TableSpec, target_bytes: i64, files: Vec<Add>) -> Vec<Vec<Add>> {
    let low = |file: &Add| -> Option<i64> {
        let stats: Value = serde_json::from_str(file.stats.as_deref()?).ok()?;
        stats.get("minValues")?.get(spec.seq_column.as_deref()?)?.as_i64()
    };
    let mut partitions: BTreeMap<PartitionKey, Vec<(Option<i64>, Add)>> = BTreeMap::new();
    for file in files {
        if file.size >= target_bytes / 2 {
            continue;
        }
        let value = |name: &String| file.partition_values.get(name).cloned().flatten();
        let key = spec.partition_by.iter().map(value).collect();
        partitions.entry(key).or_default().push((low(&file), file));
    }
    let mut groups = Vec::new();
    for mut files in partitions.into_values() {
        files.sort_by(|(a_low, a), (b_low, b)| (a_low, &a.path).cmp(&(b_low, &b.path)));
        let mut run: Vec<Add> = Vec::new();
        let mut bytes = 0;
        for (_, file) in files {
            bytes += file.size;
            run.push(file);
            if bytes >= target_bytes {
                bytes = 0;
                groups.push(std::mem::take(&mut run));
            }
        }
        groups.push(run);
    }
    groups.retain(|group| group.len() > 1);
    groups
}

async fn read_whole(
    lake: &Lake,
    spec: &TableSpec,
    file: &Add,
    parts: &mut Vec<arrow::array::RecordBatch>,
) -> Result<()> {
    let read = || format!("reading {}", file.path);
    let store = lake.log_store(&spec.path)?.object_store(None);
    let builder = ObjectFile::open(store, &file.path, u64::try_from(file.size).unwrap_or_default()).await?;
    let mut stream = builder.build().or_fail(Kind::Damaged, read)?;
    let values: &HashMap<_, _> = &file.partition_values;
    while let Some(batch) = stream.try_next().await.or_unreadable(read)? {
        parts.push(conform(&batch, &spec.schema, values)?);
    }
    Ok(())
}
