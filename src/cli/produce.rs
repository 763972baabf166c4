//! `medallion produce`: generated view events, or the lines of a file, into a topic.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use chrono::DateTime;
use serde_json::{Value, json};

use super::args::Produce;
use super::run::warn_in_the_clear;
use super::session::{Session, env};
use super::{output, progress};
use crate::definition::{Secret, is_secret, secret_in_file};
use crate::error::{Context, Error, Kind, Result};
use crate::source::files::LineReader;
use crate::source::generator::{Flaw, Generator, GeneratorConfig};
use crate::source::produce::{Outgoing, Producer, ensure_topic};

/// Generated events may be old, and brokers go by the records' timestamps when they delete.
const TOPIC_OPTIONS: [(&str, &str); 1] = [("retention.ms", "-1")];
/// How long the last records may take to be delivered.
const FLUSH: Duration = Duration::from_secs(60);

/// Sends the records and prints how many were delivered.
pub fn produce(session: &Session, command: &Produce) -> Result<()> {
    let options = options(&command.option)?;
    warn_in_the_clear(&command.brokers, &options);
    let made = ensure_topic(
        &command.brokers,
        &options,
        &command.topic,
        command.partitions,
        &TOPIC_OPTIONS,
    )?;
    if made {
        tracing::info!(topic = command.topic, partitions = command.partitions, "made the topic");
    }
    let producer = Producer::new(&command.brokers, &command.topic, &options)?;
    let began = Instant::now();
    let fates = match &command.file {
        Some(_) => send_file(&producer, command).map(|()| None)?,
        None => send_events(&producer, session, command).map(Some)?,
    };
    let delivered = producer.finish(FLUSH)?;
    let seconds = began.elapsed().as_secs_f64();
    if session.json() {
        let mut report = json!({"topic": command.topic, "records": delivered, "seconds": seconds});
        if let (Some(report), Some(fates)) = (report.as_object_mut(), fates) {
            report.insert("fates".to_owned(), json!(fates));
        }
        return output::json(&report);
    }
    output::line(format!(
        "{} records to topic {} in {seconds:.1} s",
        output::grouped(delivered),
        command.topic
    ))
}

/// Sends generated events. Returns how many are to meet each fate in silver: the generator knows, nothing is computed.
fn send_events(producer: &Producer, session: &Session, command: &Produce) -> Result<BTreeMap<&'static str, u64>> {
    let generator = Generator::new(generator_config(session, command)?);
    let mut fates = BTreeMap::new();
    let bar = progress::bar(command.count, &command.topic);
    let began = Instant::now();
    for sent in 0..command.count {
        pace(began, sent, command.rate);
        let event = generator.event(command.first + sent);
        producer.send(&Outgoing {
            timestamp_ms: Some(event.timestamp_ms),
            key: event.key.as_deref(),
            value: event.value.as_deref(),
            ..Outgoing::default()
        })?;
        *fates.entry(event.fate.name()).or_default() += 1;
        if sent % 1024 == 0 {
            bar.set_position(sent);
        }
    }
    bar.finish_and_clear();
    Ok(fates)
}

fn generator_config(session: &Session, command: &Produce) -> Result<GeneratorConfig> {
    for (name, share) in [
        ("--duplicates", command.duplicates),
        ("--late", command.late),
        ("--out-of-order", command.out_of_order),
        ("--invalid", command.invalid),
    ] {
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::new(
                Kind::Usage,
                format!("{name} {share}: a share is between 0 and 1"),
            ));
        }
    }
    let mut config = GeneratorConfig {
        seed: command.seed,
        events_per_second: command.event_rate.max(1),
        duplicates: command.duplicates,
        late: command.late,
        out_of_order: command.out_of_order,
        invalid: command.invalid,
        ..GeneratorConfig::default()
    };
    match command.start.as_deref() {
        None => {}
        Some("now") => config.start_time_us = session.clock.now(),
        Some(time) => {
            config.start_time_us = instant(time).ok_or_else(|| {
                Error::new(Kind::Usage, format!("--start {time} is no RFC 3339 time"))
                    .with_next("2026-01-31T12:00:00Z, or now")
            })?
        }
    }
    if !command.flaws.is_empty() {
        config.flaws = command.flaws.iter().map(|name| flaw(name)).collect::<Result<_>>()?;
    }
    Ok(config)
}

fn flaw(name: &str) -> Result<Flaw> {
    Flaw::named(name).ok_or_else(|| {
        Error::new(Kind::Usage, format!("--flaws {name}: there is no such flaw"))
            .with_next(Flaw::ALL.map(Flaw::name).join(", "))
    })
}

fn send_file(producer: &Producer, command: &Produce) -> Result<()> {
    let Some(path) = &command.file else { return Ok(()) };
    let mut lines = LineReader::open(path)?;
    let began = Instant::now();
    let (mut sent, mut keyless, mut first_keyless) = (0, 0_u64, None);
    while let Some(line) = lines.next_line()? {
        pace(began, sent, command.rate);
        let wanted = command.key.is_some() || command.timestamp.is_some();
        let value: Option<Value> = if wanted {
            serde_json::from_slice(line).ok()
        } else {
            None
        };
        let field = |name: &Option<String>| value.as_ref()?.get(name.as_ref()?).cloned();
        let key = field(&command.key).map(|key| match key {
            Value::String(text) => text,
            other => other.to_string(),
        });
        let timestamp = field(&command.timestamp).and_then(|time| instant(time.as_str()?));
        if command.key.is_some() && key.is_none() {
            keyless += 1;
            first_keyless = first_keyless.or(Some(sent + 1));
        }
        producer.send(&Outgoing {
            key: key.as_deref().map(str::as_bytes),
            value: Some(line),
            timestamp_ms: timestamp.map(|micros| micros.div_euclid(1000)),
            ..Outgoing::default()
        })?;
        sent += 1;
    }
    if keyless > 0 {
        tracing::warn!(lines = keyless, first = first_keyless, file = %path.display(), "lines without a key, sent without");
    }
    Ok(())
}

/// Waits until record `sent` is due at `rate` per second; 0 is no limit.
fn pace(began: Instant, sent: u64, rate: u64) {
    if rate == 0 {
        return;
    }
    let due = Duration::from_secs_f64(sent as f64 / rate as f64);
    if let Some(early) = due.checked_sub(began.elapsed())
        && early > Duration::from_millis(1)
    {
        std::thread::sleep(early);
    }
}

fn instant(text: &str) -> Option<i64> {
    Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp_micros())
}

/// `NAME=VALUE`; secrets come from the environment or a file, never from the command line, which others can see.
fn options(given: &[String]) -> Result<BTreeMap<String, Secret>> {
    let mut options = BTreeMap::new();
    for option in given {
        let (name, value) = option
            .split_once('=')
            // Not repeated: where the sign was forgotten, there may be a secret in it.
            .ok_or_else(|| Error::new(Kind::Usage, "one -X has no `=`: wanted NAME=VALUE"))?;
        let value = if let Some(variable) = value.strip_prefix("env:") {
            env(variable).ok_or_else(|| Error::new(Kind::Usage, format!("-X {name}: ${variable} is not set")))?
        } else if let Some(path) = value.strip_prefix("file:") {
            secret_in_file(Path::new(path)).or_fail(Kind::Usage, || format!("-X {name}: {path}"))?
        } else if is_secret(name) {
            return Err(Error::new(
                Kind::Usage,
                format!("-X {name}: a secret on the command line is seen by others"),
            )
            .with_next(format!("-X {name}=env:VARIABLE or -X {name}=file:PATH")));
        } else {
            value.to_owned()
        };
        options.insert(name.to_owned(), Secret(value));
    }
    Ok(options)
}
