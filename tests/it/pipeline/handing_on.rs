//! Rows that go from a writer to a reader of the same process without the file between them.

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use medallion::clock::Clock;
use medallion::layer::bronze::{self, BronzeBuilder, Reason, Tick};
use medallion::run::{names, tables};
use medallion::table::{Append, Lake, Reader, Table};
use object_store::{ObjectStore, ObjectStoreExt};

use crate::support::project::{PIPELINE, block, memory_lake};

const ROWS: i64 = 10;

fn open(lake: &Lake) -> Reader {
    let path = names::bronze_path(PIPELINE);
    block(Reader::open_trusted(lake, &path, bronze::schema(), "seq", None))
        .unwrap()
        .unwrap()
}

fn read(reader: &mut Reader) -> medallion::error::Result<RecordBatch> {
    block(reader.follow())?;
    block(reader.read(2, ROWS - 1, &["kind", "value", "ingest_date"].map(str::to_owned)))
}

#[test]
fn rows_that_were_just_committed_are_those_of_their_files_and_need_no_file() {
    let (lake, store) = memory_lake();
    let mut table = block(Table::open_or_create(&lake, tables::bronze(PIPELINE))).unwrap();
    let mut reader = open(&lake);
    let mut builder = BronzeBuilder::new(0);
    // The rows lie in two partitions, so in two files.
    for row in 0..ROWS {
        let tick = Tick::new(Reason::Start, row.to_string(), &[], &[], 0);
        builder.tick(&tick, if row < 6 { 0 } else { 86_400_000_000 });
    }
    let rows = builder.finish().unwrap().unwrap();
    let append = Append {
        rows: Some(&rows),
        txns: vec![(names::bronze_seq(PIPELINE), ROWS)],
        info: serde_json::Value::Null,
    };
    block(table.append(append)).unwrap();

    let handed_on = read(&mut reader).unwrap();
    // Another process has the files only.
    let elsewhere = Lake::with_store(lake.url().clone(), store.clone(), Clock::system());
    let mut other = open(&elsewhere);
    assert_eq!(handed_on.num_rows() as i64, ROWS - 3);
    assert_eq!(read(&mut other).unwrap(), handed_on);

    let files: Vec<_> = block(store.list(None).try_collect()).unwrap();
    let data = files.iter().filter(|file| file.location.as_ref().ends_with(".parquet"));
    assert_eq!(data.clone().count(), 2);
    for file in data {
        block(store.delete(&file.location)).unwrap();
    }
    assert_eq!(read(&mut reader).unwrap(), handed_on);
    assert!(read(&mut other).is_err());
}
