//! A store in which something happens before a put of ours lands: someone else is quick, or the disk is slow.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

/// What happens in between.
pub type Interlude = BoxFuture<'static, ()>;

/// A store over another that runs an interlude once, before the first entry put into a log, and waits before each put.
pub struct Interposed {
    inner: Arc<dyn ObjectStore>,
    interlude: Mutex<Option<Interlude>>,
    wait: Duration,
}

impl Interposed {
    /// The store `inner` with this interlude.
    pub fn new(inner: Arc<dyn ObjectStore>, interlude: Interlude) -> Arc<Self> {
        Arc::new(Self {
            inner,
            interlude: Mutex::new(Some(interlude)),
            wait: Duration::ZERO,
        })
    }

    /// The store `inner`, each put of which takes this much longer.
    pub fn slow(inner: Arc<dyn ObjectStore>, wait: Duration) -> Arc<Self> {
        Arc::new(Self {
            inner,
            interlude: Mutex::new(None),
            wait,
        })
    }

    /// Whether the interlude was run.
    pub fn happened(&self) -> bool {
        self.interlude.lock().unwrap().is_none()
    }
}

impl fmt::Debug for Interposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Interposed({:?})", self.inner)
    }
}

impl fmt::Display for Interposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Interposed({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Interposed {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if location.as_ref().contains("_delta_log/") && location.as_ref().ends_with(".json") {
            let interlude = self.interlude.lock().unwrap().take();
            if let Some(interlude) = interlude {
                interlude.await;
            }
        }
        if !self.wait.is_zero() {
            tokio::time::sleep(self.wait).await;
        }
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
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
