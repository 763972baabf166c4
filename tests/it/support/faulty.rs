//! A store that fails at one chosen change, as a process or a network would.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// What happens at the chosen change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process dies before it.
    DiesBefore,
    /// The process dies after it.
    DiesAfter,
    /// It is refused once.
    RefusedOnce,
    /// It is done, and reported as failed.
    AnswerLost,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::DiesBefore, Self::DiesAfter, Self::RefusedOnce, Self::AnswerLost];
    /// Those after which the process is gone.
    pub const DEATHS: [Self; 2] = [Self::DiesBefore, Self::DiesAfter];
}

/// A store over another that fails at the `at`-th change (from 0); a dead one fails at everything from then on.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn ObjectStore>,
    fault: Fault,
    at: usize,
    changes: AtomicUsize,
    dead: AtomicBool,
}

impl Faulty {
    /// A store that fails at change `at` in the way of `fault`.
    pub fn new(inner: Arc<dyn ObjectStore>, fault: Fault, at: usize) -> Arc<Self> {
        Arc::new(Self {
            inner,
            fault,
            at,
            changes: AtomicUsize::new(0),
            dead: AtomicBool::new(false),
        })
    }

    /// A store that only counts.
    pub fn counting(inner: Arc<dyn ObjectStore>) -> Arc<Self> {
        Self::new(inner, Fault::DiesBefore, usize::MAX)
    }

    /// Changes asked for so far.
    pub fn changes(&self) -> usize {
        self.changes.load(Ordering::SeqCst)
    }

    fn alive(&self) -> Result<()> {
        if self.dead.load(Ordering::SeqCst) {
            return Err(failure());
        }
        Ok(())
    }

    /// Whether this change is to be done, and whether its success is to be told.
    fn change(&self) -> (bool, bool) {
        if self.dead.load(Ordering::SeqCst) {
            return (false, false);
        }
        if self.changes.fetch_add(1, Ordering::SeqCst) != self.at {
            return (true, true);
        }
        if matches!(self.fault, Fault::DiesBefore | Fault::DiesAfter) {
            self.dead.store(true, Ordering::SeqCst);
        }
        (matches!(self.fault, Fault::DiesAfter | Fault::AnswerLost), false)
    }
}

fn failure() -> Error {
    Error::Generic {
        store: "faulty",
        source: "the connection broke".into(),
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let (done, told) = self.change();
        if !done {
            return Err(failure());
        }
        let result = self.inner.put_opts(location, payload, opts).await;
        if told { result } else { Err(failure()) }
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        // Nothing is visible before the upload is completed, so where it fails makes no difference to a reader.
        match self.change() {
            (_, true) => self.inner.put_multipart_opts(location, opts).await,
            _ => Err(failure()),
        }
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.alive()?;
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.alive()?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (done, told) = self.change();
        if !done {
            return futures::stream::once(async { Err(failure()) }).boxed();
        }
        let deleted = self.inner.delete_stream(locations);
        if told {
            return deleted;
        }
        deleted.map(|_| Err(failure())).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.alive() {
            Ok(()) => self.inner.list(prefix),
            Err(error) => futures::stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.alive()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (done, told) = self.change();
        if !done {
            return Err(failure());
        }
        let result = self.inner.copy_opts(from, to, options).await;
        if told { result } else { Err(failure()) }
    }
}
