//! Keeping a table small: log checkpoint, log cleanup, compaction, vacuum; by one owner at a time.
//!
//! **Invariant: rows before = rows after.** Compaction commits only when the files it writes hold exactly the rows
//! of the files it removes, and a guard transaction makes two owners exclude each other.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use arrow::compute::concat_batches;
use deltalake::kernel::{Action, Add};
use deltalake::protocol::checkpoints::{cleanup_expired_logs_for, create_checkpoint};
use futures::TryStreamExt;
use serde::Serialize;
use serde_json::{Value, json};

use super::commit::{Commit, commit, last_checkpoint};
use super::failure::Reading;
use super::object::ObjectFile;
use super::opened::{active_files, load};
use super::read::conform;
use super::swap::tombstone;
use super::torn::torn;
use super::write::Layout;
use super::{Lake, TableSpec};
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
    let before = active_files(&table)?;
    let version = table.version().unwrap_or_default();
    let files_before = before.len();
    let rows_before = rows(&before)?;
    compact(lake, spec, policy, version, before)
        .await
        .map_err(|error| error.context(what()))?;

    let loaded = async || load(&log).await?.ok_or_else(|| Error::new(Kind::Damaged, what()));
    let table = loaded().await?;
    create_checkpoint(&table, None).await.or_fail(Kind::Unavailable, what)?;
    let checkpoint_version = table.version().unwrap_or_default();
    // IMPORTANT: before the entries that it sums up are cleaned, it must be there and whole.
    if let Some(torn) = torn(&log).await? {
        return Err(torn.told(&log).context(what()));
    }
    let age = |age: Duration| i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    let cutoff = lake.clock().now().div_euclid(1000) - age(policy.log_retention);
    // A checkpoint whose writer died before it named it is never named by the library later. A writer that stands below
    // an unnamed checkpoint would take a cleaned version for a free one, so nothing is cleaned up to it.
    let log_files_removed = match last_checkpoint(&log).await? == Some(checkpoint_version) {
        true => cleanup_expired_logs_for(checkpoint_version, log.as_ref(), cutoff, None)
            .await
            .or_fail(Kind::Unavailable, what)?,
        false => 0,
    };
    let vacuum_age = chrono::Duration::from_std(policy.vacuum_age.max(VACUUM_AGE_MIN)).or_fail(Kind::Usage, what)?;
    // Loaded anew: vacuum reads the log for removed files, and the entries that the cleanup took are read no more.
    let (table, metrics) = loaded()
        .await?
        .vacuum()
        .with_retention_period(vacuum_age)
        .with_enforce_retention_duration(false)
        .await
        .or_fail(Kind::Unavailable, what)?;
    let after = active_files(&table)?;
    Ok(Some(Report {
        table: spec.path.clone(),
        files_before,
        files_after: after.len(),
        rows: rows_before,
        checkpoint_version,
        log_files_removed,
        data_files_removed: metrics.files_deleted.len(),
    }))
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

async fn compact(lake: &Lake, spec: &TableSpec, policy: Policy, version: u64, files: Vec<Add>) -> Result<()> {
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
        let adds = layout.write(store.as_ref(), &merged, now_ms, false).await?;
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
    let app = format!("medallion/maintain/{}", spec.path);
    let request = Commit {
        table: &spec.path,
        operation: "OPTIMIZE",
        actions,
        txns: vec![(app.clone(), now_ms)],
        app_prefix: &app,
        appends_pass: true,
        info: json!({"maintain": "compaction"}),
        writer: lake.writer(),
        timestamp_ms: now_ms,
    };
    commit(&log, version, &request).await.map(drop)
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
