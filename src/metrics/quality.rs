//! What became of the records, told as totals of the tables: a restart neither forgets nor repeats any.

use metrics::{Label, counter, gauge};

use super::{of, of_table};

/// What silver made of the records below its position.
pub struct Quality<'a> {
    /// The pipeline.
    pub pipeline: &'a str,
    /// Records in all.
    pub records: u64,
    /// Rows of rejects, by each reason there is.
    pub rejected: &'a [(&'static str, u64)],
    /// Records that the rules were asked about.
    pub judged: u64,
    /// Of them, those that did not pass, by each rule there is.
    pub failed: &'a [(&'a str, u64)],
    /// Records that have no row, less rows that have no record; none where a table does not know its rows.
    pub unaccounted: Option<i64>,
}

/// Notes what silver made of the records.
pub fn quality(quality: &Quality<'_>) {
    let pipeline = quality.pipeline;
    counter!("medallion_records_total", of(pipeline)).absolute(quality.records);
    for (reason, rows) in quality.rejected {
        let mut labels = of(pipeline);
        labels.push(Label::new("reason", *reason));
        counter!("medallion_rejected_rows_total", labels).absolute(*rows);
    }
    for (rule, failed) in quality.failed {
        let passed = quality.judged.saturating_sub(*failed);
        for (result, records) in [("passed", passed), ("failed", *failed)] {
            let mut labels = of(pipeline);
            labels.push(Label::new("rule", (*rule).to_owned()));
            labels.push(Label::new("result", result));
            counter!("medallion_expectation_records_total", labels).absolute(records);
        }
    }
    if let Some(unaccounted) = quality.unaccounted {
        gauge!("medallion_unaccounted_rows", of(pipeline)).set(unaccounted as f64);
    }
}

/// Notes how many rows the table of late rows `table` (`late/<name>`) has.
pub fn late(pipeline: &str, table: &str, rows: u64) {
    counter!("medallion_late_rows_total", of_table(pipeline, table)).absolute(rows);
}
