//! The verbs of a disk that an object store hides, and the disk of this machine.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;

use object_store::PutPayload;
use object_store::path::Path;
use uuid::Uuid;

/// What [`super::Durable`] asks of a disk. Every call blocks. What is written or named is on disk for good only after
/// the sync of the file, and of every directory that got a name.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Writes a new file beside `at`, under a name that no listing shows, and makes the directories that are missing.
    fn stage(&self, at: &Path, bytes: &PutPayload) -> io::Result<Path>;
    /// Gives the staged file the name `at` too, which must be free: [`ErrorKind::AlreadyExists`] where it is not.
    fn link(&self, staged: &Path, at: &Path) -> io::Result<()>;
    /// Gives the staged file the name `at` instead of its own, taking it from whatever has it.
    fn rename(&self, staged: &Path, at: &Path) -> io::Result<()>;
    /// Takes away the staged file's own name.
    fn discard(&self, staged: &Path) -> io::Result<()>;
    /// Has the content of the file at `at` on disk when it returns.
    fn sync_file(&self, at: &Path) -> Result<(), Unsynced>;
    /// Has the names in the directory `at` on disk when it returns.
    fn sync_directory(&self, at: &Path) -> Result<(), Unsynced>;
}

/// Why something is not known to be on disk.
#[derive(Debug)]
pub enum Unsynced {
    /// It could not be opened, so the disk was not asked: nothing is lost of it, and it may be tried again.
    NotOpened(io::Error),
    /// The disk was asked, and what was in it may be there or not.
    Failed(io::Error),
}

/// The file systems of this machine, from `/` on, as `object_store`'s `LocalFileSystem` without prefix sees them.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalDisk;

impl LocalDisk {
    fn place(at: &Path) -> PathBuf {
        PathBuf::from("/").join(at.as_ref())
    }
}

impl Disk for LocalDisk {
    fn stage(&self, at: &Path, bytes: &PutPayload) -> io::Result<Path> {
        // `LocalFileSystem` hides names that end in `#` and digits: they are its own unfinished files.
        let staged = Path::parse(format!("{at}#{}", Uuid::new_v4().as_u128())).map_err(io::Error::other)?;
        let place = Self::place(&staged);
        let create = || OpenOptions::new().write(true).create_new(true).open(&place);
        let mut file = match create() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                place.parent().map_or(Ok(()), std::fs::create_dir_all)?;
                create()?
            }
            other => other?,
        };
        bytes
            .iter()
            .try_for_each(|part| file.write_all(part))
            .inspect_err(|_| {
                // It is nobody's, and where the disk is full its space is wanted.
                let _ = std::fs::remove_file(&place);
            })?;
        Ok(staged)
    }

    fn link(&self, staged: &Path, at: &Path) -> io::Result<()> {
        std::fs::hard_link(Self::place(staged), Self::place(at))
    }

    fn rename(&self, staged: &Path, at: &Path) -> io::Result<()> {
        std::fs::rename(Self::place(staged), Self::place(at))
    }

    fn discard(&self, staged: &Path) -> io::Result<()> {
        std::fs::remove_file(Self::place(staged))
    }

    fn sync_file(&self, at: &Path) -> Result<(), Unsynced> {
        let file = File::open(Self::place(at)).map_err(Unsynced::NotOpened)?;
        file.sync_all().map_err(Unsynced::Failed)
    }

    fn sync_directory(&self, at: &Path) -> Result<(), Unsynced> {
        self.sync_file(at)
    }
}

/// What an error says that is, or came from, a [`SyncFailed`].
const NOT_SYNCED: &str = "not synced to disk";

/// A file or directory that could not be synced. What was in it may be on disk or not, and no later sync can tell:
/// a kernel may drop what it failed to write and call the next sync a success.
#[derive(Debug)]
pub struct SyncFailed {
    at: Path,
    why: String,
}

impl SyncFailed {
    /// What to do about it.
    pub(in crate::table) const NEXT: &str = "look at the disk, then start again: nothing that was committed is lost; a \
        file system that cannot sync needs durability = \"process\"";

    /// The failure of the sync of `at`.
    pub(super) fn new(at: &Path, why: impl fmt::Display) -> Self {
        Self {
            at: at.clone(),
            why: why.to_string(),
        }
    }

    /// Whether `error` is one, or came from one. Delta's kernel passes on what an error says, but not the error.
    pub fn caused(error: &(dyn std::error::Error + 'static)) -> bool {
        std::iter::successors(Some(error), |error| error.source()).any(|error| error.is::<Self>())
            || error.to_string().contains(NOT_SYNCED)
    }
}

impl fmt::Display for SyncFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NOT_SYNCED}: /{}: {}", self.at, self.why)
    }
}

impl std::error::Error for SyncFailed {}

impl From<SyncFailed> for object_store::Error {
    fn from(failed: SyncFailed) -> Self {
        Self::Generic {
            store: "disk",
            source: Box::new(failed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use object_store::local::LocalFileSystem;

    use super::super::{Durable, What};
    use super::*;

    #[test]
    fn a_directory_that_was_away_for_a_while_is_relied_on_again() {
        let lake = tempfile::tempdir().unwrap();
        let table = lake.path().join("table");
        fs::write(&table, "in place of a directory").unwrap();
        let root = Path::from_absolute_path(lake.path()).unwrap();
        let log = root.clone().join("table").join("_delta_log");
        let store = Durable::new(Arc::new(LocalFileSystem::new()), Arc::new(LocalDisk), root);
        let error = store.sync(What::Directory, &log).unwrap_err();
        assert!(!SyncFailed::caused(&error), "{error}");
        fs::remove_file(&table).unwrap();
        fs::create_dir_all(table.join("_delta_log")).unwrap();
        store.sync(What::Directory, &log).unwrap();
    }
}
