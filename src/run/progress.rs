//! What a commit tells of the step behind it, beside the positions and what became of the rows: so that whoever reads the
//! log later knows what the step read, how long it took and what it kept.

use serde::{Deserialize, Serialize};

use super::account::Phases;

/// The key of it in the state of a commit.
pub(super) const KEY: &str = "progress";

/// What is known of a step when it commits.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Progress {
    /// Rows read: records and ticks for bronze, bronze rows for silver, silver rows for gold.
    pub(super) rows: u64,
    /// What its upstream had beyond the step: records for bronze, else bronze seqs; none where the source does not tell.
    pub(super) backlog: Option<i64>,
    /// Microseconds of its first part; for bronze from the first record that came.
    pub(super) read_us: u64,
    /// Microseconds of its second part.
    pub(super) compute_us: u64,
    /// Microseconds that the commit before took, which no commit can tell of itself; none for the first since a start.
    pub(super) previous_commit_us: Option<u64>,
    /// Keys or groups that the layer keeps in memory after the step.
    pub(super) state_rows: Option<u64>,
    /// Bytes of memory that these take, about.
    pub(super) state_bytes: Option<u64>,
    /// Bytes of the data files that the step has added to the layer's other table: rejects, or late rows.
    pub(super) beside_bytes: u64,
}

impl Progress {
    /// Of a step that has read `rows` and is about to commit.
    pub(super) fn of(rows: u64, backlog: Option<i64>, phases: &Phases, previous_commit_us: Option<u64>) -> Self {
        Self {
            rows,
            backlog,
            read_us: phases.micros("read").unwrap_or(0),
            compute_us: phases.micros("compute").unwrap_or(0),
            previous_commit_us,
            ..Self::default()
        }
    }
}
