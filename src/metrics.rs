//! Metrics, only through typed functions: names and labels stand here and nowhere else.
//!
//! Conventions of Prometheus: base units, `_total` on counters, progress as timestamps and positions, bounded labels.

use std::net::SocketAddr;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

use crate::error::{Context, Error, Kind, Result};

const COMMIT_SECONDS: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Serves `/metrics` on `address` from the current tokio runtime.
///
/// Errors: [`Kind::Unavailable`] where the port is taken, before anything is consumed.
pub fn serve(address: SocketAddr) -> Result<()> {
    // The exporter reports a failed bind only from its own task, so the port is tried here first.
    let probe = std::net::TcpListener::bind(address);
    drop(
        probe
            .or_fail(Kind::Unavailable, || format!("metrics on {address}"))
            .map_err(hint)?,
    );
    PrometheusBuilder::new()
        .with_http_listener(address)
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &COMMIT_SECONDS)
        .or_fail(Kind::Bug, || "the metrics' buckets")?
        .install()
        .or_fail(Kind::Unavailable, || format!("metrics on {address}"))
        .map_err(hint)?;
    describe();
    Ok(())
}

fn hint(error: Error) -> Error {
    error.with_next("choose another port with --metrics, or --metrics off")
}

fn describe() {
    describe_gauge!("medallion_build_info", "Always 1; the version is in the label");
    gauge!("medallion_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    describe_counter!(
        "medallion_input_rows_total",
        "Rows a layer has read from upstream since this process began"
    );
    describe_counter!(
        "medallion_output_rows_total",
        "Rows a layer has committed since this process began"
    );
    describe_counter!(
        "medallion_rejected_rows_total",
        "Records that silver rejected, by reason"
    );
    describe_counter!(
        "medallion_late_rows_total",
        "Rows that came after their window had closed"
    );
    describe_counter!("medallion_errors_total", "Errors that a layer met, by kind");
    describe_counter!(
        "medallion_state_restores_total",
        "Starts at which silver's state was had: from a snapshot, the previous one, or the tables"
    );
    describe_counter!(
        "medallion_snapshot_failures_total",
        "Snapshots of silver's state that could not be written"
    );
    describe_counter!(
        "medallion_source_rebuilds_total",
        "Times a source was opened anew because it had more and gave none of it"
    );
    describe_gauge!(
        "medallion_source_stalled",
        "1 from when a source is found to give nothing of what it has until it gives something, else 0"
    );
    describe_gauge!("medallion_position_seq", "Next bronze seq of a layer");
    describe_gauge!("medallion_last_commit_timestamp_seconds", "When a layer last committed");
    describe_gauge!(
        "medallion_layer_up",
        "1 while a layer's turns succeed, 0 while it tries again, is stalled or has failed"
    );
    describe_gauge!(
        "medallion_layer_trouble_timestamp_seconds",
        "Since when a layer is not up, 0 where it is"
    );
    describe_gauge!(
        "medallion_definition_broken",
        "1 while the declaration on disk is broken; the last good one stays in force"
    );
    describe_gauge!(
        "medallion_definition_changed",
        "1 while the declaration on disk is another than the one in force"
    );
    describe_gauge!(
        "medallion_reference_broken",
        "1 while reference data on disk is broken; the last good version stays in force"
    );
    describe_histogram!(
        "medallion_step_duration_seconds",
        "Time of one step of a layer, commit included"
    );
    describe_cost();
}

/// What work costs, and how large its results are.
fn describe_cost() {
    describe_counter!(
        "medallion_input_bytes_total",
        "Bytes a layer has read: payloads, keys and headers for bronze, else upstream's rows in memory"
    );
    describe_counter!(
        "medallion_output_bytes_total",
        "Bytes of the data files a layer has committed"
    );
    describe_histogram!(
        "medallion_step_cpu_seconds",
        "CPU time of a layer's thread from one committed step to the next, waiting and retries included"
    );
    describe_gauge!(
        "medallion_process_cpu_seconds",
        "CPU time of the process so far; beyond the layers' it is the Kafka client's, the disk's and the runtime's"
    );
    describe_gauge!("medallion_table_files", "Active data files of a table");
    describe_gauge!("medallion_table_bytes", "Bytes of a table's active data files");
    describe_gauge!(
        "medallion_table_log_bytes",
        "Bytes of a table's log; what maintenance cleaned counts until the table is opened anew"
    );
}

/// The counters of a layer, at zero before anything happens.
pub fn layer_started(pipeline: &str, layer: &'static str) {
    counter!("medallion_input_rows_total", labels(pipeline, layer)).increment(0);
    counter!("medallion_output_rows_total", labels(pipeline, layer)).increment(0);
    counter!("medallion_input_bytes_total", labels(pipeline, layer)).increment(0);
    counter!("medallion_output_bytes_total", labels(pipeline, layer)).increment(0);
    if layer == "bronze" {
        counter!("medallion_source_rebuilds_total", "pipeline" => pipeline.to_owned()).increment(0);
        source_stalled(pipeline, false);
    }
    if layer == "gold" {
        counter!("medallion_late_rows_total", labels(pipeline, layer)).increment(0);
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
    gauge!("medallion_layer_up", labels(pipeline, layer)).set(f64::from(u8::from(well)));
    let trouble = if well { 0.0 } else { since as f64 / 1e6 };
    gauge!("medallion_layer_trouble_timestamp_seconds", labels(pipeline, layer)).set(trouble);
}

/// Notes whether the declaration on disk is broken, or another than the one in force.
pub fn declaration(pipeline: &str, broken: bool, changed: bool) {
    let label = || pipeline.to_owned();
    gauge!("medallion_definition_broken", "pipeline" => label()).set(f64::from(u8::from(broken)));
    gauge!("medallion_definition_changed", "pipeline" => label()).set(f64::from(u8::from(changed)));
}

/// Notes whether reference data on disk is broken.
pub fn reference(pipeline: &str, broken: bool) {
    gauge!("medallion_reference_broken", "pipeline" => pipeline.to_owned()).set(f64::from(u8::from(broken)));
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
    /// The position reached.
    pub position: i64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// CPU time of the layer's thread since the step before, in seconds.
    pub cpu_seconds: f64,
    /// CPU time of the whole process so far, in seconds.
    pub process_cpu_seconds: f64,
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
    gauge!("medallion_position_seq", labels()).set(step.position as f64);
    gauge!("medallion_last_commit_timestamp_seconds", labels()).set(step.now as f64 / 1e6);
    counter!("medallion_input_bytes_total", labels()).increment(step.bytes_in);
    counter!("medallion_output_bytes_total", labels()).increment(step.bytes_out);
    histogram!("medallion_step_duration_seconds", labels()).record(step.seconds);
    histogram!("medallion_step_cpu_seconds", labels()).record(step.cpu_seconds);
    gauge!("medallion_process_cpu_seconds").set(step.process_cpu_seconds);
}

/// How large a table is after a commit.
pub struct TableSize<'a> {
    /// The pipeline.
    pub pipeline: &'a str,
    /// The table's path within the pipeline: `bronze`, `gold/views_per_minute`.
    pub table: &'a str,
    /// Active data files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of the log.
    pub log_bytes: u64,
}

/// Notes how large a table is.
pub fn table_size(size: &TableSize<'_>) {
    let labels = || {
        vec![
            metrics::Label::new("pipeline", size.pipeline.to_owned()),
            metrics::Label::new("table", size.table.to_owned()),
        ]
    };
    gauge!("medallion_table_files", labels()).set(size.files as f64);
    gauge!("medallion_table_bytes", labels()).set(size.bytes as f64);
    gauge!("medallion_table_log_bytes", labels()).set(size.log_bytes as f64);
}

/// Notes that a stalled source was opened anew.
pub fn source_rebuilt(pipeline: &str) {
    counter!("medallion_source_rebuilds_total", "pipeline" => pipeline.to_owned()).increment(1);
}

/// Notes whether a source gives nothing of what it has.
pub fn source_stalled(pipeline: &str, stalled: bool) {
    gauge!("medallion_source_stalled", "pipeline" => pipeline.to_owned()).set(f64::from(u8::from(stalled)));
}

/// Notes records that silver rejected for one reason.
pub fn rejected(pipeline: &str, reason: &'static str, rows: u64) {
    counter!("medallion_rejected_rows_total", "pipeline" => pipeline.to_owned(), "reason" => reason).increment(rows);
}

/// Notes late rows.
pub fn late(pipeline: &str, rows: u64) {
    counter!("medallion_late_rows_total", labels(pipeline, "gold")).increment(rows);
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
    counter!("medallion_snapshot_failures_total", "pipeline" => pipeline.to_owned())
}

/// Notes an error that a layer met.
pub fn error(pipeline: &str, layer: &'static str, kind: Kind) {
    let kind = format!("{kind:?}").to_lowercase();
    counter!("medallion_errors_total", "pipeline" => pipeline.to_owned(), "layer" => layer, "kind" => kind)
        .increment(1);
}

fn labels(pipeline: &str, layer: &'static str) -> Vec<metrics::Label> {
    vec![
        metrics::Label::new("pipeline", pipeline.to_owned()),
        metrics::Label::new("layer", layer),
    ]
}
