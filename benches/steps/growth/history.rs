//! Tables with a past that nobody had to wait for.

use std::fs;
use std::path::PathBuf;

use arrow::array::RecordBatch;
use medallion::run::tables;
use medallion::table::Table;
use serde_json::Value;
use url::Url;

use crate::events;
use crate::lake::{Durability, Place};

/// A bronze table whose log has a past.
pub struct Aged {
    pub place: Place,
    pub table: Table,
    /// What is appended to it: one row.
    pub row: RecordBatch,
}

impl Aged {
    /// A table at `version`, each of whose commits but the first added `files_each` files.
    pub fn new(version: u64, files_each: u64) -> Self {
        let row = events::bronze(&events::clean()[..1]);
        let mut place = Place::new(Durability::Process);
        let mut first = place.table(tables::bronze("view_log"));
        place.append(&mut first, Some(&row));
        let aged = Past::of(&place).repeat(version, files_each);
        place.runtime.block_on(checkpoint(&place));
        let table = place.table(tables::bronze("view_log"));
        assert_eq!((table.version(), aged), (version, version));
        Self { place, table, row }
    }
}

/// The directory of the table.
fn directory(place: &Place) -> PathBuf {
    place.directory.path().join("view_log/bronze")
}

/// The table's URL, for whoever opens it otherwise.
pub fn url(place: &Place) -> Url {
    Url::from_directory_path(directory(place)).unwrap()
}

/// Sums the log up as `medallion maintain` does, so that opening reads one file and not every entry.
async fn checkpoint(place: &Place) {
    let table = deltalake::open_table(url(place)).await.unwrap();
    deltalake::checkpoints::create_checkpoint(&table, None).await.unwrap();
}

/// The entry that the table's own writer made of one row, to be made again.
struct Past {
    directory: PathBuf,
    entry: Vec<Value>,
}

impl Past {
    fn of(place: &Place) -> Self {
        let directory = directory(place);
        let text = fs::read_to_string(directory.join(entry(1))).unwrap();
        let entry = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Self { directory, entry }
    }

    /// Writes the entries up to `version`. Returns that.
    fn repeat(&self, version: u64, files_each: u64) -> u64 {
        for at in 2..=version {
            let mut lines = Vec::new();
            for action in &self.entry {
                let copies = if action.get("add").is_some() { files_each } else { 1 };
                for copy in 0..copies {
                    lines.push(self.again(action, at, copy, files_each).to_string());
                }
            }
            fs::write(self.directory.join(entry(at)), lines.join("\n")).unwrap();
        }
        version
    }

    /// `action` as it would be in the entry of version `at`: other names, further positions.
    fn again(&self, action: &Value, at: u64, copy: u64, files_each: u64) -> Value {
        let mut action = action.clone();
        if let Some(add) = action.get_mut("add") {
            let path = add["path"].as_str().unwrap();
            let (folder, _) = path.rsplit_once('/').unwrap();
            let path = format!("{folder}/part-{at:016x}{copy:016x}.zstd.parquet");
            fs::write(self.directory.join(&path), b"").unwrap();
            add["path"] = path.into();
        }
        if let Some(txn) = action.get_mut("txn") {
            // The number of rows that the table's files should have, and positions.
            let is_rows = txn["appId"].as_str().unwrap().ends_with("/rows");
            txn["version"] = if is_rows { 1 + (at - 1) * files_each } else { at }.into();
        }
        if let Some(info) = action.get_mut("commitInfo") {
            info["txnId"] = format!("{at:032x}").into();
        }
        action
    }
}

fn entry(version: u64) -> String {
    format!("_delta_log/{version:020}.json")
}
