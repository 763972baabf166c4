//! The floor: the best simple loop from a Kafka topic of views to three sets of Parquet files that one would write by
//! hand. No Delta, no transaction, no recovery, no rejects table, no lateness: what it costs, everybody pays.
//!
//! It fetches with the program's own settings and writes with its codec, encodings and row groups. `--until` ends the
//! work on each record after a step, which gives the price of each.

mod event;
mod files;

use std::collections::{BTreeMap, HashSet};
use std::error::Error;
use std::hash::{BuildHasherDefault, Hasher};
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};
use serde_json::json;

use event::{Event, Networks};
use files::{Bronze, Silver, Windows};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The consumer's settings that cost or save time, as in `src/source/kafka/config.rs`.
const SETTINGS: [(&str, &str); 10] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("isolation.level", "read_committed"),
    ("check.crcs", "true"),
    ("queued.min.messages", "1000000"),
    ("queued.max.messages.kbytes", "131072"),
    ("fetch.queue.backoff.ms", "2"),
    ("fetch.message.max.bytes", "1048576"),
    ("fetch.max.bytes", "52428800"),
    ("fetch.wait.max.ms", "20"),
];
const BROKER_PATIENCE: Duration = Duration::from_secs(30);

/// The step after which a record is done with; each includes those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Step {
    /// Taken from librdkafka, every byte of it read.
    Consume,
    /// JSON parsed, validated, and its network looked up.
    Decode,
    /// Written as it came.
    Bronze,
    /// Valid records written, duplicates too.
    Silver,
    /// Duplicates left out, and minutes aggregated: everything.
    Dedupe,
}

/// Reads a topic of views to its end, once.
#[derive(Debug, Parser)]
struct Options {
    #[arg(long)]
    brokers: String,
    #[arg(long)]
    topic: String,
    /// The reference data of campaigns
    #[arg(long)]
    campaigns: PathBuf,
    /// A directory for the files
    #[arg(long)]
    out: PathBuf,
    #[arg(long, value_enum, default_value_t = Step::Dedupe)]
    until: Step,
}

/// Hash of a number that is a hash already.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("only u128 is hashed");
    }
    fn write_u128(&mut self, number: u128) {
        self.0 = number as u64;
    }
}

/// What is open while records come.
struct Floor {
    until: Step,
    networks: Networks,
    bronze: Bronze,
    silver: Silver,
    seen: HashSet<u128, BuildHasherDefault<Identity>>,
    windows: Windows,
    fates: BTreeMap<&'static str, u64>,
    records: i64,
    bytes: u64,
}

impl Floor {
    fn take(&mut self, message: &BorrowedMessage<'_>) -> Result<()> {
        let seq = self.records;
        self.records += 1;
        let payload = message.payload();
        if self.until == Step::Consume {
            let sum: u64 = payload.unwrap_or_default().iter().map(|byte| u64::from(*byte)).sum();
            self.bytes = self.bytes.wrapping_add(sum);
            return Ok(());
        }
        let timestamp = message.timestamp().to_millis().unwrap_or_default() * 1000;
        if self.until >= Step::Bronze {
            self.bronze.push(seq, message, timestamp)?;
        }
        let fate = match Event::parse(payload, timestamp, &self.networks) {
            Err(flaw) => flaw.name(),
            Ok(event) if self.until >= Step::Silver => self.settle(seq, message, timestamp, &event)?,
            Ok(event) => {
                black_box(event);
                "accepted"
            }
        };
        *self.fates.entry(fate).or_default() += 1;
        Ok(())
    }

    fn settle(
        &mut self,
        seq: i64,
        message: &BorrowedMessage<'_>,
        time: i64,
        event: &Event<'_>,
    ) -> Result<&'static str> {
        if self.until >= Step::Dedupe {
            let key = twox_hash::XxHash3_128::oneshot(event.view_id.as_bytes());
            if !self.seen.insert(key) {
                return Ok("duplicate");
            }
            self.windows.add(event);
        }
        self.silver.push(seq, message, time, event)?;
        Ok("accepted")
    }
}

/// Reads every partition from its first record to where it ends now.
fn consume(options: &Options, mut each: impl FnMut(&BorrowedMessage<'_>) -> Result<()>) -> Result<()> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &options.brokers)
        .set("group.id", "floor");
    for (name, value) in SETTINGS {
        config.set(name, value);
    }
    let consumer: BaseConsumer = config.create()?;
    let metadata = consumer.fetch_metadata(Some(&options.topic), BROKER_PATIENCE)?;
    let topic = metadata.topics().first().ok_or("no such topic")?;
    let mut wanted = TopicPartitionList::new();
    let mut left = 0;
    for partition in topic.partitions() {
        let (first, end) = consumer.fetch_watermarks(&options.topic, partition.id(), BROKER_PATIENCE)?;
        wanted.add_partition_offset(&options.topic, partition.id(), Offset::Offset(first))?;
        left += end - first;
    }
    consumer.assign(&wanted)?;
    // The topic is not written to any more and has no transactions: every offset is a record.
    while left > 0 {
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            each(&message?)?;
            left -= 1;
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    let options = Options::parse();
    std::fs::create_dir_all(&options.out)?;
    let mut floor = Floor {
        until: options.until,
        networks: Networks::read(&options.campaigns)?,
        bronze: Bronze::create(&options.out.join("bronze.parquet"))?,
        silver: Silver::create(&options.out.join("silver.parquet"))?,
        seen: HashSet::default(),
        windows: Windows::default(),
        fates: BTreeMap::new(),
        records: 0,
        bytes: 0,
    };
    consume(&options, |message| floor.take(message))?;
    floor.bronze.close()?;
    floor.silver.close()?;
    let minutes = floor
        .windows
        .write(&options.out.join("gold.parquet"), &floor.networks)?;
    black_box(floor.bytes);
    println!(
        "{}",
        json!({"records": floor.records, "fates": floor.fates, "gold": minutes})
    );
    Ok(())
}
