//! Reading a table's log whole: its snapshot, and the data files that are active in it.

use deltalake::DeltaTable;
use deltalake::kernel::Add;
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
    let snapshot = table.snapshot().or_fail(Kind::Damaged, || "a table without snapshot")?;
    let files = snapshot.log_data();
    files
        .iter()
        .map(|file| {
            if file.deletion_vector_descriptor().is_some() {
                return Err(Error::new(
                    Kind::Damaged,
                    format!(
                        "data file {} has a deletion vector: someone deleted rows of it",
                        file.path()
                    ),
                )
                .with_next("restore the table to the version before the delete"));
            }
            Ok(Add {
                path: file.path().into_owned(),
                partition_values: file.partition_values_map(),
                size: file.size(),
                modification_time: file.modification_time(),
                data_change: true,
                stats: file.stats(),
                ..Default::default()
            })
        })
        .collect()
}
