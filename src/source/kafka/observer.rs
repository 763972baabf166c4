//! What librdkafka says on the side: its logs go to ours, its last complaint is kept for error messages, and what it
//! says of the topic's id and of lost connections is noted.
//!
//! All of it comes out of the queue of the records, when the client is polled: what was said before a record was fetched
//! is noted before a poll returns that record, though it may be by that very poll.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::TopicPartitionList;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use serde::Deserialize;

use super::identity::{self, Identity};
use crate::definition::{Secret, is_secret};
use crate::source::TopicId;

/// A value shorter than this is in ordinary words, too, and no secret worth the name.
const SHORTEST: usize = 4;
/// What librdkafka says of an answer that is larger than it may be, and nothing else.
const OVERSIZED: &str = "increase receive.message.max.bytes";
/// What it says of a connection that was in use when it ended.
const LOST: (&str, &str) = ("FAIL", "in state UP");

/// The callbacks of one client.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    last: Mutex<Option<String>>,
    /// Values that librdkafka may quote and nobody may see.
    secrets: Vec<Secret>,
    oversized: Mutex<Option<String>>,
    identity: Identity,
    lost: AtomicBool,
    /// Where the partitions end, by topic.
    ends: Mutex<Ends>,
}

type Ends = BTreeMap<String, BTreeMap<i32, i64>>;

/// Of librdkafka's statistics, where partitions end.
#[derive(Debug, Deserialize)]
struct Statistics {
    #[serde(default)]
    topics: BTreeMap<String, TopicStatistics>,
}

#[derive(Debug, Deserialize)]
struct TopicStatistics {
    #[serde(default)]
    partitions: BTreeMap<String, PartitionStatistics>,
}

/// End offsets; negative where librdkafka knows none yet.
#[derive(Debug, Deserialize)]
struct PartitionStatistics {
    /// Past the last record of a transaction that has ended.
    ls_offset: i64,
}

impl Observer {
    /// Callbacks that repeat no secret of these options, whatever librdkafka quotes.
    pub(crate) fn hiding(options: &BTreeMap<String, Secret>) -> Self {
        let secrets = options
            .iter()
            .filter(|(name, value)| is_secret(name) && value.0.len() >= SHORTEST)
            .map(|(_, value)| value.clone());
        Self {
            secrets: secrets.collect(),
            ..Self::default()
        }
    }

    fn hidden<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut hidden = Cow::Borrowed(text);
        for secret in &self.secrets {
            if hidden.contains(&secret.0) {
                hidden = Cow::Owned(hidden.replace(&secret.0, "***"));
            }
        }
        hidden
    }

    /// The last complaint since the previous call, for an error message.
    pub(crate) fn take_complaint(&self) -> Option<String> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The topic must have this id: with any other it is another topic.
    pub(super) fn expect(&self, id: TopicId) {
        self.identity.has(id);
    }

    /// The id under which records are fetched; none before anything was fetched, and where the broker has no ids.
    pub(super) fn topic_id(&self) -> Option<TopicId> {
        self.identity.id().cloned()
    }

    /// Whether the topic has become another one of the same name. A record polled while this is false is of the topic
    /// with [`Self::topic_id`].
    pub(super) fn made_anew(&self) -> bool {
        self.identity.is_other()
    }

    /// Whether a connection in use has ended to a broker that knows no topic ids: over the next one another topic of
    /// the same name may come, and nothing would tell.
    pub(super) fn lost_sight(&self) -> bool {
        self.lost.load(Ordering::Acquire) && self.identity.id().is_none()
    }

    /// Where the partitions of `topic` end, as far as the brokers have told.
    pub(super) fn ends(&self, topic: &str) -> BTreeMap<i32, i64> {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.get(topic).cloned().unwrap_or_default()
    }

    fn note(&self, facility: &str, message: &str) {
        if facility == LOST.0 && message.contains(LOST.1) {
            self.lost.store(true, Ordering::Release);
        }
        if let Some(id) = identity::told(message) {
            self.identity.has(id);
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
        let message = self.hidden(message);
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => {
                self.keep(&message);
                // Its errors are mostly lost connections that it mends itself; what is fatal reaches us as an error.
                tracing::debug!(target: "medallion::kafka", facility, "{message}");
            }
            _ => tracing::trace!(target: "medallion::kafka", facility, "{message}"),
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let read = match serde_json::from_slice::<Statistics>(statistics) {
            Ok(read) => read,
            Err(error) => {
                tracing::debug!(target: "medallion::kafka", "statistics that nobody can read: {error}");
                return;
            }
        };
        let of_topic = |topic: TopicStatistics| -> BTreeMap<i32, i64> {
            let known = topic
                .partitions
                .into_iter()
                .filter(|(_, partition)| partition.ls_offset >= 0);
            known
                .filter_map(|(name, partition)| Some((name.parse().ok()?, partition.ls_offset)))
                .collect()
        };
        let ends = read.topics.into_iter().map(|(name, topic)| (name, of_topic(topic)));
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = ends.collect();
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let reason = self.hidden(reason);
        // That all brokers are down follows a complaint that says why.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            self.keep(&reason);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_that_quotes_a_secret_is_kept_without_it() {
        let options = [
            ("sasl.oauthbearer.config", "principal=hunter2"),
            ("security.protocol", "sasl_ssl"),
            ("ssl.key.password", "abc"),
        ];
        let options = options.map(|(name, value)| (name.to_owned(), Secret(value.to_owned())));
        let observer = Observer::hiding(&options.into());
        let quoted = "sasl_ssl: unrecognized config beginning at: principal=hunter2 abc";
        observer.log(RDKafkaLogLevel::Error, "FAIL", quoted);
        let kept = observer.take_complaint().unwrap();
        assert_eq!(kept, "sasl_ssl: unrecognized config beginning at: *** abc");
        observer.error(KafkaError::NoMessageReceived, quoted);
        assert_eq!(observer.take_complaint().unwrap(), kept);
    }
}
