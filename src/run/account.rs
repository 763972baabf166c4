//! What is told of a committed step: a line of log, and metrics of what it did and what it cost.

use std::time::{Duration, Instant};

use super::driver::Components;
use crate::clock::{CpuMark, process_cpu};
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

    /// One line of log and the metrics of a committed step, and the size of the `tables` it wrote to.
    pub(super) fn note<'b>(&mut self, step: &Step, tables: impl IntoIterator<Item = &'b Table>) {
        let cpu = self
            .cpu
            .replace(CpuMark::now())
            .map_or(Duration::ZERO, CpuMark::elapsed);
        let seconds = step.began.elapsed().as_secs_f64();
        let ([input, output], [bytes_in, bytes_out]) = (step.rows, step.bytes);
        tracing::info!(
            pipeline = self.pipeline,
            layer = self.layer,
            rows_in = input,
            rows_out = output,
            position = step.position,
            seconds,
            cpu_seconds = cpu.as_secs_f64(),
            "committed"
        );
        for table in tables {
            let extent = table.extent();
            metrics::table_size(&TableSize {
                pipeline: self.pipeline,
                table: within(self.pipeline, &table.spec().path),
                files: extent.files,
                bytes: extent.bytes,
                log_bytes: extent.log_bytes,
            });
        }
        metrics::step_done(&StepDone {
            pipeline: self.pipeline,
            layer: self.layer,
            input,
            output,
            position: step.position,
            seconds,
            cpu_seconds: cpu.as_secs_f64(),
            process_cpu_seconds: process_cpu().as_secs_f64(),
            bytes_in,
            bytes_out,
            now: self.components.lake.clock().now(),
        });
    }
}

/// A table's path within its pipeline: `bronze`, `gold/views_per_minute`.
fn within<'a>(pipeline: &str, path: &'a str) -> &'a str {
    let rest = path.strip_prefix(pipeline).and_then(|rest| rest.strip_prefix('/'));
    rest.unwrap_or(path)
}
