//! Ticks: what may influence a result and is not in a record, written into bronze with a seq of its own.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::source::PartitionId;

/// Why a tick was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// A run began: the partitions it reads.
    Start,
    /// The set of idle partitions changed.
    Idle,
    /// The whole topic has been quiet for `quiet_ms`.
    Quiet,
    /// The input ended: every window may close.
    End,
    /// The operator accepted that records are missing.
    Gap,
}

/// The JSON in a tick's `value`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// Why it was written.
    pub reason: Reason,
    /// Wall-clock time of writing, RFC 3339; for people, nothing is computed from it.
    pub at: String,
    /// Partitions that hold the watermark, as `topic/partition`, sorted.
    pub active: Vec<String>,
    /// Partitions that do not, as `topic/partition`, sorted.
    pub idle: Vec<String>,
    /// How long the topic has been quiet, in milliseconds; 0 unless the reason is quiet.
    pub quiet_ms: u64,
    /// The range of offsets that is missing, for a gap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
}

/// A range of offsets that bronze will never have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The partition, as `topic/partition`.
    pub partition: String,
    /// The offset that was expected.
    pub from: i64,
    /// The offset that reading goes on from; below `from` where the topic was re-created.
    pub to: i64,
    /// Why the records are missing: `expired`, `recreated`, `replaced` or `partition_gone`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from offset {} to {}", self.partition, self.from, self.to)?;
        match &self.why {
            Some(why) => write!(f, " ({why})"),
            None => Ok(()),
        }
    }
}

impl Tick {
    /// A tick without gap; `active` and `idle` in any order.
    pub fn new(reason: Reason, at: String, active: &[PartitionId], idle: &[PartitionId], quiet_ms: u64) -> Self {
        let names = |ids: &[PartitionId]| {
            let mut names: Vec<String> = ids.iter().map(ToString::to_string).collect();
            names.sort();
            names
        };
        Self {
            reason,
            at,
            active: names(active),
            idle: names(idle),
            quiet_ms,
            gap: None,
        }
    }
}
