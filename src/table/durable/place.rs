//! What a file of a lake is, by its path.

use object_store::path::Path;

use super::known::parent;

const LOG: &str = "_delta_log";

/// A log entry's place.
pub(super) struct Entry {
    /// The table's log directory.
    pub(super) log: Path,
    /// The table's version that it makes.
    pub(super) version: u64,
}

impl Entry {
    /// The entry that lies at `at`; none where another kind of file does.
    pub(super) fn of(at: &Path) -> Option<Self> {
        let log = parent(at);
        let version = at.filename()?.strip_suffix(".json")?;
        let is_entry = log.filename() == Some(LOG) && version.len() == 20;
        let version = version.parse().ok().filter(|_| is_entry)?;
        Some(Self { log, version })
    }

    fn at(&self, version: u64) -> Path {
        self.log.clone().join(format!("{version:020}.json"))
    }

    /// Where the entry after it lies.
    pub(super) fn next(&self) -> Path {
        self.at(self.version + 1)
    }

    /// Where the entry before it lies; the first has none.
    pub(super) fn before(&self) -> Option<Path> {
        Some(self.at(self.version.checked_sub(1)?))
    }
}

/// Whether it is a table's data, which counts only when a log entry names it. All that begins with `_` is not.
pub(super) fn is_data(at: &Path) -> bool {
    at.as_ref().ends_with(".parquet") && !at.as_ref().split('/').any(|part| part.starts_with('_'))
}

/// Whether the file may be believed without being on disk: Delta's pointer to the newest log checkpoint is a hint, of
/// which one that is older or gone serves as well.
pub(super) fn is_hint(at: &Path) -> bool {
    at.filename() == Some("_last_checkpoint")
}

/// The file at `at` under `directory`.
pub(super) fn below(directory: &Path, at: &Path) -> Path {
    Path::parse(format!("{directory}/{at}")).unwrap_or_default()
}
