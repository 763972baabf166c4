//! Every metric there is, once: what it is called, what it is, and what it says. docs/metrics.md has their labels.

use Shape::{Counter, Gauge, Histogram};

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts values by size.
    Histogram,
}

/// A metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name, with its unit.
    pub name: &'static str,
    /// How it behaves.
    pub shape: Shape,
    /// What it says, for who reads `/metrics`.
    pub help: &'static str,
}

const fn metric(name: &'static str, shape: Shape, help: &'static str) -> Metric {
    Metric { name, shape, help }
}

/// All metrics but those of the process, which `metrics-process` names as Prometheus does everywhere.
pub const CATALOGUE: &[Metric] = &[
    metric("medallion_build_info", Gauge, "Always 1; the version is in the label"),
    // How the tables are kept.
    metric(
        "medallion_maintained_timestamp_seconds",
        Gauge,
        "When a table was last maintained, by whomever: the time of its newest log checkpoint",
    ),
    metric(
        "medallion_maintenance_failures_total",
        Counter,
        "Maintenance passes that failed; each is tried again",
    ),
    // How the layers fare.
    metric(
        "medallion_layer_up",
        Gauge,
        "1 while a layer's turns succeed, 0 while it tries again, is stalled or has failed",
    ),
    metric(
        "medallion_layer_trouble_timestamp_seconds",
        Gauge,
        "Since when a layer is not up, 0 where it is",
    ),
    metric("medallion_errors_total", Counter, "Errors that a layer met, by kind"),
    metric(
        "medallion_definition_broken",
        Gauge,
        "1 while the declaration on disk is broken; the last good one stays in force",
    ),
    metric(
        "medallion_definition_changed",
        Gauge,
        "1 while the declaration on disk is another than the one in force",
    ),
    metric(
        "medallion_reference_broken",
        Gauge,
        "1 while reference data on disk is broken; the last good version stays in force",
    ),
    // How far they are.
    metric("medallion_position_seq", Gauge, "Next bronze seq of a layer"),
    metric(
        "medallion_head_seq",
        Gauge,
        "Next bronze seq of a layer's upstream, as last seen",
    ),
    metric(
        "medallion_caught_up_timestamp_seconds",
        Gauge,
        "When a layer had last committed all that its upstream had; before it ever had, when it began",
    ),
    metric(
        "medallion_last_commit_timestamp_seconds",
        Gauge,
        "When a layer last committed",
    ),
    metric(
        "medallion_watermark_timestamp_seconds",
        Gauge,
        "Silver's watermark, in event time",
    ),
    metric(
        "medallion_closed_timestamp_seconds",
        Gauge,
        "End of the last window that a gold table closed, in event time",
    ),
    metric(
        "medallion_kafka_position_offset",
        Gauge,
        "Next offset of a partition that bronze will consume",
    ),
    metric(
        "medallion_kafka_end_offset",
        Gauge,
        "End offset of a partition, read-committed, as the broker last told it",
    ),
    metric(
        "medallion_kafka_lag_records",
        Gauge,
        "Offsets of a partition that bronze has yet to commit",
    ),
    metric(
        "medallion_source_stalled",
        Gauge,
        "1 from when a source is found to give nothing of what it has until it gives something, else 0",
    ),
    metric(
        "medallion_source_rebuilds_total",
        Counter,
        "Times a source was opened anew because it had more and gave none of it",
    ),
    // What became of the records.
    metric(
        "medallion_records_total",
        Counter,
        "Records that silver gave a fate, since its tables began",
    ),
    metric(
        "medallion_rejected_rows_total",
        Counter,
        "Rows of rejects by reason, since the tables began",
    ),
    metric(
        "medallion_expectation_records_total",
        Counter,
        "Records that a rule was asked about, by result, since the tables began or their newest commit was lost sight of",
    ),
    metric(
        "medallion_late_rows_total",
        Counter,
        "Rows that came after their window had closed, since the table began",
    ),
    metric(
        "medallion_unaccounted_rows",
        Gauge,
        "Records below silver's position less the rows of silver and rejects: other than 0, some are lost or doubled",
    ),
    // What a step does and costs.
    metric(
        "medallion_input_rows_total",
        Counter,
        "Rows a layer has read from upstream since this process began",
    ),
    metric(
        "medallion_output_rows_total",
        Counter,
        "Rows a layer has committed since this process began",
    ),
    metric(
        "medallion_input_bytes_total",
        Counter,
        "Bytes a layer has read: payloads, keys and headers for bronze, else upstream's rows in memory",
    ),
    metric(
        "medallion_output_bytes_total",
        Counter,
        "Bytes of the data files a layer has committed",
    ),
    metric(
        "medallion_step_duration_seconds",
        Histogram,
        "Time of one step of a layer, commit included",
    ),
    metric(
        "medallion_step_phase_duration_seconds",
        Histogram,
        "Parts of a step: read from upstream, compute, commit rows and position",
    ),
    metric(
        "medallion_step_cpu_seconds",
        Histogram,
        "CPU time of a layer's thread from one committed step to the next, waiting and retries included",
    ),
    metric(
        "medallion_commit_retries_total",
        Counter,
        "Commits to a table that were put again, because another commit came between or the store gave no answer",
    ),
    // What is kept.
    metric("medallion_table_rows", Gauge, "Rows of a table"),
    metric("medallion_table_files", Gauge, "Active data files of a table"),
    metric("medallion_table_bytes", Gauge, "Bytes of a table's active data files"),
    metric(
        "medallion_table_log_bytes",
        Gauge,
        "Bytes of a table's log; what maintenance cleaned counts until the table is opened anew",
    ),
    metric("medallion_dedupe_keys", Gauge, "Keys by which silver knows duplicates"),
    metric("medallion_dedupe_bytes", Gauge, "Memory that they take"),
    metric(
        "medallion_open_windows",
        Gauge,
        "Windows of a gold table that are not closed yet",
    ),
    metric(
        "medallion_open_window_groups",
        Gauge,
        "Groups in them, each a row to be",
    ),
    metric("medallion_open_window_bytes", Gauge, "Memory that they take, about"),
    metric(
        "medallion_state_restores_total",
        Counter,
        "Starts at which silver's state was had: from a snapshot, the previous one, or the tables",
    ),
    metric(
        "medallion_snapshot_failures_total",
        Counter,
        "Snapshots of silver's state that could not be written",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_as_prometheus_wants_them() {
        let names: BTreeSet<&str> = CATALOGUE.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), CATALOGUE.len());
        for metric in CATALOGUE {
            assert!(metric.name.starts_with("medallion_"), "{metric:?}");
            assert_eq!(metric.name.ends_with("_total"), metric.shape == Counter, "{metric:?}");
        }
    }
}
