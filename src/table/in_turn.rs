//! Whole files a few at a time. deltalake asks for up to a thousand log entries at once, and each costs an open file and about a
//! megabyte of decoder until its turn to be read comes: a table with many commits since its log checkpoint would not open
//! under the usual limit of 1024 files.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::Semaphore;
use tokio::task::coop::unconstrained;

/// Whole files being read at once; enough to hide a remote store's latency.
const AT_ONCE: usize = 64;

/// A store that hands out a further whole file when one of [`AT_ONCE`] has been read to its end or dropped.
///
/// Turns come in the order in which they are asked for, and deltalake reads in that order, so that what it waits for has always
/// had its turn.
#[derive(Debug)]
pub(super) struct InTurn {
    inner: Arc<dyn ObjectStore>,
    turns: Arc<Semaphore>,
}

impl InTurn {
    /// `inner`, its whole files in turn.
    pub(super) fn new(inner: Arc<dyn ObjectStore>) -> Arc<Self> {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        Arc::new(Self { inner, turns })
    }
}

impl fmt::Display for InTurn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InTurn({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for InTurn {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if options.head || options.range.is_some() {
            return self.inner.get_opts(location, options).await;
        }
        // Unconstrained, because tokio's budget would let a later asker overtake this one.
        let turn = unconstrained(self.turns.clone().acquire_owned()).await;
        let turn = turn.map_err(|error| Error::Generic {
            store: "in turn",
            source: error.into(),
        })?;
        let found = self.inner.get_opts(location, options).await?;
        let (meta, range, attributes) = (found.meta.clone(), found.range.clone(), found.attributes.clone());
        let parts = match found.payload {
            GetResultPayload::Stream(parts) => parts,
            // Read at once, so that the file is closed again.
            GetResultPayload::File(..) => stream::iter([found.bytes().await]).boxed(),
        };
        let parts = parts.map(move |part| {
            let _until_the_stream_is_dropped = &turn;
            part
        });
        Ok(GetResult {
            payload: GetResultPayload::Stream(parts.boxed()),
            meta,
            range,
            attributes,
        })
    }

    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
