//! Errors that librdkafka mends itself, and how long we let it try.

use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;

use super::client::{Client, unknown};
use crate::error::Result;

/// How long a topic may be unknown while it is read; a broker that restarts may say so for a while.
const UNKNOWN_PATIENCE: Duration = Duration::from_secs(60);
/// How often records may turn out unreadable before they count as damaged for good.
const UNREADABLE_MAX: u32 = 5;
/// After this long without any it counts afresh: then it was the network each time.
const UNREADABLE_FORGOTTEN: Duration = Duration::from_secs(600);
/// At most one warning in this time.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Whether `code` says that the broker does not have our offset.
pub(super) fn out_of_range(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::LogTruncation
    )
}

/// Whether `code` says that records came and could not be read: a wrong checksum, a codec or format that is not known,
/// too large. librdkafka passes over some of them and goes on behind.
pub(super) fn unreadable(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::BadMessage
            | RDKafkaErrorCode::BadCompression
            | RDKafkaErrorCode::InvalidMessage
            | RDKafkaErrorCode::InvalidMessageSize
            | RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::NotImplemented
            | RDKafkaErrorCode::Inconsistent
    )
}

/// What is to be done about an error event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cure {
    /// librdkafka tries again by itself.
    Wait,
    /// Read once more from the positions, or records are passed over.
    ReadAgain,
    /// The same records have been unreadable too often.
    None,
}

/// The errors since the last record.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    unknown_since: Option<Instant>,
    /// Whether the topic was unknown for a while: what comes then may be another topic of the same name.
    was_unknown: bool,
    unreadable: u32,
    unreadable_last: Option<Instant>,
    warned: Option<Instant>,
    unwarned: u64,
}

impl Trouble {
    /// Takes note of `code`.
    pub(super) fn note(&mut self, client: &Client, code: RDKafkaErrorCode) -> Cure {
        self.warn(client, code);
        if unknown(code) {
            self.unknown_since.get_or_insert_with(Instant::now);
            self.was_unknown = true;
        }
        if !unreadable(code) && !out_of_range(code) {
            return Cure::Wait;
        }
        if self
            .unreadable_last
            .is_some_and(|last| last.elapsed() > UNREADABLE_FORGOTTEN)
        {
            self.unreadable = 0;
        }
        self.unreadable += 1;
        self.unreadable_last = Some(Instant::now());
        if self.unreadable < UNREADABLE_MAX {
            Cure::ReadAgain
        } else {
            Cure::None
        }
    }

    /// Whether records have been unreadable.
    pub(super) fn met_unreadable(&self) -> bool {
        self.unreadable > 0
    }

    /// Whether the topic was unknown for a while.
    pub(super) fn was_unknown(&self) -> bool {
        self.was_unknown
    }

    /// Fails where the topic has been unknown for too long.
    pub(super) fn check(&mut self, client: &Client) -> Result<()> {
        if self
            .unknown_since
            .is_some_and(|since| since.elapsed() > UNKNOWN_PATIENCE)
        {
            client.partitions()?;
            // It is known again: the next error counts afresh.
            self.unknown_since = None;
        }
        Ok(())
    }

    /// Records came: whatever it was is over.
    pub(super) fn over(&mut self) {
        self.unknown_since = None;
    }

    fn warn(&mut self, client: &Client, code: RDKafkaErrorCode) {
        if self.warned.is_some_and(|last| last.elapsed() < WARN_EVERY) {
            self.unwarned += 1;
            return;
        }
        tracing::warn!(
            target: "medallion::kafka",
            brokers = client.brokers,
            topic = client.topic,
            like_this_since = self.unwarned,
            "Kafka: {code}; trying on, nothing is lost"
        );
        self.warned = Some(Instant::now());
        self.unwarned = 0;
    }
}
