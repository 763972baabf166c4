//! What librdkafka says on the side: its logs go to ours, its last complaint is kept for error messages.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::TopicPartitionList;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

/// What librdkafka says of an answer that is larger than it may be, and nothing else.
const OVERSIZED: &str = "increase receive.message.max.bytes";
/// What it says of a connection that was in use when it ended.
const LOST: (&str, &str) = ("FAIL", "in state UP");
/// What it says when a topic has another id than the one known so far, and how it writes that none was known.
const OTHER_ID: &str = " changed id from ";
const NO_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA to ";

/// The callbacks of one client.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    last: Mutex<Option<String>>,
    oversized: Mutex<Option<String>>,
    has_id: AtomicBool,
    other_id: AtomicBool,
    lost: AtomicBool,
}

impl Observer {
    /// The last complaint since the previous call, for an error message.
    pub(crate) fn take_complaint(&self) -> Option<String> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether the topic has become another one of the same name. It is known before any of its records is fetched:
    /// fetches name topics by their ids.
    pub(crate) fn made_anew(&self) -> bool {
        self.other_id.load(Ordering::Acquire)
    }

    /// Whether a connection in use has ended to a broker that knows no topic ids: over the next one another topic of
    /// the same name may come, and nothing would tell.
    pub(crate) fn lost_sight(&self) -> bool {
        self.lost.load(Ordering::Acquire) && !self.has_id.load(Ordering::Acquire)
    }

    fn note(&self, facility: &str, message: &str) {
        if facility == LOST.0 && message.contains(LOST.1) {
            self.lost.store(true, Ordering::Release);
        }
        if let Some((_, ids)) = message.split_once(OTHER_ID) {
            let first = ids.starts_with(NO_ID);
            self.has_id.store(true, Ordering::Release);
            self.other_id.fetch_or(!first, Ordering::AcqRel);
        }
    }

    /// The complaint about an answer of the broker that is larger than we let it be, if there was one.
    pub(crate) fn oversized(&self) -> Option<String> {
        self.oversized.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, complaint: &str) {
        if complaint.contains(OVERSIZED) {
            *self.oversized.lock().unwrap_or_else(PoisonError::into_inner) = Some(complaint.to_owned());
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(complaint.to_owned());
    }
}

impl ClientContext for Observer {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.note(facility, message);
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => {
                self.keep(message);
                // Its errors are mostly lost connections that it mends itself; what is fatal reaches us as an error.
                tracing::debug!(target: "medallion::kafka", facility, "{message}");
            }
            _ => tracing::trace!(target: "medallion::kafka", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // That all brokers are down follows a complaint that says why.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            self.keep(reason);
        }
        tracing::debug!(target: "medallion::kafka", "{error}: {reason}");
    }
}

impl ConsumerContext for Observer {
    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(target: "medallion::kafka", "lag report to Kafka failed, nothing depends on it: {error}");
        }
    }
}
