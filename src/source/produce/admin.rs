//! Creating the topic that is produced to.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;

use crate::definition::Secret;
use crate::error::{Error, Kind, Result};
use crate::source::kafka::{Observer, apply_options, check_topic, create};

/// How long the broker may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Creates `topic` with `partitions` partitions, the broker's default replication and the topic options `config`,
/// unless it is there already. Returns whether it was created. Not for the embedded broker, which has no admin API.
///
/// # Errors
/// [`Kind::Unavailable`] where the broker does not answer or refuses.
pub fn ensure_topic(
    brokers: &str,
    options: &BTreeMap<String, Secret>,
    topic: &str,
    partitions: i32,
    config: &[(&str, &str)],
) -> Result<bool> {
    check_topic(topic)?;
    let mut settings = ClientConfig::new();
    apply_options(&mut settings, options, &[])?;
    settings
        .set("bootstrap.servers", brokers)
        .set("client.id", "medallion-produce");
    let admin: AdminClient<Observer> = create(&settings, Observer::hiding(options))?;
    let fail = |why: String| {
        let message = format!("creating topic `{topic}` on Kafka at {brokers}: {why}");
        Error::new(Kind::Unavailable, message).with_next("see that the broker runs, or create the topic yourself")
    };

    let new = config.iter().fold(
        NewTopic::new(topic, partitions, TopicReplication::Fixed(-1)),
        |new, (key, value)| new.set(key, value),
    );
    let timeouts = AdminOptions::new()
        .request_timeout(Some(ANSWER))
        .operation_timeout(Some(ANSWER));
    let results = futures::executor::block_on(admin.create_topics([&new], &timeouts));
    let results = results.map_err(|error| fail(error.to_string()))?;
    match results.into_iter().next() {
        Some(Ok(_)) => Ok(true),
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(false),
        Some(Err((_, code))) => Err(fail(code.to_string())),
        None => Err(fail("the broker answered nothing".to_owned())),
    }
}
