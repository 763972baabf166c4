//! A table that several processes write in turn: what the others committed is taken in, and not taken for a usurper's.

use deltalake::kernel::Action;

use super::Table;
use crate::error::Result;
use crate::table::commit::read_sized;
use crate::table::foreign::{Harm, ROWS, harm};

impl Table {
    /// Goes on to the table's newest version, over commits of writers in the same role and over harmless ones. Two that
    /// append at the same moment still exclude each other.
    ///
    /// Errors: those of [`Table::append`].
    pub async fn catch_up(&mut self) -> Result<()> {
        while let Some((entry, bytes)) = read_sized(&self.log, self.version + 1).await? {
            let role = &self.spec.app_prefix;
            let by_peer = |action: &Action| matches!(action, Action::Txn(txn) if txn.app_id.starts_with(role));
            if entry.iter().any(by_peer) {
                self.rows = None;
            } else if let Some(what) = harm(&entry, &self.metadata) {
                return Err(Harm::at(self.version + 1, &entry, &what).error(&self.spec.path));
            }
            self.extent.take(&entry, bytes);
            let rows = format!("{role}{ROWS}");
            for action in entry {
                if let Action::Txn(txn) = action {
                    if txn.app_id == rows {
                        self.rows = Some(txn.version);
                    }
                    self.txns.insert(txn.app_id, txn.version);
                }
            }
            self.version += 1;
        }
        Ok(())
    }
}
