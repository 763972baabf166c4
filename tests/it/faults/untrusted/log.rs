//! One entry of a table's commit log of any bytes: what fuzzing and the tests call.

use std::cell::RefCell;
use std::sync::Arc;

use medallion::clock::Clock;
use medallion::error::Kind;
use medallion::layer::bronze;
use medallion::table::{Lake, Reader};
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use tokio::runtime::{Builder, Runtime};
use url::Url;

/// The first entry of a table as medallion makes it; its schema is two columns.
const FIRST: &str = concat!(
    r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}"#,
    "\n",
    r#"{"metaData":{"id":"7f1b2c3d-0000-4000-8000-000000000000","format":{"provider":"parquet","options":{}},"#,
    r#""schemaString":"{\"type\":\"struct\",\"fields\":[{\"name\":\"seq\",\"type\":\"long\",\"nullable\":false,"#,
    r#"\"metadata\":{}},{\"name\":\"kind\",\"type\":\"string\",\"nullable\":true,\"metadata\":{}}]}","#,
    r#""partitionColumns":[],"configuration":{},"createdTime":0}}"#
);

thread_local! {
    static RUNTIME: RefCell<Runtime> = RefCell::new(Builder::new_current_thread().enable_all().build().unwrap());
}

/// Puts `entry` into a log as version 1 and reads the table both ways: from a snapshot, and following it.
pub fn check(entry: &[u8]) {
    RUNTIME.with_borrow(|runtime| runtime.block_on(read(entry)));
}

async fn read(entry: &[u8]) {
    let store = Arc::new(InMemory::new());
    let place = |version: u64| Path::from(format!("p/bronze/_delta_log/{version:020}.json"));
    let lake = Lake::with_store(Url::parse("memory:///").unwrap(), store.clone(), Clock::fixed(0));
    store.put(&place(0), FIRST.into()).await.unwrap();
    let open = || Reader::open(&lake, "p/bronze", bronze::schema(), "seq");
    let mut following = open().await.unwrap().unwrap();
    store.put(&place(1), entry.to_vec().into()).await.unwrap();
    // A reader that follows is opened anew after an error, so both are asked once.
    match following.follow().await {
        Ok(_) => rows(&following).await,
        Err(error) => assert!(matches!(error.kind(), Kind::Damaged | Kind::Unavailable), "{error}"),
    }
    match open().await {
        Ok(reader) => rows(&reader.unwrap()).await,
        Err(error) => assert!(matches!(error.kind(), Kind::Damaged | Kind::Unavailable), "{error}"),
    }
}

/// There are no data files: a reader that is told of one says that it is not there.
async fn rows(reader: &Reader) {
    match reader.read(0, i64::MAX, &["kind".to_owned()]).await {
        Ok(rows) => assert_eq!(rows.num_rows(), 0),
        Err(error) => assert!(matches!(error.kind(), Kind::Damaged | Kind::Unavailable), "{error}"),
    }
    reader.bytes();
}
