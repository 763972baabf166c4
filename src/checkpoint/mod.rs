//! What makes a restart fast and what people like to read: a cache beside the tables, never the truth.
//!
//! **Invariant: delete any of it, at any time, and nothing is lost.** A file that is torn, flipped, of another
//! pipeline, lake, definition or replay, or from the future is refused with the reason and the state is rebuilt from
//! the tables; nothing of a refused file is used. Writing changes no row, and a failure to write stops nothing.
//!
//! `checkpoints/<pipeline>/silver-<position>.snapshot` holds silver's accepted keys at a position: the recent ones, and
//! the names of the `silver-<stamp>.volume` that hold the older ones ([`snapshot`] has the format, [`volumes`] theirs,
//! [`Folder`] the order in which snapshots come and go). `positions-<layer>.json` says where a layer stands, for people
//! only.

mod files;
mod positions;
pub mod snapshot;
#[cfg(test)]
mod tests;
pub mod volumes;

use std::path::PathBuf;
use std::time::Duration;

pub use files::{Folder, Found};
pub use positions::TablePosition;
pub use volumes::{Shape, Volumes};

/// Bronze rows after which silver's state is saved again.
pub const ROWS: i64 = 1_000_000;
/// After this long, a tenth of those rows is enough.
const PATIENCE: Duration = Duration::from_secs(600);

/// Where checkpoints are kept, if anywhere, and when silver's state is saved.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    root: Option<PathBuf>,
    rows: i64,
    shape: Shape,
}

impl Checkpoints {
    /// None are kept: each start rebuilds state from the tables.
    pub fn off() -> Self {
        Self {
            root: None,
            rows: ROWS,
            shape: Shape::default(),
        }
    }

    /// Kept under `root`, a local directory that is made when something is written.
    pub fn at(root: PathBuf) -> Self {
        Self {
            root: Some(root),
            rows: ROWS,
            shape: Shape::default(),
        }
    }

    /// The same, saving silver's state about every `rows` bronze rows.
    #[must_use]
    pub fn every(mut self, rows: i64) -> Self {
        self.rows = rows.max(1);
        self
    }

    /// The same, with older keys laid into volumes of this shape.
    #[must_use]
    pub fn shaped(mut self, shape: Shape) -> Self {
        self.shape = shape;
        self
    }

    /// How older keys are laid into volumes.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The folder of one pipeline; none where none are kept.
    pub fn of(&self, pipeline: &str) -> Option<Folder> {
        let root = self.root.as_ref()?;
        Some(Folder::new(root.join(pipeline)))
    }

    /// Whether a snapshot is due `rows` bronze rows and `elapsed` time after the last one, of `keys` recent keys now.
    ///
    /// A snapshot is as long as the recent keys, so it waits for half as many rows: also where they cannot be put into
    /// a volume, writing costs a bounded number of bytes per row.
    pub fn due(&self, rows: i64, keys: usize, elapsed: Duration) -> bool {
        let keys = i64::try_from(keys).unwrap_or(i64::MAX);
        rows >= self.rows.max(keys / 2) || (elapsed >= PATIENCE && rows >= (self.rows / 10).max(keys / 10).max(1))
    }

    /// Whether a snapshot is worth its write at the end of a run, `rows` bronze rows after the last one.
    pub fn worth(&self, rows: i64) -> bool {
        rows >= (self.rows / 10).max(1)
    }
}
