//! Log checkpoints that are not whole: where a put is no single step, or after a power cut, one may end in the middle.
//!
//! Delta's readers take the newest log checkpoint for whole, so the table could not be read. Nothing is lost with it: the
//! log entries that it sums up are cleaned only after it was found to be whole.

use std::collections::{BTreeMap, BTreeSet};

use deltalake::logstore::LogStoreRef;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectMeta, ObjectStoreExt};

use super::commit::last_checkpoint;
use super::object::ObjectFile;
use crate::error::{Context, Error, Kind, Result};

/// The newest log checkpoint of a table, which is not whole.
pub(super) struct Torn {
    /// The version that it is of.
    pub(super) version: u64,
    path: Path,
    /// Whether the table can be read without it.
    spare: bool,
}

/// Looks at the newest log checkpoint; none where it is whole or there is none.
pub(super) async fn torn(log: &LogStoreRef) -> Result<Option<Torn>> {
    let store = log.object_store(None);
    let listed: Vec<ObjectMeta> = store
        .list(Some(log.log_path()))
        .try_collect()
        .await
        .or_fail(Kind::Unavailable, || format!("listing the log of {}", log.root_url()))?;
    let mut entries = BTreeSet::new();
    let mut checkpoints = BTreeMap::new();
    for meta in listed {
        let name = meta.location.filename().unwrap_or_default();
        let Some((version, kind)) = name.split_once('.') else {
            continue;
        };
        match (version.parse::<u64>(), kind) {
            (Ok(version), "json") => drop(entries.insert(version)),
            (Ok(version), "checkpoint.parquet") => drop(checkpoints.insert(version, meta)),
            _ => {}
        }
    }
    let Some((version, meta)) = checkpoints.pop_last() else {
        return Ok(None);
    };
    match ObjectFile::open(store, meta.location.as_ref(), meta.size).await {
        Ok(_) => Ok(None),
        Err(error) if error.kind() == Kind::Damaged => {
            let from = checkpoints.last_key_value().map_or(0, |(older, _)| older + 1);
            let spare = (from..=version).all(|entry| entries.contains(&entry));
            let path = meta.location;
            Ok(Some(Torn { version, path, spare }))
        }
        Err(error) => Err(error.context(format!("the newest log checkpoint of {}", log.root_url()))),
    }
}

impl Torn {
    /// What whoever meets it is told.
    pub(super) fn told(&self, log: &LogStoreRef) -> Error {
        let what = format!("log checkpoint {} of {} is not whole", self.version, log.root_url());
        Error::new(Kind::Damaged, what).with_next(match self.spare {
            true => "run `medallion maintain`: it drops it, and the log entries that it sums up are all there",
            false => "restore the table's _delta_log: the log entries that it sums up are gone",
        })
    }

    /// Removes it, so that the table is read from its log entries again.
    ///
    /// Errors: [`Kind::Damaged`] where those are gone.
    pub(super) async fn remove(&self, log: &LogStoreRef) -> Result<()> {
        if !self.spare {
            return Err(self.told(log));
        }
        let store = log.object_store(None);
        let hint = log.log_path().clone().join("_last_checkpoint");
        // The hint first: one that names a missing log checkpoint would mislead.
        let hinted = last_checkpoint(log).await? == Some(self.version);
        for path in hinted.then_some(&hint).into_iter().chain([&self.path]) {
            match store.delete(path).await {
                Ok(()) | Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(error).or_fail(Kind::Unavailable, || format!("removing {path}")),
            }
        }
        tracing::warn!(table = %log.root_url(), version = self.version, "dropped a log checkpoint that was not whole");
        Ok(())
    }
}
