//! Hand-made Delta commits: what someone with the wrong tool could do to a table.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use medallion::table::Lake;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use super::project::block;

/// A table's log and files, without any Delta library.
pub struct Raw {
    store: std::sync::Arc<dyn ObjectStore>,
    table: String,
}

impl Raw {
    /// The table at `table` in the lake.
    pub fn new(lake: &Lake, table: &str) -> Self {
        Self {
            store: lake.store(),
            table: table.to_owned(),
        }
    }

    /// Where a path of the log is in the store: the log encodes it once more.
    fn place(&self, path: &str) -> Path {
        Path::parse(format!("{}/{}", self.table, path.replace("%25", "%"))).unwrap()
    }

    fn entry(&self, version: u64) -> Option<Vec<Value>> {
        let path = self.place(&format!("_delta_log/{version:020}.json"));
        let bytes = block(async { self.store.get(&path).await.ok()?.bytes().await.ok() })?;
        let text = std::str::from_utf8(&bytes).unwrap();
        Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    /// The newest version, of a log that was never cleaned.
    pub fn version(&self) -> u64 {
        (0..)
            .take_while(|version| self.entry(*version).is_some())
            .last()
            .unwrap()
    }

    /// The active files' add actions, newest file last.
    pub fn files(&self) -> Vec<Value> {
        let mut files: BTreeMap<String, (usize, Value)> = BTreeMap::new();
        let entries = (0..).map_while(|version| self.entry(version)).flatten();
        for (order, action) in entries.enumerate() {
            if let Some(remove) = action.get("remove") {
                files.remove(remove["path"].as_str().unwrap());
            }
            if let Some(add) = action.get("add") {
                files.insert(add["path"].as_str().unwrap().to_owned(), (order, add.clone()));
            }
        }
        let mut files: Vec<_> = files.into_values().collect();
        files.sort_by_key(|(order, _)| *order);
        files.into_iter().map(|(_, add)| add).collect()
    }

    /// Commits these actions as they are.
    pub fn commit(&self, actions: &[Value]) {
        let path = self.place(&format!("_delta_log/{:020}.json", self.version() + 1));
        let lines: Vec<String> = actions.iter().map(Value::to_string).collect();
        let options = PutOptions::from(PutMode::Create);
        block(self.store.put_opts(&path, lines.join("\n").into(), options)).unwrap();
    }

    /// Takes the file out of the table.
    pub fn remove(&self, add: &Value) {
        self.commit(&[removal(add)]);
    }

    /// Has the file's rows twice.
    pub fn double(&self, add: &Value) {
        let path = add["path"].as_str().unwrap();
        let twin = path.replace(".parquet", "-twin.parquet");
        block(self.store.copy(&self.place(path), &self.place(&twin))).unwrap();
        let mut twin_add = add.clone();
        twin_add["path"] = twin.into();
        self.commit(&[json!({ "add": twin_add })]);
    }

    /// Replaces the file by one with the rows that `change` makes of its rows.
    pub fn rewrite(&self, add: &Value, change: impl Fn(RecordBatch) -> RecordBatch) {
        let path = add["path"].as_str().unwrap();
        let bytes = block(async { self.store.get(&self.place(path)).await.unwrap().bytes().await.unwrap() });
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
            .unwrap()
            .build()
            .unwrap();
        let batches: Vec<RecordBatch> = reader.map(|batch| batch.unwrap()).collect();
        let changed = change(concat_batches(&batches[0].schema(), &batches).unwrap());
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, changed.schema(), None).unwrap();
        writer.write(&changed).unwrap();
        writer.close().unwrap();
        let mut new = add.clone();
        let changed_path = path.replace(".parquet", "-changed.parquet");
        new["size"] = bytes.len().into();
        new["path"] = changed_path.clone().into();
        block(self.store.put(&self.place(&changed_path), bytes.into())).unwrap();
        self.commit(&[removal(add), json!({ "add": new })]);
    }

    /// Sets a position.
    pub fn set_txn(&self, app: &str, version: i64) {
        self.commit(&[json!({"txn": {"appId": app, "version": version}})]);
    }
}

fn removal(add: &Value) -> Value {
    json!({"remove": {
        "path": add["path"], "dataChange": true, "deletionTimestamp": 1, "extendedFileMetadata": true,
        "partitionValues": add["partitionValues"], "size": add["size"],
    }})
}
