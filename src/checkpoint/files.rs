//! The folder of a pipeline's checkpoints: how snapshots come, are found, and go.
//!
//! A snapshot is written under another name, synced, renamed, and the folder synced; so at every moment a file under
//! its own name is whole, or was lost with the power and is refused. The generation before it goes on being kept, and
//! what is older is deleted only after the new one was read back.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use super::snapshot::{self, Entry, Header, Identity, Refused};
use super::volumes::Named;
use crate::error::{Context, Error, Kind, Result};

const PREFIX: &str = "silver-";
const SUFFIX: &str = ".snapshot";
/// What a snapshot is called while it is written; nobody reads it.
const UNFINISHED: &str = ".unfinished";
const READ_BYTES: usize = 1 << 20;

/// The checkpoints of one pipeline.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

/// A file that bears the name of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The position in its name.
    pub position: i64,
    /// The file.
    pub path: PathBuf,
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What bears the name of a snapshot, the newest position first; empty where the folder cannot be listed.
    pub fn snapshots(&self) -> Vec<Found> {
        let Ok(listed) = fs::read_dir(&self.path) else {
            return Vec::new();
        };
        let mut found: Vec<Found> = listed
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let name = path.file_name()?.to_str()?;
                let position = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
                let position = position.parse().ok()?;
                Some(Found { position, path })
            })
            .collect();
        found.sort_by(|a, b| (b.position, &b.path).cmp(&(a.position, &a.path)));
        found
    }

    /// Reads a snapshot of `identity`, giving its keys to `take`.
    ///
    /// # Errors
    /// Why it is not to be used; what was taken is void then.
    pub fn load(&self, found: &Found, identity: &Identity, take: impl FnMut(Entry)) -> Result<Header, Refused> {
        let (file, length) = open_plain(&found.path)?;
        let header = snapshot::read(BufReader::with_capacity(READ_BYTES, file), length, identity, take)?;
        if header.position != found.position {
            return Err(Refused::Damaged("its position is not the one in its name"));
        }
        Ok(header)
    }

    /// The header of a snapshot of `identity`.
    ///
    /// # Errors
    /// Why it is not to be used.
    pub fn header(&self, found: &Found, identity: &Identity) -> Result<Header, Refused> {
        let (file, length) = open_plain(&found.path)?;
        let header = snapshot::read_header(file, length)?;
        header.identity.require(identity)?;
        Ok(header)
    }

    /// Writes a snapshot, reads it back, and then deletes what it makes useless: all but the one at `previous`, the
    /// newest that is known to be sound.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] where it cannot be written; the snapshots that were there are then still there.
    pub fn save(&self, header: &Header, entries: impl Iterator<Item = Entry>, previous: i64) -> Result<()> {
        let what = || format!("the snapshot of silver's state in {}", self.path.display());
        private_directory(&self.path).or_fail(Kind::Unavailable, what)?;
        self.sweep();
        let target = self.path.join(format!("{PREFIX}{:020}{SUFFIX}", header.position));
        let unfinished = self.unfinished(header.position);
        let written = write_unfinished(&unfinished, header, entries).and_then(|()| self.publish(&unfinished, &target));
        if let Err(error) = written {
            // Its place on the disk is worth more than its content; the sweep of the next write would take it, too.
            let _ = fs::remove_file(&unfinished);
            return Err(error).or_fail(Kind::Unavailable, what);
        }
        let found = Found {
            position: header.position,
            path: target,
        };
        match self.load(&found, &header.identity, |_| {}) {
            Ok(back) if back == *header => self.prune(&found, previous).or_fail(Kind::Unavailable, what),
            back => {
                let why = back.map_or_else(|refused| refused.to_string(), |_| "it is another one".to_owned());
                let _ = fs::remove_file(&found.path);
                Err(Error::new(Kind::Unavailable, format!("{}: read back, {why}", what())))
            }
        }
    }

    fn unfinished(&self, position: i64) -> PathBuf {
        let process = std::process::id();
        self.path.join(format!(".{PREFIX}{position:020}.{process}{UNFINISHED}"))
    }

    /// Gives the finished file its name.
    fn publish(&self, unfinished: &Path, target: &Path) -> io::Result<()> {
        fs::rename(unfinished, target)?;
        #[cfg(debug_assertions)]
        crate::failpoint::hit("S7");
        sync_directory(&self.path)
    }

    /// Deletes every snapshot but `newest` and the one at `previous`. The others are older, or of a state that is not
    /// this one, or were refused when this process began.
    fn prune(&self, newest: &Found, previous: i64) -> io::Result<()> {
        for found in self.snapshots() {
            if found != *newest && found.position != previous {
                remove(&found.path)?;
                #[cfg(debug_assertions)]
                crate::failpoint::hit("S8");
            }
        }
        Ok(())
    }

    /// The volumes that snapshots here name, whosever they are.
    pub(super) fn named(&self) -> Vec<Named> {
        let header = |found: Found| {
            let (file, length) = open_plain(&found.path).ok()?;
            snapshot::read_header(BufReader::new(file), length).ok()
        };
        let headers = self.snapshots().into_iter().filter_map(header);
        headers.flat_map(|header| header.volumes).collect()
    }

    /// Deletes what a process that died left half written.
    fn sweep(&self) {
        let is_ours = |name: &str| name.strip_prefix('.').is_some_and(|name| name.starts_with(PREFIX));
        self.delete(is_ours);
    }

    /// Deletes the files of these names.
    pub(super) fn delete(&self, of_no_use: impl Fn(&str) -> bool) {
        let Ok(listed) = fs::read_dir(&self.path) else {
            return;
        };
        for path in listed.flatten().map(|entry| entry.path()) {
            if path.file_name().and_then(|name| name.to_str()).is_some_and(&of_no_use) {
                // One that stays is in nobody's way: nothing reads it.
                let _ = remove(&path);
            }
        }
    }

    /// Writes a small file for people: whole or not at all, but not synced.
    pub(super) fn write_for_people(&self, name: &str, text: &[u8]) -> Result<()> {
        let what = || format!("{name} in {}", self.path.display());
        let write = || -> io::Result<()> {
            private_directory(&self.path)?;
            let unfinished = self.path.join(format!(".{name}{UNFINISHED}"));
            if let Err(error) = fs::remove_file(&unfinished)
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(error);
            }
            private_file(&unfinished)?.write_all(text)?;
            fs::rename(&unfinished, self.path.join(name))
        };
        write().or_fail(Kind::Unavailable, what)
    }
}

/// Opens what must be a plain file: a pipe under this name would let its reader wait for ever.
pub(super) fn open_plain(path: &Path) -> Result<(File, u64), Refused> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(Refused::NoSnapshot);
    }
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

fn write_unfinished(path: &Path, header: &Header, entries: impl Iterator<Item = Entry>) -> io::Result<()> {
    let writer = snapshot::write_front(private_file(path)?, header)?;
    #[cfg(debug_assertions)]
    crate::failpoint::hit("S6");
    let file = writer.finish(entries)?;
    file.sync_all()
}

/// A new file that only its owner may read or write: keys are hashes, but of someone's data.
pub(super) fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

pub(super) fn private_directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Deletes a file or a link; a directory is someone else's and stays, one that is gone already is gone.
fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
        Err(_) => Ok(()),
    }
}
