//! Compaction: small files of a partition become one, row by row in seq order, in one commit that changes no row.

use std::collections::BTreeMap;

use deltalake::kernel::{Action, Add, Metadata};
use futures::TryStreamExt;
use serde_json::{Value, json};

use super::commit::{Commit, commit};
use super::extent::Extent;
use super::failure::Reading;
use super::foreign::{CARRIED, MAINTAIN};
use super::object::ObjectFile;
use super::scan::conform;
use super::swap::tombstone;
use super::write::{DataFile, Layout};
use super::{Lake, TableSpec};
use crate::error::{Context, Error, Kind, Result};

/// A compaction of one table.
pub(super) struct Compaction<'a> {
    pub(super) lake: &'a Lake,
    pub(super) spec: &'a TableSpec,
    /// The table's metadata.
    pub(super) metadata: &'a Metadata,
    /// The state of our newest commit, which its own carries on.
    pub(super) state: Option<Value>,
}

impl Compaction<'_> {
    /// Compacts the small ones of `files`, which are those of `version`, into files of about `target_bytes`. In memory is
    /// one of them, encoded, and the row group at hand. Returns whether nothing was committed between `version` and its
    /// own commit.
    ///
    /// Errors: [`Kind::Damaged`] where rows do not add up, [`Kind::Unavailable`] where it gave way to another commit,
    /// nothing being committed.
    pub(super) async fn run(&self, target_bytes: i64, version: u64, files: Vec<Add>) -> Result<bool> {
        let Self { lake, spec, .. } = self;
        let layout = Layout::new(&spec.schema, &spec.partition_by)?;
        let now_ms = lake.clock().now().div_euclid(1000);
        let mut actions = Vec::new();
        for group in groups(spec, target_bytes, files) {
            let add = merge(lake, spec, &layout, &group, now_ms).await?;
            let removed = group.into_iter().map(|file| tombstone(file, now_ms, false));
            actions.extend(removed.map(Action::Remove));
            actions.push(Action::Add(add));
        }
        match actions.is_empty() {
            true => Ok(true),
            false => Ok(self.commit(version, actions, now_ms).await? == version + 1),
        }
    }

    async fn commit(&self, version: u64, mut actions: Vec<Action>, now_ms: i64) -> Result<u64> {
        let Self {
            lake,
            spec,
            metadata,
            state,
        } = self;
        // The metadata as it is: deltalake lets a compaction that began before this one commit after it, and so double
        // every row of the files that both took, unless the metadata was touched in between.
        actions.push(Action::Metadata((*metadata).clone()));
        let app = format!("{MAINTAIN}{}", spec.path);
        let request = Commit {
            table: &spec.path,
            operation: "OPTIMIZE",
            actions,
            txns: vec![(app.clone(), now_ms)],
            app_prefix: &app,
            moves_rows_only: true,
            gives_way: true,
            metadata: Some(metadata),
            info: json!({"maintain": "compaction", CARRIED: state}),
            writer: lake.writer(),
            timestamp_ms: now_ms,
        };
        let log = lake.log_store(&spec.path)?;
        commit(&log, version, &request, &mut Extent::default()).await
    }
}

/// Writes the rows of `group`, files of one partition, as one file.
async fn merge(lake: &Lake, spec: &TableSpec, layout: &Layout, group: &[Add], now_ms: i64) -> Result<Add> {
    let of = |file: &Add, name: &String| file.partition_values.get(name).cloned().flatten();
    let first = group.first().ok_or_else(|| Error::new(Kind::Bug, "an empty group"))?;
    let values = spec.partition_by.iter().map(|name| of(first, name)).collect();
    let mut merged = layout.begin(values, 0)?;
    for file in group {
        push_all(lake, spec, file, &mut merged).await?;
    }
    let (taken, given) = (rows(group)?, merged.rows());
    if i64::try_from(given).ok() != Some(taken) {
        return Err(Error::new(
            Kind::Damaged,
            format!(
                "the log promises {taken} rows in {} files, and they hold {given}",
                group.len()
            ),
        )
        .with_next("nothing was committed; the files' statistics in the log are wrong"));
    }
    let store = lake.log_store(&spec.path)?.object_store(None);
    merged.finish(store.as_ref(), now_ms, false).await
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

async fn push_all(lake: &Lake, spec: &TableSpec, file: &Add, merged: &mut DataFile<'_>) -> Result<()> {
    let read = || format!("reading {}", file.path);
    let store = lake.log_store(&spec.path)?.object_store(None);
    let builder = ObjectFile::open(store, &file.path, u64::try_from(file.size).unwrap_or_default()).await?;
    let mut stream = builder.build().or_fail(Kind::Damaged, read)?;
    while let Some(batch) = stream.try_next().await.or_unreadable(read)? {
        merged.push(&conform(&batch, &spec.schema, &file.partition_values)?)?;
    }
    Ok(())
}

/// The rows of `files`, as the log has them.
///
/// Errors: [`Kind::Damaged`] where it does not say for one.
fn rows(files: &[Add]) -> Result<i64> {
    files.iter().map(file_rows).sum()
}

fn file_rows(file: &Add) -> Result<i64> {
    let stats: Option<Value> = file.stats.as_deref().and_then(|stats| serde_json::from_str(stats).ok());
    stats
        .and_then(|stats| stats.get("numRecords")?.as_i64())
        .ok_or_else(|| Error::new(Kind::Damaged, format!("file {} has no row count in the log", file.path)))
}
