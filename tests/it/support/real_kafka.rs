//! A real broker for tests that the in-process one cannot serve: `MEDALLION_TEST_KAFKA=host:port`, and `--ignored`.
//! Every test has a topic of its own, named after it and the time.

use std::future::Future;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaResult;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// The broker's address.
pub fn brokers() -> String {
    std::env::var("MEDALLION_TEST_KAFKA").expect("MEDALLION_TEST_KAFKA names a broker")
}

/// A topic on the real broker, deleted at the end.
pub struct Topic {
    pub name: String,
    admin: AdminClient<DefaultClientContext>,
}

impl Topic {
    /// Creates a topic with `partitions` partitions whose name begins with `name`.
    pub fn create(name: &str, partitions: i32, config: &[(&str, &str)]) -> Self {
        let mut settings = ClientConfig::new();
        settings.set("bootstrap.servers", brokers());
        let topic = Self {
            name: format!("{name}-{}", uuid::Uuid::new_v4().simple()),
            admin: settings.create().unwrap(),
        };
        topic.create_again(partitions, config);
        topic
    }

    /// Creates the topic once more, after [`Topic::delete`].
    pub fn create_again(&self, partitions: i32, config: &[(&str, &str)]) {
        let none = std::collections::BTreeMap::new();
        // The timestamps of tests are old, and retention goes by them.
        let config = &[&[("retention.ms", "-1")], config].concat();
        let begun = Instant::now();
        // A topic that is being deleted is in the way for a moment.
        while !medallion::source::produce::ensure_topic(&brokers(), &none, &self.name, partitions, config).unwrap() {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "{} is still there",
                self.name
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Deletes the topic.
    pub fn delete(&self) {
        done(self.admin.delete_topics(&[&self.name], &AdminOptions::new()));
    }

    /// Gives the topic `count` partitions.
    pub fn partitions(&self, count: usize) {
        done(
            self.admin
                .create_partitions(&[NewPartitions::new(&self.name, count)], &AdminOptions::new()),
        );
    }

    /// Deletes the records of `partition` before `offset`, as retention does.
    pub fn delete_before(&self, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.name, partition, Offset::Offset(offset))
            .unwrap();
        let result = block_on(self.admin.delete_records(&list, &AdminOptions::new())).unwrap();
        assert_eq!(result.elements()[0].offset(), Offset::Offset(offset));
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        let _already_gone = block_on(self.admin.delete_topics(&[&self.name], &AdminOptions::new()));
    }
}

fn done<E: std::fmt::Debug>(work: impl Future<Output = KafkaResult<Vec<Result<String, E>>>>) {
    for result in block_on(work).unwrap() {
        result.unwrap();
    }
}
