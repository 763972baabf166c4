//! Where records come from: Kafka, files, or the embedded broker of the demo and the tests.
//!
//! A source starts at the positions that bronze's table holds and hands out records in offset order per partition.
//! It decides nothing: whether positions fit what the broker still has is checked once, at the start, and an
//! answer of "no" is an [`crate::error::Kind::DataLoss`] that names the missing range.

pub mod embedded;
pub mod files;
pub mod generator;
pub mod kafka;
pub mod produce;

mod digest;
mod loss;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Result;

pub use digest::RecordDigest;
pub use loss::{Loss, LossReason, check_positions, loss_error};

/// One partition of one topic, or one file (topic = its path, partition 0). Shown as `topic/partition`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
}

impl PartitionId {
    /// Partition `partition` of `topic`.
    pub fn new(topic: impl Into<String>, partition: i32) -> Self {
        Self {
            topic: topic.into(),
            partition,
        }
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// The id that a broker gives to one topic and never to another, as the source writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicId(pub String);

/// The next offset to consume, per partition.
pub type Positions = BTreeMap<PartitionId, i64>;

/// Who set a record's timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// There is none.
    None,
    /// The producer.
    Create,
    /// The broker.
    LogAppend,
}

impl TimestampType {
    /// The word in bronze's `timestamp_type` column; none for [`TimestampType::None`].
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Create => Some("create_time"),
            Self::LogAppend => Some("log_append_time"),
        }
    }
}

/// One record as the source hands it over, borrowed for the call.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its offset, ascending per partition, with holes.
    pub offset: i64,
    /// Its timestamp in UTC microseconds.
    pub timestamp: Option<i64>,
    /// Who set the timestamp.
    pub timestamp_type: TimestampType,
    /// Its key; none is not the same as empty.
    pub key: Option<&'a [u8]>,
    /// Its payload; none is a tombstone, not the same as empty.
    pub value: Option<&'a [u8]>,
    /// Its headers in order.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// Bytes after which a poll hands out no more, so that a caller who bounds its memory is asked again in time.
pub const POLL_BYTES: usize = 8 << 20;

/// Where records come from.
pub trait Source: Send {
    /// Waits up to `wait` for records and hands each to `take`, at most `max` of them and none once they have
    /// [`POLL_BYTES`] together, ascending per partition. Returns how many came. Blocks the calling thread.
    fn poll(&mut self, wait: Duration, max: usize, take: &mut dyn FnMut(Record<'_>)) -> Result<usize>;

    /// The topic of every record handed out so far; none where the source has no such ids.
    fn topic_id(&self) -> Option<TopicId> {
        None
    }

    /// The next offset per assigned partition, past what was handed out and past control records behind it.
    fn positions(&self) -> Positions;

    /// The end offset (next offset a producer would get, read-committed) per partition, asked from the broker now.
    fn ends(&mut self) -> Result<Positions>;

    /// The end offset (as in [`Source::ends`]) per partition as the source heard it last, without asking; partitions of
    /// which it has heard nothing are left out. None of a source that never hears: what a poll leaves is nothing.
    fn told_ends(&self) -> Option<Positions> {
        None
    }

    /// Finds partitions that appeared since and starts them at offset 0. Returns the new ones.
    fn discover(&mut self) -> Result<Vec<PartitionId>>;

    /// Why it may not be the source that was opened any more, where something happened under which it could have been
    /// exchanged. It then hands out nothing: open it anew, which proves the positions. None where all is well.
    fn doubt(&self) -> Option<String> {
        None
    }

    /// Tells the broker what is committed, for lag tools only; failures are logged, never returned.
    fn report_committed(&mut self, positions: &Positions);
}
