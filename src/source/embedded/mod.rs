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
        let cluster = MockCluster::new(1).or_fail(Kind::Unavailable, || "starting the embedded broker")?;
        let broker = Self { cluster };
        for (topic, partitions) in topics {
            broker.create_topic(topic, *partitions)?;
        }
        Ok(broker)
    }

    /// Its address, `host:port`.
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
        self.cluster
            .broker_down(1)
            .or_fail(Kind::Unavailable, || "taking the embedded broker down")
    }

    /// Answers again.
    pub fn up(&self) -> Result<()> {
        self.cluster
            .broker_up(1)
            .or_fail(Kind::Unavailable, || "bringing the embedded broker up")
    }
}
