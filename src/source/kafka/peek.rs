//! Looking at single records by offset: the fingerprints by which a re-created topic is told from the one we know.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::client::{ANSWER, Client, code_of, unknown};
use super::{CHECK, KafkaSource, message, trouble};
use crate::definition;
use crate::error::{Context, Kind, Result};
use crate::source::{PartitionId, RecordDigest, TopicId};

/// How long the topic's id is waited for, once the topic is known: only a broker without ids lets it pass.
const ID: Duration = Duration::from_millis(500);

/// One record per partition is wanted, so little is fetched ahead; the end of a partition is an answer too.
const SETTINGS: &[(&str, &str)] = &[
    ("enable.partition.eof", "true"),
    ("queued.min.messages", "1"),
    ("fetch.message.max.bytes", "16384"),
];

/// Records that were looked at.
#[derive(Debug, Default)]
pub struct Seen {
    /// The fingerprint of each record found.
    pub records: BTreeMap<PartitionId, RecordDigest>,
    /// The topic in which they were looked for; none where nothing was wanted or the broker has no topic ids.
    pub topic: Option<TopicId>,
}

impl KafkaSource {
    /// The fingerprint of one record per partition, at the offset given. A partition is missing in the answer where the
    /// topic no longer has that record (expired, compacted, aborted, past the end) or no such partition. One
    /// connection of its own serves all.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] where the broker does not answer in time, refuses us or has no such topic, or the topic was
    /// exchanged meanwhile.
    pub fn read_many(def: &definition::KafkaSource, wanted: &[(PartitionId, i64)]) -> Result<Seen> {
        let wanted: BTreeMap<i32, i64> = wanted
            .iter()
            .filter(|(id, _)| id.topic == def.topic)
            .map(|(id, offset)| (id.partition, *offset))
            .collect();
        if wanted.is_empty() {
            return Ok(Seen::default());
        }
        let client = Client::new(&def.brokers, &def.topic, &def.options, CHECK, SETTINGS)?;
        let begun = Instant::now();
        loop {
            // What retention takes between the question for the watermarks and the reading is asked for again, and so
            // is a record that came unreadable: the one behind it is no answer.
            let found = look(&client, &wanted, begun)?;
            let topic = topic_id(&client);
            if client.consumer.context().made_anew() {
                let what = "the topic was deleted and made anew while its records were compared";
                return Err(client.error(what).with_next("run again: they are compared anew"));
            }
            if let Some(records) = found {
                return Ok(Seen { records, topic });
            }
        }
    }
}

/// The topic's id. Where no record was read it is still in the queue, behind what librdkafka said before it; nothing is
/// fetched any more that could be lost in the search.
fn topic_id(client: &Client) -> Option<TopicId> {
    let begun = Instant::now();
    loop {
        let id = client.consumer.context().topic_id();
        if id.is_some() || begun.elapsed() >= ID {
            return id;
        }
        drop(client.consumer.poll(Duration::from_millis(10)));
    }
}

/// One round of looking; none where an offset went out of range meanwhile or a record could not be read.
fn look(
    client: &Client,
    wanted: &BTreeMap<i32, i64>,
    begun: Instant,
) -> Result<Option<BTreeMap<PartitionId, RecordDigest>>> {
    let mut open = within(client, wanted)?;
    let mut found = BTreeMap::new();
    assign(client, &open)?;
    while !open.is_empty() {
        if begun.elapsed() >= ANSWER {
            let missing: Vec<String> = open
                .iter()
                .map(|(partition, at)| format!("{partition} offset {at}"))
                .collect();
            return Err(client.error(format!("could not read the record at partition {}", missing.join(", "))));
        }
        let answered = match client.consumer.poll(Duration::from_millis(100)) {
            None => continue,
            Some(Ok(record)) => {
                let partition = record.partition();
                if open.get(&partition) == Some(&record.offset()) {
                    found.insert(PartitionId::new(&client.topic, partition), message::digest(&record));
                }
                partition
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => partition,
            Some(Err(error)) => {
                let code = code_of(error);
                if trouble::out_of_range(code) || unknown(code) || trouble::unreadable(code) {
                    return Ok(None);
                }
                if let Some(error) = client.refusal(code) {
                    return Err(error);
                }
                continue;
            }
        };
        if open.remove(&answered).is_some() {
            drop_partition(client, answered)?;
        }
    }
    Ok(Some(found))
}

/// Those of `wanted` that exist and whose offset lies within the watermarks.
fn within(client: &Client, wanted: &BTreeMap<i32, i64>) -> Result<BTreeMap<i32, i64>> {
    let there = client.partitions()?;
    let asked = wanted
        .keys()
        .copied()
        .filter(|partition| there.contains(partition))
        .collect();
    let highs = client.highs(&asked)?;
    let lows = client.lows(&asked)?;
    let inside = |partition: i32, offset: i64| {
        let id = PartitionId::new(&client.topic, partition);
        let (low, high) = (lows.get(&id).copied(), highs.get(&id).copied());
        low.is_some_and(|low| low <= offset) && high.is_some_and(|high| offset < high)
    };
    let kept = wanted
        .iter()
        .filter(|(partition, offset)| inside(**partition, **offset));
    Ok(kept.map(|(&partition, &offset)| (partition, offset)).collect())
}

fn assign(client: &Client, offsets: &BTreeMap<i32, i64>) -> Result<()> {
    let what = || format!("asking for single records of `{}`", client.topic);
    let mut list = TopicPartitionList::new();
    for (&partition, &offset) in offsets {
        list.add_partition_offset(&client.topic, partition, Offset::Offset(offset))
            .or_fail(Kind::Bug, what)?;
    }
    client.consumer.assign(&list).or_fail(Kind::Bug, what)
}

/// Stops fetching a partition that has answered.
fn drop_partition(client: &Client, partition: i32) -> Result<()> {
    let mut list = TopicPartitionList::new();
    list.add_partition(&client.topic, partition);
    let dropped = client.consumer.incremental_unassign(&list);
    dropped.or_fail(Kind::Bug, || format!("leaving {}/{partition}", client.topic))
}
