//! What a pipeline is tested on: a broker, a topic on it, and records in the topic.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use medallion::definition::Secret;
use medallion::source::embedded::Broker;
use medallion::source::generator::{Event, Generator, GeneratorConfig};
use medallion::source::produce::{Outgoing, Producer};

use crate::support::proxy::Proxy;
use crate::support::real_kafka;

const WAIT: Duration = Duration::from_secs(60);

/// A topic of a broker. The in-process broker has no admin interface, no transactions and no retention of ours.
pub trait Bed {
    /// The broker's address.
    fn brokers(&self) -> String;
    /// The topic.
    fn topic(&self) -> &str;
}

/// The in-process broker with one topic.
pub struct Mock(Broker);

impl Mock {
    pub fn start(partitions: i32) -> Self {
        Self(Broker::start(&[("views", partitions)]).unwrap())
    }

    /// A cluster of so many brokers.
    pub fn cluster(brokers: i32, partitions: i32) -> Self {
        let cluster = Broker::start_cluster(brokers).unwrap();
        cluster.create_topic("views", partitions).unwrap();
        Self(cluster)
    }

    pub fn broker(&self) -> &Broker {
        &self.0
    }
}

impl Bed for Mock {
    fn brokers(&self) -> String {
        self.0.bootstrap()
    }

    fn topic(&self) -> &str {
        "views"
    }
}

/// A bed that is reached through a proxy.
pub struct Through<'a> {
    pub proxy: &'a Proxy,
    pub bed: &'a (dyn Bed + Sync),
}

impl Bed for Through<'_> {
    fn brokers(&self) -> String {
        self.proxy.address()
    }

    fn topic(&self) -> &str {
        self.bed.topic()
    }
}

impl Bed for real_kafka::Topic {
    fn brokers(&self) -> String {
        real_kafka::brokers()
    }

    fn topic(&self) -> &str {
        &self.name
    }
}

/// Events without any surprise: every one is accepted and follows the one before.
pub fn plain(seed: u64, start_time_us: i64, events_per_second: u64) -> Generator {
    Generator::new(GeneratorConfig {
        seed,
        start_time_us,
        events_per_second,
        duplicates: 0.0,
        late: 0.0,
        out_of_order: 0.0,
        invalid: 0.0,
        ..GeneratorConfig::default()
    })
}

/// The lively mix, with more of what goes wrong.
pub fn lively() -> Generator {
    Generator::new(GeneratorConfig {
        events_per_second: 20,
        invalid: 0.1,
        ..GeneratorConfig::default()
    })
}

/// Sends events to a bed's topic.
pub struct Sender(Producer);

impl Sender {
    pub fn new(bed: &dyn Bed) -> Self {
        Self::with(bed, &[])
    }

    pub fn with(bed: &dyn Bed, options: &[(&str, &str)]) -> Self {
        let options: BTreeMap<String, Secret> = options
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Secret((*value).to_owned())))
            .collect();
        Self(Producer::new(&bed.brokers(), bed.topic(), &options).unwrap())
    }

    /// Sends an event by its key, or to `partition`.
    pub fn event(&self, event: &Event, partition: Option<i32>) {
        self.record(&Outgoing {
            partition,
            timestamp_ms: Some(event.timestamp_ms),
            key: event.key.as_deref(),
            value: event.value.as_deref(),
            ..Outgoing::default()
        });
    }

    /// Sends a slice of the generator's events and waits until the broker has them.
    pub fn events(&self, generator: &Generator, events: Range<u64>, partition: Option<i32>) {
        for index in events {
            self.event(&generator.event(index), partition);
        }
        self.flush();
    }

    pub fn record(&self, record: &Outgoing<'_>) {
        self.0.send(record).unwrap();
    }

    pub fn flush(&self) {
        self.0.flush(WAIT).unwrap();
    }
}

/// Sends a slice of the generator's events and waits until the broker has them.
pub fn send(bed: &dyn Bed, generator: &Generator, events: Range<u64>, partition: Option<i32>) {
    Sender::new(bed).events(generator, events, partition);
}
