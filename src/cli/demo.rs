//! `medallion demo`: the declared `view_log` pipeline on a broker inside this process, fed by the generator.
//!
//! The broker forgets everything when the process ends, the lake does not. So a second run fills the topic with the
//! same first events again, which are a pure function of seed and index, and bronze goes on after them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::args::Demo;
use super::output::{self, grouped};
use super::session::Session;
use super::show::{measure, show};
use super::{audit, progress, signals};
use crate::definition::memory::Share;
use crate::definition::{KafkaSource, Pipeline, SourceKind};
use crate::error::{Error, Kind, Result};
use crate::run::wake::Stop;
use crate::run::{self, Components, Options, Summary, bronze, names};
use crate::source::Positions;
use crate::source::embedded::{Broker, Gate};
use crate::source::generator::{Generator, GeneratorConfig};
use crate::source::produce::{Outgoing, Producer};
use crate::table::{self, Queryable};

const PIPELINE: &str = "view_log";
const PARTITIONS: i32 = 4;
/// Of event time: a run of the demo covers some twenty minutes.
const EVENTS_PER_SECOND: u64 = 200;
/// The producer waits for commits, because the broker keeps so little: short delays keep it busy.
const COMMIT_DELAY: Duration = Duration::from_millis(250);
const FLUSH: Duration = Duration::from_secs(60);

/// What bronze has committed, told to the producer.
#[derive(Default)]
struct Committed {
    positions: Mutex<Positions>,
    moved: Condvar,
}

/// Runs the demo: broker, producer, three layers, then newest minutes, quality and audit.
pub fn demo(session: &Session, command: &Demo) -> Result<()> {
    let mut pipelines = session.pipelines(Some(PIPELINE))?;
    let pipeline = pipelines
        .first_mut()
        .ok_or_else(|| Error::new(Kind::Usage, format!("the demo needs the pipeline {PIPELINE}")))?;
    let exporter = measure(session)?;
    let share = Share::of(session.settings.memory, 1);
    share.fit(pipeline);
    let lake = session.lake()?.handing_on(share.handed_on());
    let SourceKind::Kafka(kafka) = &mut pipeline.bronze.source else {
        return Err(Error::new(
            Kind::Usage,
            format!("the demo needs {PIPELINE} to read a Kafka topic"),
        ));
    };
    let topic = kafka.topic.clone();
    let broker = Broker::start(&[(&topic, PARTITIONS)])?;
    kafka.brokers = broker.bootstrap();
    kafka.options = embedded_options(kafka);
    pipeline.bronze.commit.max_delay = COMMIT_DELAY;
    let pipeline = pipeline.clone();

    let known = session.runtime.block_on(bronze::open_if_there(&lake, PIPELINE))?;
    let start = known
        .map(|table| bronze::positions(&table, PIPELINE))
        .unwrap_or_default();
    let before: u64 = start.values().map(|next| u64::try_from(*next).unwrap_or(0)).sum();
    let total = before + command.events;
    if before > 0 {
        eprintln!("the lake has {} events already: going on after them", grouped(before));
    }
    eprintln!(
        "embedded broker on {}, topic {topic}, {PARTITIONS} partitions; {} more view events",
        broker.bootstrap(),
        grouped(command.events)
    );
    let committed = Arc::new(Committed::default());
    *lock(&committed.positions) = start;
    let stop = Stop::default();
    signals::listen(&session.runtime, stop.clone())?;
    let project = session.project().clone();
    let mut components = Components::new(lake.clone(), project, session.runtime.clone(), stop.clone());
    components.checkpoints = session.checkpoints();
    components.on_bronze = Some({
        let committed = committed.clone();
        Arc::new(move |positions: &Positions| {
            lock(&committed.positions).extend(positions.clone());
            committed.moved.notify_all();
        })
    });
    if let Err(error) = show(session, &components, std::slice::from_ref(&pipeline), exporter) {
        // Another medallion may have the port, and nobody waits for a demo's metrics.
        tracing::warn!("not shown over HTTP: {error}");
    }
    let began = Instant::now();
    let summaries = run_while_producing(&components, &pipeline, &topic, before, total, &committed)?;
    let seconds = began.elapsed().as_secs_f64();
    report(session, &components, &pipeline, &summaries, seconds)
}

/// The broker lives in this process: no TLS, no SASL, and a fetch that answers at once.
fn embedded_options(kafka: &KafkaSource) -> BTreeMap<String, crate::definition::Secret> {
    kafka
        .options
        .iter()
        .filter(|(name, _)| {
            !["security.", "ssl.", "sasl."]
                .iter()
                .any(|prefix| name.starts_with(prefix))
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Runs the layers until bronze has all `total` events and silver and gold have caught up.
fn run_while_producing(
    components: &Components,
    pipeline: &Pipeline,
    topic: &str,
    before: u64,
    total: u64,
    committed: &Committed,
) -> Result<Vec<Summary>> {
    let SourceKind::Kafka(kafka) = &pipeline.bronze.source else {
        return Ok(Vec::new());
    };
    let live = Options {
        layer: None,
        once: false,
        close_windows: false,
        adopt: false,
    };
    let pipelines = std::slice::from_ref(pipeline);
    let mut feeder = Feeder::new(kafka, topic)?;
    // What the lake has already must be in the topic again before bronze looks where to go on.
    feeder.send(0..before, committed, &components.stop)?;
    let first = std::thread::scope(|scope| {
        let running = scope.spawn(|| run::run(components, pipelines, &live));
        let produced = feeder.send(before..total, committed, &components.stop);
        if produced.is_ok() {
            wait_for(total, committed, &components.stop);
        }
        components.stop.ask();
        let summaries = running
            .join()
            .map_err(|_| Error::new(Kind::Bug, "the layers panicked"))??;
        produced.map(|()| summaries)
    })?;
    // What the layers had not reached when they were stopped.
    let rest = Components {
        stop: Stop::default(),
        ..components.clone()
    };
    let once = Options { once: true, ..live };
    let second = run::run(&rest, pipelines, &once)?;
    Ok([first, second].concat())
}

/// Sends events in order, never further ahead of bronze than the broker keeps.
struct Feeder {
    producer: Producer,
    generator: Generator,
    gate: Gate,
    topic: String,
}

impl Feeder {
    fn new(kafka: &KafkaSource, topic: &str) -> Result<Self> {
        Ok(Self {
            producer: Producer::new(&kafka.brokers, topic, &kafka.options)?,
            generator: Generator::new(GeneratorConfig {
                events_per_second: EVENTS_PER_SECOND,
                ..GeneratorConfig::default()
            }),
            gate: Gate::new(),
            topic: topic.to_owned(),
        })
    }

    /// Sends the events of `range` and waits until the broker has them.
    fn send(&mut self, range: Range<u64>, committed: &Committed, stop: &Stop) -> Result<()> {
        let bar = progress::bar(range.end - range.start, "producing");
        for index in range.clone() {
            let event = self.generator.event(index);
            let partition = partition_of(event.key.as_deref(), index);
            let size = event.key.as_ref().map_or(0, Vec::len) + event.value.as_ref().map_or(0, Vec::len);
            while !self.gate.may_send(partition, size) {
                if stop.asked() {
                    return Ok(());
                }
                self.producer.flush(FLUSH)?;
                let positions = lock(&committed.positions);
                let waited = committed.moved.wait_timeout(positions, Duration::from_millis(50));
                let (positions, _) = waited.unwrap_or_else(PoisonError::into_inner);
                self.gate.committed(&self.topic, &positions);
            }
            self.gate.sent(partition, size);
            self.producer.send(&Outgoing {
                partition: Some(partition),
                timestamp_ms: Some(event.timestamp_ms),
                key: event.key.as_deref(),
                value: event.value.as_deref(),
                ..Outgoing::default()
            })?;
            if index % 1024 == 0 {
                bar.set_position(index - range.start);
            }
        }
        bar.finish_and_clear();
        self.producer.flush(FLUSH)
    }
}

/// By key, as Kafka would, so that a repetition follows its original; the same in every run.
fn partition_of(key: Option<&[u8]>, index: u64) -> i32 {
    let hash = key.map_or(index, |key| {
        key.iter()
            .fold(0, |hash: u64, byte| hash.wrapping_mul(31) + u64::from(*byte))
    });
    i32::try_from(hash % PARTITIONS.unsigned_abs() as u64).unwrap_or(0)
}

/// Waits until bronze has committed `total` records.
fn wait_for(total: u64, committed: &Committed, stop: &Stop) {
    let mut positions = lock(&committed.positions);
    while !stop.asked()
        && positions
            .values()
            .map(|next| u64::try_from(*next).unwrap_or(0))
            .sum::<u64>()
            < total
    {
        let waited = committed.moved.wait_timeout(positions, Duration::from_millis(200));
        (positions, _) = waited.unwrap_or_else(PoisonError::into_inner);
    }
}

fn lock(positions: &Mutex<Positions>) -> std::sync::MutexGuard<'_, Positions> {
    positions.lock().unwrap_or_else(PoisonError::into_inner)
}

fn report(
    session: &Session,
    components: &Components,
    pipeline: &Pipeline,
    summaries: &[Summary],
    seconds: f64,
) -> Result<()> {
    let lake = &components.lake;
    let records: u64 = summaries
        .iter()
        .flat_map(|summary| &summary.layers)
        .filter(|tally| tally.layer == "bronze")
        .map(|tally| tally.rows_in)
        .sum();
    eprintln!("{} rows through three layers in {seconds:.1} s", grouped(records));
    let Some(gold) = pipeline.gold.first() else {
        return Ok(());
    };
    let tables = [
        (gold.name.clone(), names::gold_path(PIPELINE, &gold.name)),
        ("silver".to_owned(), names::silver_path(PIPELINE)),
        ("rejects".to_owned(), names::rejects_path(PIPELINE)),
        (format!("late_{}", gold.name), names::late_path(PIPELINE, &gold.name)),
    ]
    .map(|(name, path)| Queryable {
        schema: PIPELINE.to_owned(),
        name,
        path,
    });
    let start = &gold.window.start;
    let newest = format!(
        "select * from {0} order by {start} desc, campaign_id limit 10",
        gold.name
    );
    let quality = format!(
        "select 'accepted' as fate, count(*) as records from silver union all \
         select 'accepted, but late for gold' as fate, count(*) as records from late_{} union all \
         select reason as fate, count(*) as records from rejects group by reason order by records desc",
        gold.name
    );
    for (title, sql) in [
        ("newest minutes of gold:", newest),
        ("what became of the records:", quality),
    ] {
        output::line(title)?;
        let batches = session.runtime.block_on(async {
            use crate::error::Context;
            let context = table::session(lake, &tables, PIPELINE).await?;
            let frame = context.sql(&sql).await.or_fail(Kind::Bug, || "the demo's query")?;
            frame.collect().await.or_fail(Kind::Bug, || "the demo's query")
        })?;
        output::rows(&batches)?;
    }
    audit::run(session, lake, std::slice::from_ref(pipeline))?;
    output::line(
        "next: `medallion demo` again goes on where this run ended; `medallion status` shows the layers;\n      \
         `medallion query \"select count(*) from view_log.silver\"` asks the tables; README.md has your own topic",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_same_partition_in_every_run() {
        assert_eq!(partition_of(Some(b"abc"), 1), partition_of(Some(b"abc"), 2));
        let spread: std::collections::BTreeSet<i32> = (0..100).map(|index| partition_of(None, index)).collect();
        assert_eq!(spread.len(), PARTITIONS as usize);
    }
}
