//! A Kafka topic as a source: static assignment from our own offsets, never the consumer group's.
//!
//! librdkafka may neither reset an offset nor commit one: the position lives in bronze's table. The group id serves
//! lag tools only. Every way in which records can be missing ends in [`Kind::DataLoss`] that names the range:
//! retention, a re-created or truncated topic, a partition that is gone.
//!
//! Offsets cannot tell a re-created topic whose log has grown past ours. [`KafkaSource::read_many`] reads the records
//! before our positions so that the caller can compare fingerprints, and [`KafkaSource::resume`] hands out nothing but
//! records of the topic in which they were found. Whenever the topic has another id, or may have been exchanged on a
//! broker without ids (it was unknown for a while, or a connection was lost), the source doubts itself: it gives nothing
//! more and moves no position until it is opened and compared anew.

mod client;
mod config;
mod identity;
mod message;
mod observer;
mod peek;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::definition;
use crate::error::{Context, Error, Kind, Result};
use crate::source::{Loss, POLL_BYTES, PartitionId, Positions, Record, Source, TopicId, check_positions, loss_error};

pub(crate) use config::{apply_options, create};
pub use config::{check_topic, in_the_clear, valid_topic};
pub(crate) use observer::Observer;
pub use peek::Seen;

use client::{Client, code_of};
use trouble::{Cure, Trouble};

/// How often the positions are moved over transaction markers while records come.
const FOLLOW: Duration = Duration::from_millis(100);

/// A topic being read. Used from one thread, which it blocks.
pub struct KafkaSource {
    pipeline: String,
    client: Client,
    /// Next offset per partition, past what was handed out and past the transaction markers behind it.
    next: BTreeMap<i32, i64>,
    /// When markers were last looked for; it costs a question to librdkafka's thread.
    followed: Instant,
    trouble: Trouble,
    /// An error that came after records of the same poll: it is told by the next one.
    pending: Option<Error>,
}

impl KafkaSource {
    /// Connects and starts every partition at its position in `start`, those it does not know at 0. Where `start` knows
    /// no partition of the topic at all, nothing of ours can have been lost: every partition starts at its first
    /// offset. Waits some 12 s for a broker that does not answer, 5 s for a topic that is not there.
    ///
    /// # Errors
    /// [`Kind::DataLoss`] where positions do not fit the topic, [`Kind::Unavailable`] where the broker does not answer,
    /// refuses us or has no such topic, [`Kind::Definition`] for options librdkafka refuses.
    pub fn open(pipeline: &str, def: &definition::KafkaSource, start: &Positions) -> Result<Box<dyn Source>> {
        Self::resume(pipeline, def, start, None)
    }

    /// As [`Self::open`]; where `topic` is told, records of no other topic are handed out.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub fn resume(
        pipeline: &str,
        def: &definition::KafkaSource,
        start: &Positions,
        topic: Option<TopicId>,
    ) -> Result<Box<dyn Source>> {
        let client = Client::new(&def.brokers, &def.topic, &def.options, &group(pipeline), &[])?;
        if let Some(topic) = topic {
            client.consumer.context().expect(topic);
        }
        let partitions = client.partitions()?;
        let known = of_topic(start, &def.topic);
        let begin = if known.is_empty() {
            client.lows(&partitions)?
        } else {
            if let Some(error) = loss_error(pipeline, &losses(&client, &partitions, &known)?) {
                return Err(error);
            }
            known
        };
        let next: BTreeMap<i32, i64> = partitions
            .iter()
            .map(|&partition| {
                let id = PartitionId::new(&def.topic, partition);
                (partition, begin.get(&id).copied().unwrap_or(0))
            })
            .collect();
        let source = Self {
            pipeline: pipeline.to_owned(),
            client,
            next,
            followed: Instant::now(),
            trouble: Trouble::default(),
            pending: None,
        };
        source.assign()?;
        Ok(Box::new(source))
    }

    /// Reads every partition from its next offset on; what was fetched and not handed out is forgotten.
    fn assign(&self) -> Result<()> {
        let assignment = self.partition_list(self.next.iter().map(|(&p, &offset)| (p, offset)))?;
        let assigned = self.client.consumer.assign(&assignment);
        assigned.or_fail(Kind::Bug, || {
            format!("assigning the partitions of `{}`", self.client.topic)
        })
    }

    /// What is missing of the topic for a reader at `start`; empty where it can go on. For `accept-gap`.
    pub fn losses(def: &definition::KafkaSource, start: &Positions) -> Result<Vec<Loss>> {
        let known = of_topic(start, &def.topic);
        if known.is_empty() {
            return Ok(Vec::new());
        }
        let client = Client::new(&def.brokers, &def.topic, &def.options, CHECK, &[])?;
        let partitions = client.partitions()?;
        losses(&client, &partitions, &known)
    }

    /// The first offset of every partition of the topic now.
    pub fn first_offsets(def: &definition::KafkaSource) -> Result<Positions> {
        let client = Client::new(&def.brokers, &def.topic, &def.options, CHECK, &[])?;
        client.lows(&client.partitions()?)
    }

    fn partition_list(&self, offsets: impl Iterator<Item = (i32, i64)>) -> Result<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            list.add_partition_offset(&self.client.topic, partition, Offset::Offset(offset))
                .or_fail(Kind::Damaged, || {
                    format!("{}/{partition} cannot start at offset {offset}", self.client.topic)
                })?;
        }
        Ok(list)
    }

    /// What of the topic is missing from our positions on, where something is or nobody can tell.
    fn loss(&self) -> Option<Error> {
        let found = self
            .client
            .partitions()
            .and_then(|partitions| losses(&self.client, &partitions, &self.positions()));
        match found.map(|losses| loss_error(&self.pipeline, &losses)) {
            Ok(found) => found,
            Err(error) => Some(error),
        }
    }

    /// Why the broker refused an offset mid-stream: the missing range where it can be named.
    fn explain_loss(&self) -> Error {
        self.loss().unwrap_or_else(|| {
            Error::new(
                Kind::DataLoss,
                format!(
                    "the broker refused an offset of topic `{}` that lies within its watermarks: \
                     the topic was re-created or truncated while it was read",
                    self.client.topic
                ),
            )
            .with_next("start again: the positions are checked at the start")
        })
    }

    /// Takes note of an error event; an error where reading cannot go on.
    fn note(&mut self, error: KafkaError) -> Result<()> {
        if matches!(error, KafkaError::PartitionEOF(_)) {
            return Ok(());
        }
        let fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
        let code = code_of(error);
        self.check_size()?;
        // librdkafka loses its place in records it cannot read, and then asks for an offset that nobody has.
        let lost_its_place = || self.trouble.met_unreadable() && self.loss().is_none();
        if trouble::out_of_range(code) && !lost_its_place() {
            return Err(self.explain_loss());
        }
        if let Some(error) = self.client.refusal(code) {
            return Err(error);
        }
        if fatal {
            return Err(self.client.error(format!("the client has failed for good ({code})")));
        }
        match self.trouble.note(&self.client, code) {
            Cure::Wait => Ok(()),
            Cure::ReadAgain => self.assign(),
            Cure::None => Err(Error::new(
                Kind::Damaged,
                format!(
                    "Kafka at {}: the records of {} cannot be read ({code}), however often they are fetched",
                    self.client.brokers,
                    self.behind()
                ),
            )
            .with_next(
                "see the brokers' logs and disks; where the records are lost there, delete them with Kafka's own tool \
                 and `medallion accept-gap` records the loss",
            )),
        }
    }

    /// Fails where the broker's answer is larger than we let it be: it would be asked for again and again.
    fn check_size(&self) -> Result<()> {
        let Some(complaint) = self.client.consumer.context().oversized() else {
            return Ok(());
        };
        Err(Error::new(
            Kind::Definition,
            format!(
                "Kafka at {}: a record of {} is larger than `receive.message.max.bytes` allows ({complaint})",
                self.client.brokers,
                self.behind()
            ),
        )
        .with_next("raise `receive.message.max.bytes` in `source.options` above the size named; nothing is lost"))
    }

    /// The partitions that have more than was handed out, each with the offset it stands at, for an error message.
    fn behind(&self) -> String {
        let ends = self
            .client
            .highs(&self.next.keys().copied().collect())
            .unwrap_or_default();
        let mut at = self.positions();
        at.retain(|id, next| ends.get(id).is_none_or(|end| end > next));
        let at: Vec<String> = at
            .iter()
            .map(|(id, next)| format!("{id} from offset {next} on"))
            .collect();
        at.join(", ")
    }

    /// Moves the positions over transaction markers, which are never handed out: librdkafka's own positions, invalid
    /// until the first record, are past them.
    fn follow(&mut self) {
        self.followed = Instant::now();
        let Ok(list) = self.client.consumer.position() else {
            return;
        };
        // Looked for after the positions were taken: they may be another topic's.
        if self.doubt().is_some() {
            return;
        }
        for element in list.elements() {
            if let (Offset::Offset(offset), Some(next)) = (element.offset(), self.next.get_mut(&element.partition())) {
                *next = offset.max(*next);
            }
        }
    }

    /// Hands one record out and moves the position. Returns its bytes.
    fn hand_out(
        next: &mut BTreeMap<i32, i64>,
        message: &rdkafka::message::BorrowedMessage<'_>,
        take: &mut dyn FnMut(Record<'_>),
    ) -> Result<usize> {
        let (partition, offset) = (message.partition(), message.offset());
        let expected = next.entry(partition).or_insert(0);
        if offset < *expected {
            return Err(Error::new(
                Kind::DataLoss,
                format!(
                    "{}/{partition} went back from offset {expected} to {offset}: \
                     the topic was re-created while it was read",
                    message.topic()
                ),
            )
            .with_next("start again: the positions are checked at the start"));
        }
        message::with_record(message, take);
        *expected = offset + 1;
        Ok(message.payload_len() + message.key_len())
    }
}

impl Source for KafkaSource {
    fn poll(&mut self, wait: Duration, max: usize, take: &mut dyn FnMut(Record<'_>)) -> Result<usize> {
        if let Some(error) = self.pending.take() {
            return Err(error);
        }
        if self.doubt().is_some() {
            return Ok(0);
        }
        let begun = Instant::now();
        let (mut count, mut bytes) = (0, 0);
        while count < max && bytes < POLL_BYTES {
            // Once something came, only what is already here goes along.
            let left = if count == 0 {
                wait.saturating_sub(begun.elapsed())
            } else {
                Duration::ZERO
            };
            let polled = match self.client.consumer.poll(left) {
                None if count > 0 || begun.elapsed() >= wait => break,
                None => continue,
                // The doubt may have come with this very poll, just before the first record it is about.
                Some(_) if self.doubt().is_some() => break,
                Some(Ok(message)) => Ok(Self::hand_out(&mut self.next, &message, take)),
                Some(Err(error)) => Err(error),
            };
            let outcome = match polled {
                Ok(handed_out) => handed_out.map(Some),
                Err(error) => self.note(error).map(|()| None),
            };
            match outcome {
                Ok(Some(size)) => {
                    count += 1;
                    bytes += size;
                }
                Ok(None) => {}
                Err(error) if count == 0 => return Err(error),
                Err(error) => {
                    self.pending = Some(error);
                    break;
                }
            }
        }
        // Also while records come: a partition that ends with a marker is at its end.
        if count == 0 || self.followed.elapsed() >= FOLLOW {
            self.follow();
        }
        if count > 0 {
            self.trouble.over();
        } else {
            self.check_size()?;
            self.trouble.check(&self.client)?;
        }
        Ok(count)
    }

    fn doubt(&self) -> Option<String> {
        let topic = &self.client.topic;
        if self.trouble.was_unknown() {
            Some(format!("topic `{topic}` was unknown to its broker for a while"))
        } else if self.client.consumer.context().made_anew() {
            Some(format!("topic `{topic}` has another id than before"))
        } else if self.client.consumer.context().lost_sight() {
            Some(format!("a connection to a broker of topic `{topic}` was lost"))
        } else {
            None
        }
    }

    fn topic_id(&self) -> Option<TopicId> {
        self.client.consumer.context().topic_id()
    }

    fn positions(&self) -> Positions {
        let at = self.next.iter();
        at.map(|(&partition, &offset)| (PartitionId::new(&self.client.topic, partition), offset))
            .collect()
    }

    fn ends(&mut self) -> Result<Positions> {
        let partitions = self.next.keys().copied().collect();
        self.client.highs(&partitions)
    }

    fn told_ends(&self) -> Option<Positions> {
        let topic = &self.client.topic;
        let told = self.client.consumer.context().ends(topic);
        let ours = told
            .into_iter()
            .filter(|(partition, _)| self.next.contains_key(partition));
        Some(
            ours.map(|(partition, end)| (PartitionId::new(topic, partition), end))
                .collect(),
        )
    }

    fn discover(&mut self) -> Result<Vec<PartitionId>> {
        let now = self.client.partitions()?;
        if self.next.keys().any(|known| !now.contains(known)) {
            return Err(self.explain_loss());
        }
        let new: BTreeSet<i32> = now.into_iter().filter(|found| !self.next.contains_key(found)).collect();
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let found = losses(&self.client, &new, &Positions::new())?;
        if let Some(error) = loss_error(&self.pipeline, &found) {
            return Err(error);
        }
        let list = self.partition_list(new.iter().map(|&partition| (partition, 0)))?;
        self.client
            .consumer
            .incremental_assign(&list)
            .or_fail(Kind::Unavailable, || {
                format!("adding new partitions of topic `{}`", self.client.topic)
            })?;
        self.next.extend(new.iter().map(|&partition| (partition, 0)));
        Ok(new
            .into_iter()
            .map(|partition| PartitionId::new(&self.client.topic, partition))
            .collect())
    }

    fn report_committed(&mut self, positions: &Positions) {
        let ours = positions
            .iter()
            .filter(|(id, _)| id.topic == self.client.topic && self.next.contains_key(&id.partition))
            .map(|(id, &offset)| (id.partition, offset));
        let sent = self.partition_list(ours).and_then(|list| {
            let sent = self.client.consumer.commit(&list, CommitMode::Async);
            sent.or_fail(Kind::Unavailable, || "reporting offsets to Kafka")
        });
        if let Err(error) = sent {
            tracing::debug!(target: "medallion::kafka", "lag report failed, nothing depends on it: {error}");
        }
    }
}

/// The group id of clients that only look.
const CHECK: &str = "medallion-check";

/// The consumer group under which lag tools find `pipeline`.
fn group(pipeline: &str) -> String {
    format!("medallion-{pipeline}")
}

/// The positions in `start` that are of `topic`. Those of others are none of our business: the declared topic may have
/// changed.
fn of_topic(start: &Positions, topic: &str) -> Positions {
    let ours = start.iter().filter(|(id, _)| id.topic == topic);
    ours.map(|(id, &offset)| (id.clone(), offset)).collect()
}

/// Compares `ours` with the watermarks of `partitions`.
fn losses(client: &Client, partitions: &BTreeSet<i32>, ours: &Positions) -> Result<Vec<Loss>> {
    let highs = client.highs(partitions)?;
    // Asked after the ends: what retention takes in between is a loss, and what was produced in between none.
    let lows = client.lows(partitions)?;
    Ok(check_positions(ours, &lows, &highs))
}

#[cfg(test)]
mod tests;
