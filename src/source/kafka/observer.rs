//! What librdkafka says on the side: its logs go to ours, its last complaint is kept for error messages.

use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::TopicPartitionList;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

/// The callbacks of one client.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    last: Mutex<Option<String>>,
}

impl Observer {
    /// The last complaint since the previous call, for an error message.
    pub(crate) fn take_complaint(&self) -> Option<String> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn keep(&self, complaint: &str) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(complaint.to_owned());
    }
}

impl ClientContext for Observer {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
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
