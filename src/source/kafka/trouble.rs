//! Errors that librdkafka mends itself, and how long we let it try.

use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;

use super::client::{Client, unknown};
use crate::error::Result;

/// How long a topic may be unknown while it is read; a broker that restarts may say so for a while.
const UNKNOWN_PATIENCE: Duration = Duration::from_secs(60);
/// How often the same refusal of one message may come without any record in between.
const SAME_MESSAGE: u32 = 10;
/// At most one warning in this time.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Whether `code` says that the broker does not have our offset.
pub(super) fn out_of_range(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::LogTruncation
    )
}

/// The errors since the last record.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    unknown_since: Option<Instant>,
    stuck: u32,
    warned: Option<Instant>,
    unwarned: u64,
}

impl Trouble {
    /// Takes note of `code`, which a retry may mend; an error once that is no longer believable.
    pub(super) fn note(&mut self, client: &Client, code: RDKafkaErrorCode) -> Result<()> {
        if unknown(code) {
            self.unknown_since.get_or_insert_with(Instant::now);
        }
        if matches!(
            code,
            RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::BadMessage | RDKafkaErrorCode::InvalidMessage
        ) {
            self.stuck += 1;
            if self.stuck >= SAME_MESSAGE {
                return Err(client
                    .error(format!("a message cannot be read ({code})"))
                    .with_next("raise `receive.message.max.bytes` in `source.options`, or mend the topic"));
            }
        }
        self.warn(client, code);
        Ok(())
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
        self.stuck = 0;
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
