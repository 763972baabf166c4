//! Metrics, only through typed functions: names and labels stand in this room and nowhere else.
//!
//! Conventions of Prometheus: base units, `_total` on counters, progress as timestamps and positions, bounded labels,
//! counters that are there at zero. A count that must be right after a restart is told as what it is since the tables
//! began; the others count since the process did.

mod catalogue;
mod exporter;
mod quality;

use metrics::{Label, counter, gauge, histogram};

use crate::error::Kind;

pub use catalogue::{CATALOGUE, Metric, Shape};
pub use exporter::Exporter;
pub use quality::{Quality, late, quality};

/// What a layer can meet.
const KINDS: [Kind; 8] = [
    Kind::Definition,
    Kind::Usage,
    Kind::Gate,
    Kind::DataLoss,
    Kind::Fenced,
    Kind::Damaged,
    Kind::Unavailable,
    Kind::Bug,
];

/// The counters of a layer, at zero before anything happens; `now` in UTC microseconds.
pub fn layer_started(pipeline: &str, layer: &'static str, now: i64) {
    caught_up(pipeline, layer, now);
    for name in [
        "medallion_input_rows_total",
        "medallion_output_rows_total",
        "medallion_input_bytes_total",
        "medallion_output_bytes_total",
    ] {
        counter!(name, labels(pipeline, layer)).increment(0);
    }
    for kind in KINDS {
        errors(pipeline, layer, kind).increment(0);
    }
    if layer == "bronze" {
        counter!("medallion_source_rebuilds_total", "pipeline" => pipeline.to_owned()).increment(0);
        source_stalled(pipeline, false);
    }
    if layer == "silver" {
        for how in ["snapshot", "previous", "tables"] {
            restores(pipeline, how).increment(0);
        }
        snapshot_failures(pipeline).increment(0);
    }
}

/// Notes whether a layer does its work, and since when (UTC microseconds).
pub fn layer_state(pipeline: &str, layer: &'static str, well: bool, since: i64) {
    flag("medallion_layer_up", labels(pipeline, layer), well);
    let trouble = if well { 0.0 } else { seconds(since) };
    gauge!("medallion_layer_trouble_timestamp_seconds", labels(pipeline, layer)).set(trouble);
}

/// Notes an error that a layer met.
pub fn error(pipeline: &str, layer: &'static str, kind: Kind) {
    errors(pipeline, layer, kind).increment(1);
}

fn errors(pipeline: &str, layer: &'static str, kind: Kind) -> metrics::Counter {
    counter!("medallion_errors_total", "pipeline" => pipeline.to_owned(), "layer" => layer, "kind" => kind.name())
}

/// Notes whether the declaration on disk is broken, or another than the one in force.
pub fn declaration(pipeline: &str, broken: bool, changed: bool) {
    flag("medallion_definition_broken", of(pipeline), broken);
    flag("medallion_definition_changed", of(pipeline), changed);
}

/// Notes whether reference data on disk is broken.
pub fn reference(pipeline: &str, broken: bool) {
    flag("medallion_reference_broken", of(pipeline), broken);
}

/// Notes where a layer is, and where its upstream is, if there is one to be compared with: both next bronze seqs.
pub fn position(pipeline: &str, layer: &'static str, position: i64, head: Option<i64>) {
    gauge!("medallion_position_seq", labels(pipeline, layer)).set(position as f64);
    if let Some(head) = head {
        gauge!("medallion_head_seq", labels(pipeline, layer)).set(head as f64);
    }
}

/// Notes when a layer had last committed all that its upstream had (UTC microseconds). What was before the process began
/// it cannot know, so it begins with that.
pub fn caught_up(pipeline: &str, layer: &'static str, at: i64) {
    gauge!("medallion_caught_up_timestamp_seconds", labels(pipeline, layer)).set(seconds(at));
}

/// Notes silver's watermark (UTC microseconds).
pub fn watermark(pipeline: &str, at: i64) {
    gauge!("medallion_watermark_timestamp_seconds", of(pipeline)).set(seconds(at));
}

/// Notes where bronze is in a partition, and where that ends.
pub fn partition(pipeline: &str, topic: &str, partition: i32, position: i64, end: i64) {
    let labels = || {
        vec![
            Label::new("pipeline", pipeline.to_owned()),
            Label::new("topic", topic.to_owned()),
            Label::new("partition", partition.to_string()),
        ]
    };
    gauge!("medallion_kafka_position_offset", labels()).set(position as f64);
    gauge!("medallion_kafka_end_offset", labels()).set(end as f64);
    gauge!("medallion_kafka_lag_records", labels()).set((end - position).max(0) as f64);
}

/// Notes that a stalled source was opened anew.
pub fn source_rebuilt(pipeline: &str) {
    counter!("medallion_source_rebuilds_total", of(pipeline)).increment(1);
}

/// Notes whether a source gives nothing of what it has.
pub fn source_stalled(pipeline: &str, stalled: bool) {
    flag("medallion_source_stalled", of(pipeline), stalled);
}

/// One committed step of a layer.
pub struct StepDone<'a> {
    /// The pipeline.
    pub pipeline: &'a str,
    /// `bronze`, `silver` or `gold`.
    pub layer: &'static str,
    /// Rows read.
    pub input: u64,
    /// Rows committed.
    pub output: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Its parts by name, in seconds.
    pub phases: &'a [(&'static str, f64)],
    /// CPU time of the layer's thread since the step before, in seconds.
    pub cpu_seconds: f64,
    /// Bytes read: payloads, keys and headers for bronze, else upstream's rows in memory.
    pub bytes_in: u64,
    /// Bytes of the data files committed.
    pub bytes_out: u64,
    /// Wall clock at its end, in microseconds.
    pub now: i64,
}

/// Notes a committed step.
pub fn step_done(step: &StepDone<'_>) {
    let labels = || labels(step.pipeline, step.layer);
    counter!("medallion_input_rows_total", labels()).increment(step.input);
    counter!("medallion_output_rows_total", labels()).increment(step.output);
    gauge!("medallion_last_commit_timestamp_seconds", labels()).set(seconds(step.now));
    counter!("medallion_input_bytes_total", labels()).increment(step.bytes_in);
    counter!("medallion_output_bytes_total", labels()).increment(step.bytes_out);
    histogram!("medallion_step_duration_seconds", labels()).record(step.seconds);
    histogram!("medallion_step_cpu_seconds", labels()).record(step.cpu_seconds);
    for (phase, seconds) in step.phases {
        let mut labels = labels();
        labels.push(Label::new("phase", *phase));
        histogram!("medallion_step_phase_duration_seconds", labels).record(*seconds);
    }
}

/// How large a table is after a commit.
pub struct TableSize<'a> {
    /// The pipeline.
    pub pipeline: &'a str,
    /// The table's path within the pipeline: `bronze`, `gold/views_per_minute`.
    pub table: &'a str,
    /// Its rows, where they are known.
    pub rows: Option<i64>,
    /// Active data files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of the log.
    pub log_bytes: u64,
}

/// Notes how large a table is.
pub fn table_size(size: &TableSize<'_>) {
    let labels = || of_table(size.pipeline, size.table);
    if let Some(rows) = size.rows {
        gauge!("medallion_table_rows", labels()).set(rows as f64);
    }
    gauge!("medallion_table_files", labels()).set(size.files as f64);
    gauge!("medallion_table_bytes", labels()).set(size.bytes as f64);
    gauge!("medallion_table_log_bytes", labels()).set(size.log_bytes as f64);
    counter!("medallion_commit_retries_total", labels()).increment(0);
}

/// Notes that a commit to the table at `path` (`<pipeline>/<table>`) was put again.
pub fn commit_retried(path: &str) {
    let (pipeline, table) = path.split_once('/').unwrap_or((path, ""));
    counter!("medallion_commit_retries_total", of_table(pipeline, table)).increment(1);
}

/// Notes how many keys silver knows duplicates by, and the bytes of memory they take.
pub fn dedupe(pipeline: &str, keys: usize, bytes: usize) {
    gauge!("medallion_dedupe_keys", of(pipeline)).set(keys as f64);
    gauge!("medallion_dedupe_bytes", of(pipeline)).set(bytes as f64);
}

/// The windows of a gold table.
pub struct Windows {
    /// How many are open.
    pub open: usize,
    /// Groups in them.
    pub groups: usize,
    /// Bytes of memory they take.
    pub bytes: usize,
    /// End of the last that closed, in UTC microseconds; none before.
    pub closed: Option<i64>,
}

/// Notes the windows of a gold table.
pub fn windows(pipeline: &str, table: &str, windows: &Windows) {
    let labels = || of_table(pipeline, table);
    gauge!("medallion_open_windows", labels()).set(windows.open as f64);
    gauge!("medallion_open_window_groups", labels()).set(windows.groups as f64);
    gauge!("medallion_open_window_bytes", labels()).set(windows.bytes as f64);
    if let Some(closed) = windows.closed {
        gauge!("medallion_closed_timestamp_seconds", labels()).set(seconds(closed));
    }
}

/// Notes how silver's state was had at a start: `snapshot`, `previous` or `tables`.
pub fn state_restored(pipeline: &str, how: &'static str) {
    restores(pipeline, how).increment(1);
}

fn restores(pipeline: &str, how: &'static str) -> metrics::Counter {
    counter!("medallion_state_restores_total", "pipeline" => pipeline.to_owned(), "how" => how)
}

/// Notes a snapshot of silver's state that could not be written.
pub fn snapshot_failed(pipeline: &str) {
    snapshot_failures(pipeline).increment(1);
}

fn snapshot_failures(pipeline: &str) -> metrics::Counter {
    counter!("medallion_snapshot_failures_total", of(pipeline))
}

/// Has the count of failed maintenance at 0 before the first.
pub fn maintenance_begins(pipeline: &str) {
    maintenance_failures(pipeline).increment(0);
}

/// Notes a maintenance pass that failed.
pub fn maintenance_failed(pipeline: &str) {
    maintenance_failures(pipeline).increment(1);
}

fn maintenance_failures(pipeline: &str) -> metrics::Counter {
    counter!("medallion_maintenance_failures_total", of(pipeline))
}

/// Notes that `table`, a path in the lake, was maintained at `at`; now where it is not there yet.
pub fn maintained(pipeline: &str, table: &str, at: i64) {
    let table = table.split_once('/').map_or(table, |(_, name)| name);
    gauge!("medallion_maintained_timestamp_seconds", of_table(pipeline, table)).set(seconds(at));
}

fn flag(name: &'static str, labels: Vec<Label>, set: bool) {
    gauge!(name, labels).set(f64::from(u8::from(set)));
}

fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

fn of(pipeline: &str) -> Vec<Label> {
    vec![Label::new("pipeline", pipeline.to_owned())]
}

fn of_table(pipeline: &str, table: &str) -> Vec<Label> {
    vec![
        Label::new("pipeline", pipeline.to_owned()),
        Label::new("table", table.to_owned()),
    ]
}

fn labels(pipeline: &str, layer: &'static str) -> Vec<Label> {
    vec![Label::new("pipeline", pipeline.to_owned()), Label::new("layer", layer)]
}
