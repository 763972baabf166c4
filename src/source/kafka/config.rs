//! librdkafka settings: what the user may set, and what exactly-once does not leave open.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

use crate::definition::Secret;
use crate::error::{Error, Kind, Result};

/// Settings on which correctness rests: the user may not change them.
const CONSUMER_FIXED: &[(&str, &str)] = &[
    ("auto.offset.reset", "error"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("isolation.level", "read_committed"),
    ("allow.auto.create.topics", "false"),
];

/// Settings chosen for throughput and freshness: the user's value wins.
const CONSUMER_DEFAULTS: &[(&str, &str)] = &[
    ("check.crcs", "true"),
    // The memory bound of the prefetch queue; librdkafka's own default fetches 1 s apart once it is full.
    ("queued.min.messages", "1000000"),
    ("queued.max.messages.kbytes", "131072"),
    ("fetch.queue.backoff.ms", "2"),
    ("fetch.message.max.bytes", "1048576"),
    ("fetch.max.bytes", "52428800"),
    ("fetch.wait.max.ms", "20"),
    ("fetch.error.backoff.ms", "100"),
    ("reconnect.backoff.max.ms", "5000"),
    ("topic.metadata.refresh.interval.ms", "30000"),
    ("socket.keepalive.enable", "true"),
    // Where partitions end is told with them.
    ("statistics.interval.ms", "1000"),
];

/// Whether `topic` is a name Kafka allows: `[A-Za-z0-9._-]{1,249}`, not `.` or `..`.
pub fn valid_topic(topic: &str) -> bool {
    (1..=249).contains(&topic.len())
        && topic != "."
        && topic != ".."
        && topic
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// Fails where `topic` is no name Kafka allows.
pub fn check_topic(topic: &str) -> Result<()> {
    if valid_topic(topic) {
        return Ok(());
    }
    Err(Error::new(Kind::Definition, format!("`{topic}` is not a topic name"))
        .with_next("use 1 to 249 letters, digits, dots, underscores and hyphens in `source.topic`"))
}

/// The first of `brokers` on another host, where the connection to them is not encrypted; none where nothing can be
/// overheard.
pub fn in_the_clear(brokers: &str, options: &BTreeMap<String, Secret>) -> Option<String> {
    let protocol = options.get("security.protocol").map(|value| value.0.to_lowercase());
    if matches!(protocol.as_deref(), Some("ssl" | "sasl_ssl")) {
        return None;
    }
    let elsewhere = |broker: &&str| {
        let address = broker.rsplit_once("://").map_or(*broker, |(_, address)| address);
        let host = match address.rsplit_once(':') {
            // The last colon of a bare IPv6 address is no port's.
            Some((host, _)) if !host.contains(':') || host.ends_with(']') => host,
            _ => address,
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let loopback = host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
        !host.is_empty() && !loopback && !host.eq_ignore_ascii_case("localhost")
    };
    brokers.split(',').map(str::trim).find(elsewhere).map(str::to_owned)
}

/// The consumer's settings for a pipeline whose lag shows up under `group`.
pub(super) fn consumer(brokers: &str, options: &BTreeMap<String, Secret>, group: &str) -> Result<ClientConfig> {
    let mut config = ClientConfig::new();
    for (key, value) in CONSUMER_DEFAULTS {
        config.set(*key, *value);
    }
    apply_options(&mut config, options, CONSUMER_FIXED)?;
    config.set("bootstrap.servers", brokers);
    config.set("group.id", group).set("client.id", group);
    // Only here librdkafka tells under which topic id it fetches, and that a connection ended: the source must know.
    let debug = options.get("debug").map_or(String::new(), |own| format!("{},", own.0));
    config.set("debug", format!("{debug}metadata"));
    config.set_log_level(RDKafkaLogLevel::Debug);
    Ok(config)
}

/// Puts the user's options into `config` and then the `fixed` ones; an option that contradicts a fixed one is an error.
pub(crate) fn apply_options(
    config: &mut ClientConfig,
    options: &BTreeMap<String, Secret>,
    fixed: &[(&str, &str)],
) -> Result<()> {
    for (key, value) in options {
        let own = matches!(
            key.as_str(),
            "bootstrap.servers" | "metadata.broker.list" | "group.id" | "client.id"
        );
        let contradicts = fixed.iter().any(|(name, set)| name == key && *set != value.0);
        if own || contradicts {
            return Err(Error::new(
                Kind::Definition,
                format!("the Kafka option `{key}` is medallion's own to set"),
            )
            .with_next("remove it from `source.options`"));
        }
        config.set(key.as_str(), value.0.as_str());
    }
    for (key, value) in fixed {
        config.set(*key, *value);
    }
    Ok(())
}

/// Creates a client from `config`; an error names the option, never its value.
pub(crate) fn create<C, T: FromClientConfigAndContext<C>>(config: &ClientConfig, context: C) -> Result<T>
where
    C: rdkafka::ClientContext,
{
    config.create_with_context(context).map_err(|error| match error {
        KafkaError::ClientConfig(result, _, key, _) => {
            let what = match result {
                RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN => "is not a librdkafka option, or not compiled in",
                _ => "has a value that librdkafka refuses",
            };
            Error::new(Kind::Definition, format!("the Kafka option `{key}` {what}")).with_next("mend `source.options`")
        }
        error => Error::new(
            Kind::Definition,
            format!("the Kafka client refuses its options: {error}"),
        )
        .with_next("mend `source.options`"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, Secret> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), Secret((*value).to_owned())))
            .collect()
    }

    #[test]
    fn topic_names_are_an_allow_list() {
        for good in ["view_log", "a", "A.b-c_9", &"x".repeat(249)] {
            assert!(valid_topic(good), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "ä", "../etc", &"x".repeat(250)] {
            assert!(!valid_topic(bad), "{bad}");
        }
    }

    #[test]
    fn an_option_wins_over_a_default_and_not_over_what_correctness_rests_on() {
        let config = consumer("localhost:1", &options(&[("fetch.wait.max.ms", "500")]), "g").unwrap();
        assert_eq!(config.get("fetch.wait.max.ms"), Some("500"));
        assert_eq!(config.get("auto.offset.reset"), Some("error"));

        for key in ["auto.offset.reset", "isolation.level", "group.id", "bootstrap.servers"] {
            let error = consumer("localhost:1", &options(&[(key, "earliest")]), "g").unwrap_err();
            assert_eq!(error.kind(), Kind::Definition);
            assert!(error.to_string().contains(key), "{error}");
        }
    }

    #[test]
    fn only_an_unencrypted_connection_to_another_host_is_in_the_clear() {
        for (brokers, security, found) in [
            ("localhost:9092,127.0.0.1:1,[::1]:9092,::1", "plaintext", None),
            ("LOCALHOST, 127.8.0.1", "sasl_plaintext", None),
            ("localhost:1, broker-1:9092", "", Some("broker-1:9092")),
            (
                "PLAINTEXT://10.0.0.1:9092",
                "plaintext",
                Some("PLAINTEXT://10.0.0.1:9092"),
            ),
            ("[2001:db8::1]:9092", "SASL_PLAINTEXT", Some("[2001:db8::1]:9092")),
            ("2001:db8::1", "plaintext", Some("2001:db8::1")),
            ("broker-1:9092", "SASL_SSL", None),
            ("broker-1:9092", "ssl", None),
        ] {
            let protocol = options(&[("security.protocol", security)]);
            let options = if security.is_empty() { options(&[]) } else { protocol };
            assert_eq!(
                in_the_clear(brokers, &options).as_deref(),
                found,
                "{brokers} {security}"
            );
        }
    }

    #[test]
    fn a_refused_option_is_named_without_its_value() {
        let mut config = ClientConfig::new();
        config.set("security.protocol", "hunter2");
        let result: Result<rdkafka::consumer::BaseConsumer> =
            create(&config, rdkafka::consumer::DefaultConsumerContext);
        let message = result.err().unwrap().to_string();
        assert!(message.contains("security.protocol"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}
