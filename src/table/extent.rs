//! How large a table is: counted once when it is opened, then kept by what each commit says.

use deltalake::kernel::Action;
use deltalake::logstore::LogStoreRef;
use futures::TryStreamExt;

use super::load::Totals;
use crate::error::{Context, Kind, Result};

/// Files and bytes of a table. Those that maintenance took out of the log count until the table is opened again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// Active data files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of the log: entries and log checkpoints.
    pub log_bytes: u64,
}

impl Extent {
    /// Of a table whose active files come to `totals`.
    pub(super) fn of(totals: &Totals, log_bytes: u64) -> Self {
        Self {
            files: totals.files,
            bytes: totals.bytes,
            log_bytes,
        }
    }

    /// Takes in one entry of the log: its actions and its size.
    pub(super) fn take(&mut self, actions: &[Action], entry: usize) {
        self.log_bytes += entry as u64;
        for action in actions {
            match action {
                Action::Add(add) => {
                    self.files += 1;
                    self.bytes += bytes(add.size);
                }
                Action::Remove(remove) => {
                    self.files = self.files.saturating_sub(1);
                    self.bytes = self.bytes.saturating_sub(bytes(remove.size.unwrap_or(0)));
                }
                _ => {}
            }
        }
    }
}

/// Bytes of the files that `actions` add.
pub(super) fn bytes_added(actions: &[Action]) -> u64 {
    let added = actions.iter().map(|action| match action {
        Action::Add(add) => bytes(add.size),
        _ => 0,
    });
    added.sum()
}

fn bytes(size: i64) -> u64 {
    u64::try_from(size).unwrap_or(0)
}

/// Bytes of the log's files, by listing them.
pub(super) async fn log_bytes(log: &LogStoreRef) -> Result<u64> {
    log.object_store(None)
        .list(Some(log.log_path()))
        .try_fold(0, |sum, file| futures::future::ready(Ok(sum + file.size)))
        .await
        .or_fail(Kind::Unavailable, || format!("listing the log of {}", log.root_url()))
}
