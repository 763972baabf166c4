//! A Kafka broker inside this process, for the demo and the tests: librdkafka's mock cluster.
//!
//! It speaks the real protocol over loopback TCP, so producers and consumers are the real ones. Its limits:
//!
//! * It keeps **5 MiB and 100,000 batches per partition** and silently drops the oldest beyond that. A producer must
//!   not run ahead of what bronze has committed by more: [`Gate`] sees to it. If it fails, the check of the low
//!   watermark at the start, or the broker's refusal mid-stream, is a data loss error, never a silent hole.
//! * It hands out one batch per partition and fetch: producers need `linger.ms` of 5 or more.
//! * Everything is in memory and gone with the process. Aborted transactions are visible, look-ups by time find
//!   nothing, and there is no admin API: topics are created here.

mod gate;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use crate::error::{Context, Kind, Result};

pub use gate::Gate;

/// A running in-process broker; it ends with this value.
pub struct Broker {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

// SAFETY: the cluster's functions may be called from any thread: each hands its request to the cluster's own thread
// through a locked queue, and the bootstrap list they read does not change.
#[expect(
    unsafe_code,
    reason = "rdkafka's mock cluster holds raw pointers, but librdkafka's is thread-safe"
)]
unsafe impl Send for Broker {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "as above")]
unsafe impl Sync for Broker {}

impl Broker {
    /// Starts a broker on a free loopback port with `topics`, each with its number of partitions.
    pub fn start(topics: &[(&str, i32)]) -> Result<Self> {
        let broker = Self::start_cluster(1)?;
        for (topic, partitions) in topics {
            broker.create_topic(topic, *partitions)?;
        }
        Ok(broker)
    }

    /// Starts a cluster of `brokers` brokers, numbered from 1, without topics.
    pub fn start_cluster(brokers: i32) -> Result<Self> {
        let cluster = MockCluster::new(brokers).or_fail(Kind::Unavailable, || "starting the embedded broker")?;
        Ok(Self { cluster })
    }

    /// Makes `broker` the leader of a partition.
    pub fn lead(&self, topic: &str, partition: i32, broker: i32) -> Result<()> {
        self.cluster
            .partition_leader(topic, partition, Some(broker))
            .or_fail(Kind::Unavailable, || {
                format!("giving {topic}/{partition} to broker {broker} of the embedded cluster")
            })
    }

    /// Its address, `host:port`, or those of the cluster with commas between.
    pub fn bootstrap(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// Creates `topic` with `partitions` partitions.
    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<()> {
        crate::source::kafka::check_topic(topic)?;
        self.cluster
            .create_topic(topic, partitions, 1)
            .or_fail(Kind::Unavailable, || {
                format!("creating topic `{topic}` in the embedded broker")
            })
    }

    /// Stops answering, as a broker that went down; its records stay.
    pub fn down(&self) -> Result<()> {
        self.down_one(1)
    }

    /// Answers again.
    pub fn up(&self) -> Result<()> {
        self.up_one(1)
    }

    /// One broker of a cluster stops answering.
    pub fn down_one(&self, broker: i32) -> Result<()> {
        self.cluster
            .broker_down(broker)
            .or_fail(Kind::Unavailable, || "taking the embedded broker down")
    }

    /// One broker of a cluster answers again.
    pub fn up_one(&self, broker: i32) -> Result<()> {
        self.cluster
            .broker_up(broker)
            .or_fail(Kind::Unavailable, || "bringing the embedded broker up")
    }
}
