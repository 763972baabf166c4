//! Reference data with its history: which version of a lookup's file is in force at which seq.
//!
//! A lookup's file may change at any time and applies from the next step on. So that a restart in the middle of a
//! step, and the audit, decide as the step did, every version is kept beside the tables before the first step that
//! uses it: `<pipeline>/_reference/<silver's generation>/<lookup number>/<first seq>-<hash>.csv`. The version in force
//! at a seq is the one with the largest first seq not above it. A replay begins a new history with its generation.

use std::collections::BTreeMap;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::definition::{Contract, Lookup, Silver};
use crate::error::{Context, Error, Kind, Result};
use crate::layer::silver::Reference;
use crate::table::Lake;

/// All versions of a pipeline's reference data.
pub struct References {
    store: Arc<dyn ObjectStore>,
    root: Path,
    project: PathBuf,
    contract: Contract,
    lookups: Vec<Lookup>,
    /// Per lookup: first seq to version.
    versions: Vec<BTreeMap<i64, Reference>>,
    /// Per lookup: the file as it was last looked at.
    files: Vec<File>,
    /// Files that do not hold what their names say, with the first seq that each was kept for.
    torn: Vec<(i64, Path)>,
}

/// How long a changed file must stand still before it is read.
pub const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// A lookup's file, as far as it is known.
#[derive(Default)]
struct File {
    seen: Option<Seen>,
    /// Why it cannot be taken in.
    broken: Option<String>,
}

/// When the file was modified, and how many bytes it had.
type Stamp = (SystemTime, u64);

struct Seen {
    stamp: Stamp,
    since: Instant,
    /// Whether it has been read after it had stood still.
    settled: bool,
}

impl Seen {
    fn now(stamp: Stamp) -> Self {
        Self {
            stamp,
            since: Instant::now(),
            settled: false,
        }
    }
}

/// What a look at a file came to.
enum Read {
    /// It has just changed, or not since it was last read.
    Unsettled,
    /// It holds what is in force.
    InForce,
    /// It holds something new.
    New(Vec<u8>, Reference),
}

impl References {
    /// Reads the history that the lake holds for silver's content of this generation.
    pub async fn open(
        lake: &Lake,
        pipeline: &str,
        generation: &str,
        project: &FsPath,
        silver: &Silver,
    ) -> Result<Self> {
        let mut references = Self {
            store: lake.store(),
            root: Path::from(format!("{pipeline}/_reference/{generation}")),
            project: project.to_owned(),
            contract: silver.contract.clone(),
            lookups: silver.lookups.clone(),
            versions: vec![BTreeMap::new(); silver.lookups.len()],
            files: silver.lookups.iter().map(|_| File::default()).collect(),
            torn: Vec::new(),
        };
        for index in 0..silver.lookups.len() {
            references.load(index).await?;
        }
        Ok(references)
    }

    async fn load(&mut self, index: usize) -> Result<()> {
        let what = || format!("reading the reference history under {}", self.root);
        let listed: Vec<_> = self
            .store
            .list(Some(&self.directory(index)))
            .try_collect()
            .await
            .or_fail(Kind::Unavailable, what)?;
        for meta in listed {
            let Some((first, hash)) = meta.location.filename().and_then(named) else {
                continue;
            };
            let file = self.store.get(&meta.location).await.or_fail(Kind::Unavailable, what)?;
            let bytes = file.bytes().await.or_fail(Kind::Unavailable, what)?;
            if Reference::hash_of(&bytes) != hash {
                self.torn.push((first, meta.location));
                continue;
            }
            // A definition that changed its lookups cannot read old versions; they are then nobody's.
            if let Some(lookup) = self.lookups.get(index)
                && let Ok(reference) = Reference::parse(lookup, &self.contract, &bytes)
                && let Some(versions) = self.versions.get_mut(index)
            {
                versions.insert(first, reference);
            }
        }
        Ok(())
    }

    fn directory(&self, index: usize) -> Path {
        self.root.clone().join(index.to_string())
    }

    /// Takes in what the files hold now, in force from `from` on (the first seq that no committed row depends on)
    /// where it differs from what is in force there. A file that is missing or broken leaves the last good version
    /// in force, and [`References::broken`] tells of it; one that changed is read once it has stood still for
    /// [`SETTLED_AFTER`], because whoever rewrites it may be half way. Returns whether anything changed.
    ///
    /// Errors: [`Kind::Definition`] for a file that is missing or broken where there is no good version to keep.
    pub async fn refresh(&mut self, from: i64) -> Result<bool> {
        let mut changed = false;
        self.drop_torn(from).await?;
        for index in 0..self.lookups.len() {
            let in_force = self
                .versions
                .get(index)
                .and_then(|versions| versions.range(..=from).next_back())
                .map(|(_, reference)| reference.hash().to_owned());
            let read = match self.read(index, in_force.as_deref()) {
                Ok(read) => {
                    if !matches!(read, Read::Unsettled) {
                        self.set_broken(index, None);
                    }
                    read
                }
                Err(error) if in_force.is_some() => {
                    self.set_broken(index, Some(error.to_string()));
                    Read::InForce
                }
                Err(error) => return Err(error),
            };
            // Versions beyond `from` belong to steps that never committed.
            self.drop_from(index, from + 1).await?;
            if let Read::New(bytes, reference) = read {
                self.keep(index, from, bytes, reference).await?;
                changed = true;
            }
        }
        Ok(changed)
    }

    /// What is wrong with the files now, a line each; empty where nothing is.
    pub fn broken(&self) -> String {
        let lines: Vec<&str> = self.files.iter().filter_map(|file| file.broken.as_deref()).collect();
        lines.join("; ")
    }

    fn set_broken(&mut self, index: usize, why: Option<String>) {
        if let Some(file) = self.files.get_mut(index) {
            file.broken = why;
        }
    }

    /// The file of a lookup, as far as it has to be looked at: every step asks, and hardly ever has anything changed.
    fn read(&mut self, index: usize, in_force: Option<&str>) -> Result<Read> {
        let (Some(lookup), Some(file)) = (self.lookups.get(index), self.files.get_mut(index)) else {
            return Ok(Read::InForce);
        };
        let path = self.project.join(&lookup.file);
        let failed = |error: std::io::Error| {
            let next = "put the file back, or mend `file` of the lookup";
            Error::new(
                Kind::Definition,
                format!("reference data {}: {error}", lookup.file.display()),
            )
            .with_next(next)
        };
        let metadata = std::fs::metadata(&path).map_err(|error| {
            // What comes in its place is a change and must stand still first.
            file.seen = Some(Seen::now((SystemTime::UNIX_EPOCH, 0)));
            failed(error)
        })?;
        let stamp = (metadata.modified().map_err(failed)?, metadata.len());
        match &mut file.seen {
            Some(seen) if seen.stamp != stamp => {
                *seen = Seen::now(stamp);
                return Ok(Read::Unsettled);
            }
            Some(seen) if seen.settled || seen.since.elapsed() < SETTLED_AFTER => return Ok(Read::Unsettled),
            Some(seen) => seen.settled = true,
            // The first look of a run takes what is there: whoever starts it means that.
            seen => *seen = Some(Seen::now(stamp)),
        }
        let bytes = std::fs::read(&path).map_err(failed)?;
        if in_force == Some(Reference::hash_of(&bytes).as_str()) {
            return Ok(Read::InForce);
        }
        let reference = Reference::parse(lookup, &self.contract, &bytes)?;
        Ok(Read::New(bytes, reference))
    }

    /// Keeps a version in the lake, then puts it into force from `from` on.
    async fn keep(&mut self, index: usize, from: i64, bytes: Vec<u8>, reference: Reference) -> Result<()> {
        self.drop_from(index, from).await?;
        let location = self
            .directory(index)
            .join(format!("{from:020}-{}.csv", reference.hash()));
        self.store
            .put(&location, bytes.into())
            .await
            .or_fail(Kind::Unavailable, || format!("keeping reference data {location}"))?;
        if let Some(versions) = self.versions.get_mut(index) {
            versions.insert(from, reference);
        }
        Ok(())
    }

    /// Removes files that were begun and never finished. What rows depend on was finished first.
    async fn drop_torn(&mut self, from: i64) -> Result<()> {
        self.require_whole(from - 1)?;
        for (_, location) in self.torn.drain(..) {
            tracing::warn!(%location, "dropping a copy of reference data that was never finished");
            match self.store.delete(&location).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error).or_fail(Kind::Unavailable, || format!("dropping {location}")),
            }
        }
        Ok(())
    }

    /// Refuses a history in which a version for `seq` or below is not whole.
    fn require_whole(&self, seq: i64) -> Result<()> {
        match self.torn.iter().find(|(first, _)| *first <= seq) {
            None => Ok(()),
            Some((_, location)) => Err(Error::new(
                Kind::Damaged,
                format!("reference data {location} is not what was kept under that name"),
            )
            .with_next("restore that file, or replay silver")),
        }
    }

    async fn drop_from(&mut self, index: usize, from: i64) -> Result<()> {
        let directory = self.directory(index);
        let Some(versions) = self.versions.get_mut(index) else {
            return Ok(());
        };
        for (first, reference) in versions.split_off(&from) {
            let location = directory.clone().join(format!("{first:020}-{}.csv", reference.hash()));
            match self.store.delete(&location).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error).or_fail(Kind::Unavailable, || format!("dropping {location}")),
            }
        }
        Ok(())
    }

    /// The versions in force at `seq`, one per lookup, and the seq at which the next change is, if there is one.
    ///
    /// Errors: [`Kind::Damaged`] where the history has no version for `seq`.
    pub fn at(&self, seq: i64) -> Result<(Vec<Reference>, Option<i64>)> {
        self.require_whole(seq)?;
        let mut current = Vec::with_capacity(self.versions.len());
        let mut boundary: Option<i64> = None;
        for (lookup, versions) in self.lookups.iter().zip(&self.versions) {
            let (_, reference) = versions.range(..=seq).next_back().ok_or_else(|| {
                Error::new(
                    Kind::Damaged,
                    format!(
                        "no version of {} is kept for seq {seq} under {}",
                        lookup.file.display(),
                        self.root
                    ),
                )
                .with_next("restore that directory, or replay silver")
            })?;
            current.push(reference.clone());
            let next = versions.range(seq + 1..).next().map(|(first, _)| *first);
            boundary = [boundary, next].into_iter().flatten().min();
        }
        Ok((current, boundary))
    }
}

/// The first seq and the hash in a version's name.
fn named(name: &str) -> Option<(i64, &str)> {
    let (first, hash) = name.strip_suffix(".csv")?.split_once('-')?;
    Some((first.parse().ok()?, hash))
}
