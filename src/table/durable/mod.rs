//! A store on a local disk of which nothing that counts is lost when the power goes: `durability = "power"`.
//!
//! **What is done.** Data files are written as ever. When a log entry is put, every data file that it adds is synced,
//! then every directory that holds a new name; only then is the entry itself written to a hidden file, synced, linked
//! to its name if that is free, and its directory synced. All other files (log checkpoints, reference data) go the
//! same way as the entry, alone.
//!
//! **Invariant: whoever is told of a log entry is told of one that stays.** The writer is told after the directory's
//! sync. A reader could see the link before it, so reading syncs first. Only the newest entry can need it: version
//! N + 1 is never put before N is on disk, whoever put N. For the same reason nothing is put on top of a directory
//! entry that a killed process left unsynced: a process trusts only what it has synced itself.
//!
//! **A sync that failed is never tried again.** The kernel may have dropped what it could not write and report success
//! the next time. Such a file is never committed and such a directory never relied on by this process.

mod disk;
mod known;
mod parts;
mod place;

use std::fmt;
use std::io::ErrorKind;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use deltalake::kernel::Action;
use deltalake::logstore::get_actions;
use futures::StreamExt;
use futures::future::try_join_all;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::object::location;
use known::{Known, parent};
use parts::Parts;
use place::{Entry, below, is_data, is_hint};

pub use disk::{Disk, LocalDisk, SyncFailed, Unsynced};

/// Syncs that wait for the disk at the same time: one flush of the disk then serves many.
const SYNCS_AT_ONCE: usize = 16;

/// A store over another on the same disk, which syncs what counts. Clones share what they know.
#[derive(Debug, Clone)]
pub struct Durable {
    inner: Arc<dyn ObjectStore>,
    disk: Arc<dyn Disk>,
    /// The directory whose own name is on disk.
    root: Path,
    known: Arc<Mutex<Known>>,
    at_once: usize,
}

/// What is synced.
#[derive(Debug, Clone, Copy)]
enum What {
    File,
    Directory,
}

impl Durable {
    /// A store over `inner`, which keeps its files on `disk`, of what lies under the directory `root`.
    pub fn new(inner: Arc<dyn ObjectStore>, disk: Arc<dyn Disk>, root: Path) -> Self {
        Self {
            inner,
            disk,
            root,
            known: Arc::default(),
            at_once: SYNCS_AT_ONCE,
        }
    }

    /// The same store with one sync after the other, in an order that is always the same.
    #[must_use]
    pub fn one_by_one(self) -> Self {
        Self { at_once: 1, ..self }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Sets and maps that are never left half changed.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Syncs one file or directory, unless that failed before. Blocks.
    fn sync(&self, what: What, at: &Path) -> Result<()> {
        if let Some(why) = self.known().why_failed(at) {
            let why = format!("an earlier sync failed ({why}); this process does not rely on it any more");
            return Err(SyncFailed::new(at, why).into());
        }
        let synced = match what {
            What::File => self.disk.sync_file(at),
            What::Directory => self.disk.sync_directory(at),
        };
        synced.map_err(|unsynced| match unsynced {
            Unsynced::NotOpened(error) => failed(at, error),
            Unsynced::Failed(error) => {
                self.known().failed(at, error.to_string());
                SyncFailed::new(at, error).into()
            }
        })
    }

    /// Syncs all of them, many at a time; the first failure ends it.
    async fn sync_all(&self, what: What, paths: Vec<Path>) -> Result<()> {
        let workers = self.at_once.min(paths.len());
        let paths = Arc::new(paths);
        let next = Arc::new(AtomicUsize::new(0));
        let work = |_| {
            let (store, paths, next) = (self.clone(), paths.clone(), next.clone());
            blocking(move || {
                while let Some(at) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = store.sync(what, at) {
                        next.store(paths.len(), Ordering::Relaxed);
                        return Err(error);
                    }
                }
                Ok(())
            })
        };
        try_join_all((0..workers).map(work)).await.map(drop)
    }

    /// Has the names of `files` on disk: their directories, and every directory above that this process has not yet
    /// synced the name of.
    async fn sync_names(&self, files: &[Path]) -> Result<()> {
        let above = self.known().above(files, &self.root);
        self.sync_all(What::Directory, above.to_sync.into_iter().collect())
            .await?;
        self.known().directories(above.new);
        Ok(())
    }

    /// Has the data files that this log entry adds on disk.
    async fn sync_added(&self, entry: &Entry, payload: &PutPayload) -> Result<()> {
        let bytes = Bytes::from(payload.clone());
        let actions = get_actions(entry.version, &bytes).map_err(|error| Error::Generic {
            store: "disk",
            source: Box::new(error),
        })?;
        let table = parent(&entry.log);
        let added: Vec<Path> = actions
            .into_iter()
            .filter_map(|action| match action {
                Action::Add(add) => Some(below(&table, &location(&add.path))),
                _ => None,
            })
            .collect();
        if added.is_empty() {
            return Ok(());
        }
        self.sync_all(What::File, added.clone()).await?;
        self.sync_names(&added).await
    }

    /// Writes a file that is on disk, content and name, before anybody is told.
    async fn keep(&self, at: &Path, payload: PutPayload, create: bool) -> Result<()> {
        let (store, to) = (self.clone(), at.clone());
        blocking(move || {
            let staged = store.disk.stage(&to, &payload).map_err(|error| failed(&to, error))?;
            let named = store.sync(What::File, &staged).and_then(|()| {
                let named = match create {
                    true => store.disk.link(&staged, &to),
                    false => store.disk.rename(&staged, &to),
                };
                named.map_err(|error| failed(&to, error))
            });
            if create || named.is_err() {
                // A name that stays is hidden and harmless.
                let _ = store.disk.discard(&staged);
            }
            named
        })
        .await?;
        self.sync_names(std::slice::from_ref(at)).await
    }

    /// Has a file that was found on disk, content and name, before anybody acts on it.
    async fn settle(&self, at: &Path) -> Result<()> {
        let entry = Entry::of(at);
        let known = match &entry {
            Some(entry) => self.known().has_entry(&entry.log, entry.version),
            None => self.known().has_file(at),
        };
        if known {
            return Ok(());
        }
        let followed = match &entry {
            Some(entry) => self.is_there(&entry.next()).await?,
            None => false,
        };
        if !followed {
            let (store, file) = (self.clone(), at.clone());
            match blocking(move || store.sync(What::File, &file)).await {
                // Cleaned up since it was found: nothing that will come back.
                Err(Error::NotFound { .. }) => return Ok(()),
                other => other?,
            }
            self.sync_names(std::slice::from_ref(at)).await?;
        }
        self.remember(at);
        Ok(())
    }

    fn remember(&self, at: &Path) {
        match Entry::of(at) {
            Some(entry) => self.known().entry(&entry.log, entry.version),
            None => self.known().file(at),
        }
    }

    async fn is_there(&self, at: &Path) -> Result<bool> {
        match self.inner.head(at).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Has the names of the directory `root` on this machine's disk and of those above it: any of them may be new. One that
/// we may not read, or whose file system knows no sync, was not made by us.
pub(super) fn sync_above(root: &Path) -> std::result::Result<(), SyncFailed> {
    for depth in (0..root.parts().count()).rev() {
        let above: Path = root.parts().take(depth).collect();
        match LocalDisk.sync_directory(&above) {
            Ok(()) => {}
            Err(Unsynced::NotOpened(error) | Unsynced::Failed(error))
                if [ErrorKind::PermissionDenied, ErrorKind::InvalidInput].contains(&error.kind()) =>
            {
                tracing::debug!(directory = %above, %error, "a directory above the lake is not synced");
            }
            Err(Unsynced::NotOpened(error) | Unsynced::Failed(error)) => return Err(SyncFailed::new(&above, error)),
        }
    }
    Ok(())
}

fn failed(at: &Path, error: std::io::Error) -> Error {
    let path = format!("/{at}");
    match error.kind() {
        ErrorKind::AlreadyExists => Error::AlreadyExists {
            path,
            source: error.into(),
        },
        ErrorKind::NotFound => Error::NotFound {
            path,
            source: error.into(),
        },
        kind => Error::Generic {
            store: "disk",
            source: Box::new(std::io::Error::new(kind, format!("{path}: {error}"))),
        },
    }
}

/// Runs `work` where it may block: on tokio's threads for that, or right here where there are none.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(work).await?,
        Err(_) => work(),
    }
}

impl fmt::Display for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Durable({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Durable {
    async fn put_opts(&self, at: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let create = match opts.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => return self.inner.put_opts(at, payload, opts).await,
        };
        if is_data(at) {
            return self.inner.put_opts(at, payload, opts).await;
        }
        if let Some(entry) = Entry::of(at) {
            if let Some(before) = entry.before()
                && self.is_there(&before).await?
            {
                self.settle(&before).await?;
            }
            self.sync_added(&entry, &payload).await?;
        }
        self.keep(at, payload, create).await?;
        self.remember(at);
        Ok(PutResult {
            e_tag: None,
            version: None,
        })
    }

    async fn put_multipart_opts(&self, at: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        if is_data(at) {
            return self.inner.put_multipart_opts(at, opts).await;
        }
        Ok(Box::new(Parts::new(self.clone(), at.clone())))
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        let found = self.inner.get_opts(at, options).await?;
        if !is_data(at) && !is_hint(at) {
            self.settle(at).await?;
        }
        Ok(found)
    }

    async fn get_ranges(&self, at: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let found = self.inner.get_ranges(at, ranges).await?;
        if !is_data(at) && !is_hint(at) {
            self.settle(at).await?;
        }
        Ok(found)
    }

    /// The names of files other than data are gone for good before anybody is told: what is written next in their
    /// place must not meet them again.
    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let deleted = self.inner.delete_stream(locations);
        let all = async move {
            let results: Vec<Result<Path>> = deleted.collect().await;
            let gone = results.iter().flatten().filter(|at| !is_data(at));
            let directories: std::collections::BTreeSet<Path> = gone.map(parent).collect();
            for at in results.iter().flatten() {
                store.known().forget(at);
            }
            match store.sync_all(What::Directory, directories.into_iter().collect()).await {
                Ok(()) => results,
                Err(error) => vec![Err(error)],
            }
        };
        futures::stream::once(all).flat_map(futures::stream::iter).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        self.settle(to).await
    }
}
