//! Reading a table's log whole: its snapshot, and the data files that are active in it.

use deltalake::DeltaTable;
use deltalake::kernel::{Add, LogicalFileView};
use deltalake::logstore::LogStoreRef;

use super::failure::Reading;
use super::torn::torn;
use crate::error::{Context, Error, Kind, Result};

/// The table as it was at `version`, or none where the log no longer tells.
pub(super) async fn load_at(log: &LogStoreRef, version: u64) -> Result<Option<DeltaTable>> {
    let mut table = DeltaTable::new(log.clone());
    Ok(table.load_version(version).await.is_ok().then_some(table))
}

/// The table's newest snapshot, or none where there is no table.
pub(super) async fn load(log: &LogStoreRef) -> Result<Option<DeltaTable>> {
    let what = || format!("reading the log of {}", log.root_url());
    if !log.is_delta_table_location().await.or_fail(Kind::Unavailable, what)? {
        return Ok(None);
    }
    let mut table = DeltaTable::new(log.clone());
    let Err(error) = table.load().await.or_unreadable(what) else {
        return Ok(Some(table));
    };
    if error.kind() == Kind::Damaged
        && let Some(torn) = torn(log).await?
    {
        return Err(torn.told(log));
    }
    Err(match error.to_string().contains("_last_checkpoint") {
        true => error.with_next(
            "where _delta_log has every entry from 0 or from an older log checkpoint on, remove its file \
             _last_checkpoint; else restore the log",
        ),
        false => error,
    })
}

/// The active data files of a snapshot.
///
/// Errors: [`Kind::Damaged`] for a file with a deletion vector, because medallion's tables have none.
pub(super) fn active_files(table: &DeltaTable) -> Result<Vec<Add>> {
    views(table)?.map(|file| add_of(&file)).collect()
}

/// What the snapshot says of each active data file, where it lies.
pub(super) fn views(table: &DeltaTable) -> Result<impl Iterator<Item = LogicalFileView>> {
    let snapshot = table.snapshot().or_fail(Kind::Damaged, || "a table without snapshot")?;
    Ok(snapshot.log_data().into_iter())
}

/// What the log says of one data file.
///
/// Errors: those of [`active_files`].
pub(super) fn add_of(file: &LogicalFileView) -> Result<Add> {
    require_whole(file)?;
    Ok(Add {
        path: file.path().into_owned(),
        partition_values: file.partition_values_map(),
        size: file.size(),
        modification_time: file.modification_time(),
        data_change: true,
        stats: file.stats(),
        ..Default::default()
    })
}

fn require_whole(file: &LogicalFileView) -> Result<()> {
    if file.deletion_vector_descriptor().is_none() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Damaged,
        format!(
            "data file {} has a deletion vector: someone deleted rows of it",
            file.path()
        ),
    )
    .with_next("restore the table to the version before the delete"))
}

/// What the active data files of a snapshot come to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Totals {
    /// How many there are.
    pub(super) files: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Their rows; none where one does not say.
    pub(super) rows: Option<i64>,
}

/// Sums up the active data files where they lie in the snapshot: a table with a partition per minute has millions, and a
/// copy of what the log says of each takes a kilobyte.
///
/// Errors: those of [`active_files`].
pub(super) fn totals(table: &DeltaTable) -> Result<Totals> {
    let mut totals = Totals {
        files: 0,
        bytes: 0,
        rows: Some(0),
    };
    for file in views(table)? {
        require_whole(&file)?;
        totals.files += 1;
        totals.bytes += u64::try_from(file.size()).unwrap_or(0);
        let rows = file.num_records().map(|rows| i64::try_from(rows).unwrap_or(i64::MAX));
        totals.rows = totals.rows.zip(rows).map(|(sum, rows)| sum.saturating_add(rows));
    }
    Ok(totals)
}
