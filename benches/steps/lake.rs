//! Tables in a lake on this machine's disk that goes away with the measurement.

use arrow::array::RecordBatch;
use medallion::clock::Clock;
pub use medallion::definition::settings::Durability;
use medallion::table::{Append, Lake, Table, TableSpec};
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A lake and the runtime that its disk is asked on.
pub struct Place {
    pub runtime: Runtime,
    pub lake: Lake,
    pub directory: TempDir,
    position: i64,
}

impl Place {
    /// An empty lake whose commits survive what `durability` says.
    pub fn new(durability: Durability) -> Self {
        let runtime = Runtime::new().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let location = directory.path().to_str().unwrap();
        let lake = runtime.block_on(Lake::open(location, Clock::system())).unwrap();
        Self {
            lake: lake.with_durability(durability).unwrap(),
            runtime,
            directory,
            position: 0,
        }
    }

    /// The table of `spec`.
    pub fn table(&self, spec: TableSpec) -> Table {
        self.runtime.block_on(Table::open_or_create(&self.lake, spec)).unwrap()
    }

    /// One append of `rows` with a position, as the layers do it.
    pub fn append(&mut self, table: &mut Table, rows: Option<&RecordBatch>) {
        self.position += 1;
        let before = table.version();
        let append = Append {
            rows,
            txns: vec![(format!("{}position", table.spec().app_prefix), self.position)],
            info: json!({"position": self.position}),
        };
        let version = self.runtime.block_on(table.append(append)).unwrap();
        assert_eq!(version, before + 1);
    }
}
