//! Sending records to Kafka: for `medallion produce`, the demo and the tests.
//!
//! Records go out in order per partition and none twice (idempotent producer). A record that could not be delivered is
//! an error at the end, never a number in a log.

mod admin;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};

use crate::definition::Secret;
use crate::error::{Error, Kind, Result};
use crate::source::files::LineReader;
use crate::source::kafka::{Observer, apply_options, check_topic, create};

pub use admin::ensure_topic;

/// Settings that keep order and count; the user may not change them.
const FIXED: &[(&str, &str)] = &[("enable.idempotence", "true")];

/// Settings for throughput; the user's value wins.
const DEFAULTS: &[(&str, &str)] = &[
    ("compression.type", "lz4"),
    ("linger.ms", "10"),
    ("queue.buffering.max.messages", "500000"),
    ("queue.buffering.max.kbytes", "131072"),
    // The same partition for a key as Java's producer.
    ("partitioner", "murmur2_random"),
];

/// A record to send, borrowed for the call.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outgoing<'a> {
    /// The partition; none: by the key, or any where there is none.
    pub partition: Option<i32>,
    /// Its timestamp in UTC milliseconds, not 0; none: now.
    pub timestamp_ms: Option<i64>,
    /// Its key; none is not the same as empty.
    pub key: Option<&'a [u8]>,
    /// Its payload; none is a tombstone, not the same as empty.
    pub value: Option<&'a [u8]>,
    /// Its headers in order.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// What became of the records sent so far.
#[derive(Debug, Default)]
struct Deliveries {
    observer: Observer,
    delivered: AtomicU64,
    failed: AtomicU64,
    first_failure: Mutex<Option<String>>,
}

/// The callbacks; shared, because the client keeps its context to itself.
struct Callbacks(Arc<Deliveries>);

impl ClientContext for Callbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.observer.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.observer.error(error, reason);
    }
}

impl ProducerContext for Callbacks {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _opaque: ()) {
        match result {
            Ok(_) => {
                self.0.delivered.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => {
                self.0.failed.fetch_add(1, Ordering::Relaxed);
                let mut first = self.0.first_failure.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert_with(|| error.to_string());
            }
        }
    }
}

/// Sends records to one topic. Deliveries are counted by a thread of its own.
pub struct Producer {
    producer: ThreadedProducer<Callbacks>,
    deliveries: Arc<Deliveries>,
    brokers: String,
    topic: String,
}

impl Producer {
    /// A producer for `topic`. Nothing is sent yet, so that a broker that does not answer shows at
    /// [`Producer::finish`].
    ///
    /// # Errors
    /// [`Kind::Definition`] for an impossible topic name or options that librdkafka refuses.
    pub fn new(brokers: &str, topic: &str, options: &BTreeMap<String, Secret>) -> Result<Self> {
        check_topic(topic)?;
        let mut config = ClientConfig::new();
        for (key, value) in DEFAULTS {
            config.set(*key, *value);
        }
        apply_options(&mut config, options, FIXED)?;
        config
            .set("bootstrap.servers", brokers)
            .set("client.id", "medallion-produce");
        let deliveries = Arc::new(Deliveries {
            observer: Observer::hiding(options),
            ..Deliveries::default()
        });
        Ok(Self {
            producer: create(&config, Callbacks(Arc::clone(&deliveries)))?,
            deliveries,
            brokers: brokers.to_owned(),
            topic: topic.to_owned(),
        })
    }

    /// Puts `record` into the send queue, waiting while it is full.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] for a record that the client refuses (too large, no such partition) and once a delivery
    /// has failed.
    pub fn send(&self, record: &Outgoing<'_>) -> Result<()> {
        if self.deliveries.failed.load(Ordering::Relaxed) > 0 {
            return Err(self.failure());
        }
        let mut out: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&self.topic);
        out.partition = record.partition;
        out.timestamp = record.timestamp_ms;
        out.key = record.key;
        out.payload = record.value;
        if !record.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(record.headers.len());
            out.headers = Some(
                record
                    .headers
                    .iter()
                    .fold(headers, |headers, &(key, value)| headers.insert(Header { key, value })),
            );
        }
        loop {
            match self.producer.send(out) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    out = back;
                    std::thread::sleep(Duration::from_millis(5));
                    if self.deliveries.failed.load(Ordering::Relaxed) > 0 {
                        return Err(self.failure());
                    }
                }
                Err((error, _)) => {
                    let message = format!(
                        "Kafka at {} takes no record for topic `{}`: {error}",
                        self.brokers, self.topic
                    );
                    return Err(Error::new(Kind::Unavailable, message));
                }
            }
        }
    }

    /// Sends every line of the NDJSON file at `path` (plain, gzip or zstd) as a record without key, to `partition` or,
    /// where there is none, to any. Returns how many.
    ///
    /// # Errors
    /// As [`Producer::send`] and [`LineReader::next_line`]; the lines before a damage are sent.
    pub fn send_file(&self, path: &Path, partition: Option<i32>) -> Result<u64> {
        let mut lines = LineReader::open(path)?;
        let mut count = 0;
        while let Some(line) = lines.next_line()? {
            self.send(&Outgoing {
                partition,
                value: Some(line),
                ..Outgoing::default()
            })?;
            count += 1;
        }
        Ok(count)
    }

    /// Records the broker has so far.
    pub fn delivered(&self) -> u64 {
        self.deliveries.delivered.load(Ordering::Relaxed)
    }

    /// Waits up to `wait` until everything sent is delivered. The producer can be used on.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] where a record could not be delivered or is still waiting.
    pub fn flush(&self, wait: Duration) -> Result<()> {
        let flushed = self.producer.flush(wait);
        if self.deliveries.failed.load(Ordering::Relaxed) > 0 {
            return Err(self.failure());
        }
        flushed.map_err(|error| {
            let complaint = self.deliveries.observer.take_complaint();
            let complaint = complaint.map(|text| format!(": {text}")).unwrap_or_default();
            let waiting = self.producer.in_flight_count();
            let message = format!(
                "Kafka at {}, topic `{}`: {waiting} records are still not delivered after {} s ({error}){complaint}",
                self.brokers,
                self.topic,
                wait.as_secs()
            );
            Error::new(Kind::Unavailable, message).with_next("see that the broker runs")
        })
    }

    /// Flushes, and returns how many records were delivered.
    ///
    /// # Errors
    /// As [`Producer::flush`].
    pub fn finish(self, wait: Duration) -> Result<u64> {
        self.flush(wait)?;
        Ok(self.delivered())
    }

    fn failure(&self) -> Error {
        let first = self
            .deliveries
            .first_failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let message = format!(
            "Kafka at {}, topic `{}`: {} records were not delivered, the first because of: {}",
            self.brokers,
            self.topic,
            self.deliveries.failed.load(Ordering::Relaxed),
            first.as_deref().unwrap_or("an unknown error")
        );
        Error::new(Kind::Unavailable, message)
    }
}
