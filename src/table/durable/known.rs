//! What is known of the disk: what needs no sync any more, and what no sync can save.

use std::collections::{BTreeSet, HashMap, HashSet};

use object_store::path::Path;

/// Names that are remembered at most; beyond it all are forgotten, which costs a sync each when they come up again.
const REMEMBERED_MAX: usize = 100_000;

/// Everything this process has learnt of the disk. A new process knows nothing, because the one before it may have
/// been killed between a change and its sync.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Directories whose own name is on disk, and so those above them.
    directories: HashSet<Path>,
    /// Files that are on disk, content and name, and never change.
    files: HashSet<Path>,
    /// Per log directory, the newest version that is on disk, and so those before it.
    entries: HashMap<Path, u64>,
    /// Files and directories whose sync failed, and why.
    failed: HashMap<Path, String>,
}

impl Known {
    pub(super) fn why_failed(&self, at: &Path) -> Option<String> {
        self.failed.get(at).cloned()
    }

    pub(super) fn failed(&mut self, at: &Path, why: String) {
        self.failed.insert(at.clone(), why);
    }

    pub(super) fn has_file(&self, at: &Path) -> bool {
        self.files.contains(at)
    }

    pub(super) fn file(&mut self, at: &Path) {
        if self.files.len() >= REMEMBERED_MAX {
            self.files.clear();
        }
        self.files.insert(at.clone());
    }

    pub(super) fn forget(&mut self, at: &Path) {
        self.files.remove(at);
    }

    pub(super) fn has_entry(&self, log: &Path, version: u64) -> bool {
        self.entries.get(log).is_some_and(|newest| *newest >= version)
    }

    pub(super) fn entry(&mut self, log: &Path, version: u64) {
        let newest = self.entries.entry(log.clone()).or_default();
        *newest = version.max(*newest);
    }

    pub(super) fn directories(&mut self, new: impl IntoIterator<Item = Path>) {
        if self.directories.len() >= REMEMBERED_MAX {
            self.directories.clear();
        }
        self.directories.extend(new);
    }

    /// What must be synced so that the names of `files` are on disk.
    pub(super) fn above<'a>(&self, files: impl IntoIterator<Item = &'a Path>, root: &Path) -> Above {
        let mut above = Above::default();
        for file in files {
            let mut directory = parent(file);
            above.to_sync.insert(directory.clone());
            while directory != *root && !directory.as_ref().is_empty() && !self.directories.contains(&directory) {
                let up = parent(&directory);
                if !above.new.insert(directory) {
                    break;
                }
                above.to_sync.insert(up.clone());
                directory = up;
            }
        }
        above
    }
}

/// Directories above files.
#[derive(Debug, Default)]
pub(super) struct Above {
    /// Those that hold a name which may not be on disk.
    pub(super) to_sync: BTreeSet<Path>,
    /// Those whose own name is on disk when `to_sync` is synced.
    pub(super) new: BTreeSet<Path>,
}

/// The directory of a file or directory.
pub(super) fn parent(at: &Path) -> Path {
    let above = at.as_ref().rsplit_once('/').map_or("", |(above, _)| above);
    Path::parse(above).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(texts: &[&str]) -> BTreeSet<Path> {
        texts.iter().map(|text| Path::parse(text).unwrap()).collect()
    }

    #[test]
    fn each_directory_up_to_the_lake_is_synced_once_and_then_only_the_nearest() {
        let mut known = Known::default();
        let root = Path::from("data/lake");
        let files = paths(&[
            "data/lake/p/gold/n=1/a",
            "data/lake/p/gold/n=1/b",
            "data/lake/p/gold/n=2/c",
        ]);
        let above = known.above(&files, &root);
        let all = ["data/lake", "data/lake/p", "data/lake/p/gold"];
        let leaves = ["data/lake/p/gold/n=1", "data/lake/p/gold/n=2"];
        assert_eq!(above.to_sync, paths(&[&all[..], &leaves[..]].concat()));
        assert_eq!(above.new, paths(&[&all[1..], &leaves[..]].concat()));
        known.directories(above.new);
        let again = known.above(&paths(&["data/lake/p/gold/n=2/d"]), &root);
        assert_eq!((again.to_sync, again.new), (paths(&leaves[1..]), paths(&[])));
        let beside = known.above(&paths(&["data/lake/p/gold/n=3/d"]), &root);
        assert_eq!(beside.to_sync, paths(&["data/lake/p/gold", "data/lake/p/gold/n=3"]));
    }

    #[test]
    fn an_entry_on_disk_stands_for_those_before_it() {
        let mut known = Known::default();
        let log = Path::from("p/bronze/_delta_log");
        assert!(!known.has_entry(&log, 0));
        known.entry(&log, 7);
        known.entry(&log, 3);
        assert!(known.has_entry(&log, 7) && !known.has_entry(&log, 8));
    }
}
