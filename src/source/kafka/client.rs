//! One consumer client and what can be asked of the broker with it: partitions and watermarks, each bounded in time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::config;
use super::observer::Observer;
use crate::definition::Secret;
use crate::error::{Error, Kind, Result};
use crate::source::{PartitionId, Positions};

/// How long the broker may take to answer before it counts as unreachable.
pub(super) const ANSWER: Duration = Duration::from_secs(12);
/// How long a topic may be unknown before that is an answer: metadata of a topic just created takes a moment to spread.
const UNKNOWN_TOPIC: Duration = Duration::from_secs(5);

/// How long the end of a client is waited for.
const CLOSE: Duration = Duration::from_secs(5);

/// A consumer bound to one topic.
pub(super) struct Client {
    pub(super) consumer: Arc<BaseConsumer<Observer>>,
    pub(super) brokers: String,
    pub(super) topic: String,
    // Below the consumer: fields end in this order, and the last hold on it must be the closer's.
    _closer: Closer,
}

/// Ends the consumer on a thread of its own, because librdkafka may hang in it: then the thread stays behind, not us.
struct Closer(Option<Arc<BaseConsumer<Observer>>>);

impl Drop for Closer {
    fn drop(&mut self) {
        let consumer = self.0.take();
        let (done, ended) = std::sync::mpsc::channel::<()>();
        let close = move || {
            drop(consumer);
            drop(done);
        };
        // Where no thread can be had the consumer ends right here, with the closure.
        let closing = std::thread::Builder::new().name("kafka-close".to_owned()).spawn(close);
        if closing.is_ok() && ended.recv_timeout(CLOSE) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!(
                target: "medallion::kafka",
                "a Kafka client does not end within {} s and is left behind",
                CLOSE.as_secs()
            );
        }
    }
}

impl Client {
    /// Creates the client; nothing is sent yet. `extra` are settings over the usual ones.
    pub(super) fn new(
        brokers: &str,
        topic: &str,
        options: &BTreeMap<String, Secret>,
        group: &str,
        extra: &[(&str, &str)],
    ) -> Result<Self> {
        config::check_topic(topic)?;
        let mut settings = config::consumer(brokers, options, group)?;
        for (key, value) in extra {
            settings.set(*key, *value);
        }
        let consumer: BaseConsumer<Observer> = config::create(&settings, Observer::hiding(options))?;
        let consumer = Arc::new(consumer);
        Ok(Self {
            consumer: consumer.clone(),
            brokers: brokers.to_owned(),
            topic: topic.to_owned(),
            _closer: Closer(Some(consumer)),
        })
    }

    /// The partitions of the topic. Waits a bounded time for the broker and for the topic to be known.
    pub(super) fn partitions(&self) -> Result<BTreeSet<i32>> {
        let begun = Instant::now();
        let mut unknown_since: Option<Instant> = None;
        loop {
            let left = ANSWER.saturating_sub(begun.elapsed());
            match self.ask_partitions(left.max(Duration::from_millis(100))) {
                Ok(partitions) => return Ok(partitions),
                Err(code) if unknown(code) => {
                    if unknown_since.get_or_insert_with(Instant::now).elapsed() >= UNKNOWN_TOPIC {
                        return Err(self.unknown_topic());
                    }
                }
                Err(code) => {
                    if let Some(error) = self.refusal(code) {
                        return Err(error);
                    }
                    if begun.elapsed() >= ANSWER {
                        return Err(self.unreachable(code));
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn ask_partitions(&self, wait: Duration) -> Result<BTreeSet<i32>, RDKafkaErrorCode> {
        let metadata = self.consumer.fetch_metadata(Some(&self.topic), wait).map_err(code_of)?;
        let Some(topic) = metadata.topics().iter().find(|found| found.name() == self.topic) else {
            return Err(RDKafkaErrorCode::UnknownTopicOrPartition);
        };
        // The partitions of a topic with an error must not be asked for: the list is a null pointer.
        if let Some(error) = topic.error() {
            return Err(error.into());
        }
        let partitions: BTreeSet<i32> = topic.partitions().iter().map(|partition| partition.id()).collect();
        if partitions.is_empty() {
            return Err(RDKafkaErrorCode::UnknownTopicOrPartition);
        }
        Ok(partitions)
    }

    /// The first offset of each of `partitions`.
    pub(super) fn lows(&self, partitions: &BTreeSet<i32>) -> Result<Positions> {
        self.watermarks(partitions, Offset::Beginning)
    }

    /// The end of each of `partitions` for a read-committed reader: the last stable offset, which an open transaction
    /// holds back. That reader is never past it.
    pub(super) fn highs(&self, partitions: &BTreeSet<i32>) -> Result<Positions> {
        self.watermarks(partitions, Offset::End)
    }

    fn watermarks(&self, partitions: &BTreeSet<i32>, which: Offset) -> Result<Positions> {
        let begun = Instant::now();
        loop {
            let left = ANSWER.saturating_sub(begun.elapsed()).max(Duration::from_millis(100));
            match self.ask_watermarks(partitions, which, left) {
                Ok(offsets) => return Ok(offsets),
                Err(code) => {
                    if let Some(error) = self.refusal(code) {
                        return Err(error);
                    }
                    if begun.elapsed() >= ANSWER {
                        return Err(self.unreachable(code));
                    }
                    // A leader just moved, or a connection was lost: both mend themselves.
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        }
    }

    fn ask_watermarks(
        &self,
        partitions: &BTreeSet<i32>,
        which: Offset,
        wait: Duration,
    ) -> Result<Positions, RDKafkaErrorCode> {
        let mut asked = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            asked
                .add_partition_offset(&self.topic, *partition, which)
                .map_err(code_of)?;
        }
        // A look-up by time with the two logical times: one request per leader instead of two per partition.
        let answer = self.consumer.offsets_for_times(asked, wait).map_err(code_of)?;
        let mut offsets = Positions::new();
        for element in answer.elements() {
            element.error().map_err(code_of)?;
            let Offset::Offset(offset) = element.offset() else {
                return Err(RDKafkaErrorCode::OffsetNotAvailable);
            };
            offsets.insert(PartitionId::new(&self.topic, element.partition()), offset);
        }
        Ok(offsets)
    }

    /// The error for a code that waiting does not mend; none for the others.
    pub(super) fn refusal(&self, code: RDKafkaErrorCode) -> Option<Error> {
        let (what, next) = match code {
            RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed => (
                "refuses our credentials",
                "mend `sasl.*` and `security.protocol` in `source.options`",
            ),
            RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed => (
                "does not let us read the topic",
                "grant Read and Describe on the topic to the user of `source.options`",
            ),
            RDKafkaErrorCode::UnsupportedSASLMechanism => (
                "does not know our SASL mechanism",
                "mend `sasl.mechanism` in `source.options`",
            ),
            _ => return None,
        };
        Some(self.error(format!("the broker {what} ({code})")).with_next(next))
    }

    /// The error for a topic that stays unknown.
    pub(super) fn unknown_topic(&self) -> Error {
        Error::new(
            Kind::Unavailable,
            format!("the Kafka broker at {} has no topic `{}`", self.brokers, self.topic),
        )
        .with_next("create the topic or mend `source.topic`")
    }

    /// The error for a broker that does not answer.
    fn unreachable(&self, code: RDKafkaErrorCode) -> Error {
        self.error(format!(
            "no answer from the broker within {} s ({code})",
            ANSWER.as_secs()
        ))
        .with_next("see that the broker runs and mend `source.brokers`; nothing is lost")
    }

    /// An error of kind unavailable that names broker and topic, with librdkafka's last complaint.
    pub(super) fn error(&self, what: impl std::fmt::Display) -> Error {
        // Complaints wait in the queue until somebody polls; once partitions are assigned records wait there too, and
        // a record polled here would move the position without having been handed out.
        if self.consumer.assignment().is_ok_and(|assigned| assigned.count() == 0) {
            for _ in 0..20 {
                drop(self.consumer.poll(Duration::ZERO));
            }
        }
        let complaint = self.consumer.context().take_complaint();
        let complaint = complaint.map(|text| format!(": {text}")).unwrap_or_default();
        let message = format!("Kafka at {}, topic `{}`: {what}{complaint}", self.brokers, self.topic);
        Error::new(Kind::Unavailable, message)
    }
}

/// The librdkafka code behind `error`; `Fail` where it has none.
pub(super) fn code_of(error: KafkaError) -> RDKafkaErrorCode {
    error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail)
}

/// Whether `code` says that there is no such topic or partition.
pub(super) fn unknown(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::UnknownTopicId
    )
}
