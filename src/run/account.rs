//! What is told of a committed step: a line of log, and metrics of what it did and what it cost.

use std::time::{Duration, Instant};

use super::driver::Components;
use super::names;
use crate::clock::CpuMark;
use crate::metrics::{self, StepDone, TableSize};
use crate::table::Table;

/// What a committed step did.
pub(super) struct Step {
    /// Rows read and rows committed.
    pub(super) rows: [u64; 2],
    /// Bytes read, and bytes of the data files committed.
    pub(super) bytes: [u64; 2],
    /// The position reached.
    pub(super) position: i64,
    /// When it began.
    pub(super) began: Instant,
    /// Its parts.
    pub(super) phases: Phases,
}

/// How long the parts of a step took, one after the other.
#[derive(Debug, Clone)]
pub struct Phases {
    since: Instant,
    parts: Vec<(&'static str, f64)>,
}

impl Phases {
    /// The first part begins now.
    pub(super) fn begin() -> Self {
        Self {
            since: Instant::now(),
            parts: Vec::new(),
        }
    }

    /// The second part begins now, after the first took `time`.
    pub(super) fn after(name: &'static str, time: Duration) -> Self {
        let mut phases = Self::begin();
        phases.parts.push((name, time.as_secs_f64()));
        phases
    }

    /// A part has ended, and the next begins.
    pub(super) fn end(&mut self, name: &'static str) {
        self.parts.push((name, self.since.elapsed().as_secs_f64()));
        self.since = Instant::now();
    }

    /// How long a part took that has ended, in microseconds.
    pub(super) fn micros(&self, name: &str) -> Option<u64> {
        let (_, seconds) = self.parts.iter().find(|(part, _)| *part == name)?;
        Some((seconds * 1e6) as u64)
    }
}

/// Keeps account of a layer's steps, on the layer's own thread.
pub(super) struct Account<'a> {
    components: &'a Components,
    pipeline: &'a str,
    layer: &'static str,
    /// CPU time of the thread that is accounted for; none before the first turn.
    cpu: Option<CpuMark>,
}

impl<'a> Account<'a> {
    /// Of a layer that has not done anything.
    pub(super) fn new(components: &'a Components, pipeline: &'a str, layer: &'static str) -> Self {
        Self {
            components,
            pipeline,
            layer,
            cpu: None,
        }
    }

    /// To be called at the begin of every turn: what the thread does from the first of them on is the layer's.
    pub(super) fn turn(&mut self) {
        self.cpu.get_or_insert_with(CpuMark::now);
    }

    /// One line of log and the metrics of a committed step, and the size of the `tables` it wrote to, the layer's own first.
    pub(super) fn note<'b>(&mut self, step: &Step, tables: impl IntoIterator<Item = &'b Table> + Clone) {
        let cpu = self
            .cpu
            .replace(CpuMark::now())
            .map_or(Duration::ZERO, CpuMark::elapsed);
        let seconds = step.began.elapsed().as_secs_f64();
        let ([input, output], [bytes_in, bytes_out]) = (step.rows, step.bytes);
        let now = self.components.lake.clock().now();
        let done = StepDone {
            pipeline: self.pipeline,
            layer: self.layer,
            input,
            output,
            seconds,
            phases: &step.phases.parts,
            cpu_seconds: cpu.as_secs_f64(),
            bytes_in,
            bytes_out,
            now,
        };
        let table = tables.clone().into_iter().next();
        let table = table.map(|table| names::dataset(self.pipeline, &table.spec().path));
        #[cfg(feature = "otel")]
        let _span = crate::otel::step(&done, table, step.position);
        tracing::info!(
            pipeline = self.pipeline,
            layer = self.layer,
            table,
            rows_in = input,
            rows_out = output,
            position = step.position,
            seconds,
            cpu_seconds = done.cpu_seconds,
            "committed"
        );
        sizes(self.pipeline, tables);
        self.components
            .history
            .note(self.pipeline, self.layer, step.position, now);
        metrics::step_done(&done);
    }
}

/// The sizes of tables as they stand.
pub(super) fn sizes<'a>(pipeline: &str, tables: impl IntoIterator<Item = &'a Table>) {
    for table in tables {
        let extent = table.extent();
        metrics::table_size(&TableSize {
            pipeline,
            table: names::dataset(pipeline, &table.spec().path),
            rows: table.rows(),
            files: extent.files,
            bytes: extent.bytes,
            log_bytes: extent.log_bytes,
        });
    }
}
