//! What a table's log says of its commits, whoever made them: for those who tell what was done to it.

use std::collections::HashMap;

use deltalake::kernel::{Action, CommitInfo};
use deltalake::logstore::LogStoreRef;
use futures::TryStreamExt;
use futures::future::try_join_all;
use serde_json::Value;

use super::Lake;
use super::commit::{INFO, WRITER, last_checkpoint, read_entry};
use super::extent::bytes_added;
use super::foreign::{count_rows, is_ours};
use crate::clock::Micros;
use crate::error::{Context, Kind, Result};

/// Entries that are read at once.
const AT_ONCE: usize = 16;

/// One commit of a table.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    /// The version that it made.
    pub version: u64,
    /// Wall clock of whoever committed, in UTC microseconds; none where the commit does not say.
    pub at: Option<Micros>,
    /// Delta's word for what was done: `STREAMING UPDATE`, `OPTIMIZE`, ...
    pub operation: String,
    /// Who committed: process and run of a medallion, else the other engine's name.
    pub writer: String,
    /// Whether a layer or a replay of medallion made it.
    pub is_ours: bool,
    /// Whether it adds or removes rows, instead of moving them between files or saying how the table is kept.
    pub changes_rows: bool,
    /// Rows that are new with it; none where a file does not say how many it has.
    pub rows_added: Option<i64>,
    /// Data files that it adds, and their bytes.
    pub files_added: i64,
    /// Bytes of these.
    pub bytes_added: u64,
    /// Data files that it removes.
    pub files_removed: i64,
    /// Positions after it, by app id.
    pub txns: HashMap<String, i64>,
    /// The small state that rode in it; null where there was none.
    pub state: Value,
}

/// A table's log, read entry by entry; nothing of it is replayed.
pub struct Entries {
    log: LogStoreRef,
}

impl Entries {
    /// Of the table at `path` in the lake, which need not be there.
    pub fn of(lake: &Lake, path: &str) -> Result<Self> {
        Ok(Self {
            log: lake.log_store(path)?,
        })
    }

    /// The entries of version `from` and those after it that are there, about `most` of them.
    pub async fn read(&self, from: u64, most: usize) -> Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        // Mostly there is none, and then one question is enough.
        let mut width = 1;
        while entries.len() < most {
            let next = from + entries.len() as u64;
            let wanted = (next..next + width as u64).map(async |version| {
                let actions = read_entry(&self.log, version).await?;
                Ok(actions.map(|actions| entry(version, actions)))
            });
            let found: Vec<Option<Entry>> = try_join_all(wanted).await?;
            let before = entries.len();
            entries.extend(found.into_iter().map_while(|entry| entry));
            if entries.len() < before + width {
                break;
            }
            width = (2 * width).min(AT_ONCE);
        }
        Ok(entries)
    }

    /// The oldest version from `from` on that the log has, where the entry of `from` itself was cleaned away; none where
    /// it is yet to come.
    pub async fn oldest_after_cleanup(&self, from: u64) -> Result<Option<u64>> {
        if last_checkpoint(&self.log)
            .await?
            .is_none_or(|checkpoint| checkpoint < from)
        {
            return Ok(None);
        }
        let what = || format!("listing the log of {}", self.log.root_url());
        let listed = self.log.object_store(None).list(Some(self.log.log_path()));
        listed
            .try_fold(None, |oldest: Option<u64>, file| {
                let version = file.location.filename().and_then(version).filter(|it| *it >= from);
                futures::future::ready(Ok(oldest.into_iter().chain(version).min()))
            })
            .await
            .or_fail(Kind::Unavailable, what)
    }

    /// Whether the log has come as far as `version`.
    pub async fn reaches(&self, version: u64) -> Result<bool> {
        let cleaned = last_checkpoint(&self.log)
            .await?
            .is_some_and(|checkpoint| checkpoint >= version);
        Ok(cleaned || read_entry(&self.log, version).await?.is_some())
    }
}

/// The version whose entry a file of the log is, by its name.
fn version(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".json")?;
    digits.parse().ok().filter(|_| digits.len() == 20)
}

fn entry(version: u64, actions: Vec<Action>) -> Entry {
    let mut entry = Entry {
        version,
        is_ours: is_ours(&actions),
        bytes_added: bytes_added(&actions),
        rows_added: count_rows(actions.iter().filter_map(|action| match action {
            Action::Add(add) if add.data_change => Some(add),
            _ => None,
        })),
        ..Entry::default()
    };
    for action in actions {
        match action {
            Action::Add(add) => {
                entry.files_added += 1;
                entry.changes_rows |= add.data_change;
            }
            Action::Remove(remove) => {
                entry.files_removed += 1;
                entry.changes_rows |= remove.data_change;
            }
            Action::Txn(txn) => {
                entry.txns.insert(txn.app_id, txn.version);
            }
            Action::CommitInfo(info) => entry.take_info(info),
            _ => {}
        }
    }
    entry
}

impl Entry {
    fn take_info(&mut self, mut info: CommitInfo) {
        self.at = info.timestamp.map(|millis| millis.saturating_mul(1000));
        self.operation = info.operation.unwrap_or_default();
        let writer = info.info.get(WRITER).and_then(Value::as_str).map(str::to_owned);
        self.writer = writer.or(info.engine_info).unwrap_or_default();
        self.state = info.info.remove(INFO).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn only_an_entry_is_named_by_its_version_alone() {
        assert_eq!(version("00000000000000000042.json"), Some(42));
        for other in [
            "00000000000000000042.checkpoint.parquet",
            "00000000000000000001.00000000000000000042.compacted.json",
            "42.json",
            "_last_checkpoint",
        ] {
            assert_eq!(version(other), None, "{other}");
        }
    }
}
