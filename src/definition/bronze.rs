//! `bronze.toml`: where records come from and when bronze commits.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;
use validator::Validate;

use super::commit;
use super::keep;
use super::raw::{Env, Reader, Report, Written, parse_toml};
use super::secret;
use super::{Bronze, FileSource, KafkaSource, Problem, SourceKind};

static TOPIC: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("^[A-Za-z0-9._-]{1,249}$").ok());

/// librdkafka options that medallion sets, with the reason they cannot be declared.
const RESERVED: [(&str, &str); 8] = [
    ("bootstrap.servers", "write brokers"),
    ("metadata.broker.list", "write brokers"),
    ("auto.offset.reset", "offsets come from the bronze table"),
    ("enable.auto.commit", "offsets are reported after the Delta commit"),
    ("auto.commit.interval.ms", "offsets are reported after the Delta commit"),
    ("enable.auto.offset.store", "offsets come from the bronze table"),
    ("isolation.level", "bronze has committed records only"),
    ("enable.partition.eof", "the source needs it"),
];

/// How long a source may have more and give none of it before its client is made anew.
const STALLED_AFTER: Duration = Duration::from_secs(60);
const STALLED_AFTER_MIN: Duration = Duration::from_secs(1);

/// What was written about a Kafka source.
#[derive(Debug, Validate)]
struct RawKafka {
    #[validate(length(min = 1, message = "must name at least one host:port"))]
    brokers: String,
    #[validate(length(min = 1, max = 249, message = "must have 1 to 249 characters"))]
    topic: String,
}

/// The bronze layer in `file`, or every problem of it.
pub(super) fn read(file: &Path, project: &Path, env: Env<'_>) -> Result<Bronze, Vec<Problem>> {
    let mut report = Report::new(file);
    let bronze = report
        .read()
        .and_then(|text| parse_toml(&text, env, &mut report))
        .and_then(|root| {
            Reader::new(&root, "", &mut report).and_then(|reader| layer(reader, project, env, &mut report))
        });
    match bronze {
        Some(bronze) if report.is_clean() => Ok(bronze),
        _ => Err(report.into_problems()),
    }
}

fn layer(mut root: Reader<'_>, project: &Path, env: Env<'_>, report: &mut Report) -> Option<Bronze> {
    let commit = commit::read(&mut root, commit::BRONZE, report);
    let keep = keep::read(&mut root, report).map(|keep| keep.value);
    let source = root
        .need("source", report)
        .then(|| root.table("source", report))
        .flatten()
        .and_then(|reader| source(reader, project, env, report));
    root.finish(report);
    source.map(|source| Bronze { source, commit, keep })
}

fn source(mut reader: Reader<'_>, project: &Path, env: Env<'_>, report: &mut Report) -> Option<SourceKind> {
    #[derive(Clone, Copy)]
    enum Kind {
        Kafka,
        Files,
    }
    if !reader.need("kind", report) {
        return None;
    }
    let kind = reader.word("kind", &[("kafka", Kind::Kafka), ("files", Kind::Files)], report)?;
    match kind.value {
        Kind::Kafka => kafka(reader, project, env, report).map(SourceKind::Kafka),
        Kind::Files => files(reader, report).map(SourceKind::Files),
    }
}

fn kafka(mut reader: Reader<'_>, project: &Path, env: Env<'_>, report: &mut Report) -> Option<KafkaSource> {
    let brokers = reader.need_text("brokers", report);
    let topic = reader.need_text("topic", report);
    let idle_after = positive(reader.duration("idle_after", report), report);
    let quiet_after = positive(reader.duration("quiet_after", report), report);
    let stalled_after = reader.duration("stalled_after", report);
    let options = match reader.table("options", report) {
        Some(options) => pass_through(secret::options(&options, project, env, report), report),
        None => BTreeMap::new(),
    };
    if let Some(written) = &stalled_after {
        patient(written, &options, report);
    }
    if let Some(topic) = &topic
        && (!TOPIC.as_ref().is_some_and(|shape| shape.is_match(&topic.value))
            || [".", ".."].contains(&topic.value.as_str()))
        && (1..=249).contains(&topic.value.len())
    {
        report.add(
            &topic.at,
            format!(
                "{:?} cannot name a topic: letters, digits, '.', '_' and '-' only, and neither \".\" nor \"..\"",
                topic.value
            ),
            None,
        );
    }
    let raw = brokers.zip(topic).map(|(brokers, topic)| RawKafka {
        brokers: brokers.value,
        topic: topic.value,
    });
    if let Some(raw) = &raw {
        reader.validate(raw, report);
    }
    reader.finish(report);
    let raw = raw?;
    Some(KafkaSource {
        brokers: raw.brokers,
        topic: raw.topic,
        idle_after: idle_after.unwrap_or(Duration::from_secs(10)),
        quiet_after,
        stalled_after: stalled_after.map_or(STALLED_AFTER, |written| written.value),
        options,
    })
}

/// Finds a `stalled_after` within which a fetch may rightly stay without an answer.
fn patient(written: &Written<Duration>, options: &BTreeMap<String, super::Secret>, report: &mut Report) {
    let wait = options.get("fetch.wait.max.ms").and_then(|wait| wait.0.parse().ok());
    let wait = Duration::from_millis(wait.unwrap_or(0));
    if written.value < STALLED_AFTER_MIN {
        report.add(&written.at, "must be at least 1s", None);
    } else if written.value <= wait {
        let why = "the broker may rightly keep a fetch that long".to_owned();
        report.add(&written.at, "must be longer than fetch.wait.max.ms", Some(why));
    }
}

fn positive(written: Option<Written<Duration>>, report: &mut Report) -> Option<Duration> {
    let written = written?;
    if written.value < Duration::from_millis(1) {
        report.add(&written.at, "must be at least 1ms", None);
    }
    Some(written.value)
}

fn pass_through(
    options: BTreeMap<String, Written<super::Secret>>,
    report: &mut Report,
) -> BTreeMap<String, super::Secret> {
    for (name, written) in &options {
        if let Some((_, reason)) = RESERVED.iter().find(|(reserved, _)| reserved == name) {
            report.add(
                &written.at,
                "medallion sets this option itself",
                Some((*reason).to_owned()),
            );
        }
    }
    options
        .into_iter()
        .map(|(name, written)| (name, written.value))
        .collect()
}

fn files(mut reader: Reader<'_>, report: &mut Report) -> Option<FileSource> {
    let paths = reader
        .need("paths", report)
        .then(|| reader.texts("paths", report))
        .flatten();
    let at = reader.spot("paths");
    reader.finish(report);
    let paths = paths?;
    if paths.is_empty() {
        report.add(&at, "must name at least one file or pattern", None);
    }
    for path in &paths {
        let (folder, _) = path.value.rsplit_once('/').unwrap_or(("", &path.value));
        if path.value.is_empty() {
            report.add(&path.at, "a path must not be empty", None);
        } else if folder.contains(['*', '?', '[']) {
            report.add(
                &path.at,
                format!("{:?} has a pattern before its last segment", path.value),
                None,
            );
        } else if let Err(error) = glob::Pattern::new(&path.value) {
            report.add(&path.at, format!("{:?} is not a pattern: {error}", path.value), None);
        }
    }
    Some(FileSource {
        paths: paths.into_iter().map(|path| path.value).collect(),
    })
}
