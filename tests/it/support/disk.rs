//! A disk that works until its process ends, and keeps a journal of every change, so that the power can go after any.

use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use medallion::table::durable::{Disk, Unsynced};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::image::{Change, Image, parent};
use super::project::block;

/// Which sync fails, counted from 0; none: none.
pub type FailingSync = Option<usize>;

/// A disk that works until its process ends, as a store and with its syncs.
#[derive(Debug)]
pub struct SimDisk {
    /// What programs see.
    live: InMemory,
    state: Mutex<State>,
    failing: FailingSync,
}

#[derive(Debug, Default)]
struct State {
    image: Image,
    journal: Vec<Change>,
    syncs: usize,
    staged: usize,
}

impl SimDisk {
    /// A disk that goes on from `image`.
    pub fn new(image: Image, failing: FailingSync) -> Arc<Self> {
        let live = InMemory::new();
        for (name, bytes) in image.seen() {
            if !name.contains('#') {
                block(live.put(&path(name), bytes.clone().into())).unwrap();
            }
        }
        let state = State {
            image,
            ..State::default()
        };
        Arc::new(Self {
            live,
            state: Mutex::new(state),
            failing,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The disk as it is.
    pub fn image(&self) -> Image {
        self.state().image.clone()
    }

    /// Every change so far.
    pub fn journal(&self) -> Vec<Change> {
        self.state().journal.clone()
    }

    /// Syncs asked for so far.
    pub fn syncs(&self) -> usize {
        self.state().syncs
    }

    fn see(&self, at: &Path) -> Bytes {
        self.state().image.seen()[&at.to_string()].clone()
    }

    async fn named(&self, staged: &Path, at: &Path, mode: PutMode, change: Change) -> Result<()> {
        let bytes = self.see(staged);
        self.live.put_opts(at, bytes.into(), mode.into()).await?;
        self.state().change(change);
        Ok(())
    }

    async fn written(&self, at: &Path, payload: PutPayload, mode: PutMode) -> Result<()> {
        let staged = self.stage(at, &payload).unwrap();
        let (from, to) = (staged.to_string(), at.to_string());
        if mode == PutMode::Create {
            let linked = self.named(&staged, at, mode, Change::Linked(from.clone(), to)).await;
            self.state().change(Change::Removed(from));
            linked
        } else {
            self.named(&staged, at, mode, Change::Renamed(from, to)).await
        }
    }

    fn synced(
        &self,
        at: &Path,
        done: fn(String) -> Change,
        lost: fn(String) -> Change,
    ) -> std::result::Result<(), Unsynced> {
        let mut state = self.state();
        if !state.image.has(at.as_ref()) {
            return Err(Unsynced::NotOpened(ErrorKind::NotFound.into()));
        }
        let turn = state.syncs;
        state.syncs += 1;
        if Some(turn) == self.failing {
            state.change(lost(at.to_string()));
            return Err(Unsynced::Failed(io::Error::other("input/output error")));
        }
        state.change(done(at.to_string()));
        Ok(())
    }
}

impl State {
    fn change(&mut self, change: Change) {
        self.image.apply(&change);
        self.journal.push(change);
    }

    fn make_directories(&mut self, at: &str) {
        let above = parent(at).to_owned();
        if !above.is_empty() && !self.image.has(&above) {
            self.make_directories(&above);
            self.change(Change::Made(above));
        }
    }
}

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn refused(error: Error) -> io::Error {
    match error {
        Error::AlreadyExists { .. } => ErrorKind::AlreadyExists.into(),
        other => io::Error::other(other),
    }
}

impl Disk for SimDisk {
    fn stage(&self, at: &Path, bytes: &PutPayload) -> io::Result<Path> {
        let mut state = self.state();
        state.make_directories(at.as_ref());
        state.staged += 1;
        let staged = path(&format!("{at}#{}", state.staged));
        state.change(Change::Written(staged.to_string(), bytes.clone().into()));
        Ok(staged)
    }

    fn link(&self, staged: &Path, at: &Path) -> io::Result<()> {
        let change = Change::Linked(staged.to_string(), at.to_string());
        futures::executor::block_on(self.named(staged, at, PutMode::Create, change)).map_err(refused)
    }

    fn rename(&self, staged: &Path, at: &Path) -> io::Result<()> {
        let change = Change::Renamed(staged.to_string(), at.to_string());
        futures::executor::block_on(self.named(staged, at, PutMode::Overwrite, change)).map_err(refused)
    }

    fn discard(&self, staged: &Path) -> io::Result<()> {
        self.state().change(Change::Removed(staged.to_string()));
        Ok(())
    }

    fn sync_file(&self, at: &Path) -> std::result::Result<(), Unsynced> {
        self.synced(at, Change::FileSynced, Change::FileLost)
    }

    fn sync_directory(&self, at: &Path) -> std::result::Result<(), Unsynced> {
        self.synced(at, Change::DirectorySynced, Change::DirectoryLost)
    }
}

impl fmt::Display for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimDisk")
    }
}

#[async_trait]
impl ObjectStore for SimDisk {
    async fn put_opts(&self, at: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.written(at, payload, opts.mode).await?;
        Ok(PutResult {
            e_tag: None,
            version: None,
        })
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        panic!("nobody writes in parts")
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.live.get_opts(at, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        // The disk outlives no stream, so what is deleted is collected here.
        let locations: Vec<Result<Path>> = futures::executor::block_on(locations.collect());
        let delete = |at: Result<Path>| {
            let at = at?;
            let known = self.state().image.has(at.as_ref());
            if known {
                self.state().change(Change::Removed(at.to_string()));
            }
            futures::executor::block_on(self.live.delete(&at)).map(|()| at)
        };
        let deleted: Vec<Result<Path>> = locations.into_iter().map(delete).collect();
        futures::stream::iter(deleted).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.live.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.live.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        panic!("nobody copies")
    }
}

/// The store over a disk that writes down what committers are told.
#[derive(Debug)]
pub struct Telling {
    /// What they talk to.
    pub inner: Arc<dyn ObjectStore>,
    /// Where it is written down.
    pub disk: Arc<SimDisk>,
}

impl fmt::Display for Telling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Telling({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Telling {
    async fn put_opts(&self, at: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let result = self.inner.put_opts(at, payload.clone(), opts).await?;
        if at.as_ref().contains("/_delta_log/") && at.as_ref().ends_with(".json") {
            self.disk.state().change(Change::Told(at.to_string(), payload.into()));
        }
        Ok(result)
    }

    async fn put_multipart_opts(&self, at: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(at, options).await
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
