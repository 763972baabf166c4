//! Maintenance beside the layers: tables stay small while they are written, for months.
//!
//! When it is a table's turn is read from its log, not remembered: a run that is restarted every hour maintains as often as
//! one that never ends, and `medallion maintain` counts too. Nothing here ends a run; what fails is told and tried again.

use std::time::Duration;

use super::driver::{Components, Options};
use super::watch::RunEnd;
use super::{Lock, tables};
use crate::definition::Pipeline;
use crate::definition::maintenance::Maintenance;
use crate::error::{Kind, Result};
use crate::metrics;
use crate::table::TableSpec;
use crate::table::maintain::{Policy, last, maintain};

/// Longest and shortest pause between two looks at the tables' logs.
const LOOK_MAX: Duration = Duration::from_secs(300);
const LOOK_MIN: Duration = Duration::from_secs(1);
/// How often a pass under way asks whether the run is to end.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// The bounds as the table room has them.
pub fn policy(bounds: &Maintenance) -> Policy {
    Policy {
        target_bytes: i64::try_from(bounds.target_size).unwrap_or(i64::MAX),
        log_retention: bounds.keep_log,
        vacuum_age: bounds.keep_removed,
    }
}

/// Maintains the tables of the layers that run here whenever one is due, until the run ends.
pub(super) fn keep_small(components: &Components, pipelines: &[Pipeline], options: &Options, end: &RunEnd) {
    let bounds = components.maintenance;
    let Some(every) = bounds.every.filter(|_| !options.once) else {
        return;
    };
    let look_every = (every / 10).clamp(LOOK_MIN, LOOK_MAX);
    for pipeline in pipelines {
        metrics::maintenance_begins(&pipeline.name);
    }
    // Before the first wait nothing is maintained, so that a start is not held up, but all is told.
    let mut older_than = Duration::MAX;
    loop {
        for pipeline in pipelines {
            if let Err(error) = pass(components, pipeline, options, older_than) {
                let name = pipeline.name.as_str();
                // Another process is at it: then it is done, and that is all that matters.
                if error.kind() != Kind::Fenced {
                    metrics::maintenance_failed(name);
                    tracing::warn!(pipeline = name, %error, "maintenance failed and is tried again; the layers go on");
                }
            }
        }
        if end.wait(look_every) {
            return;
        }
        older_than = every;
    }
}

/// Maintains those of the pipeline's tables that were maintained longer ago than `older_than`, and tells of each when that was.
fn pass(components: &Components, pipeline: &Pipeline, options: &Options, older_than: Duration) -> Result<()> {
    let Components { lake, runtime, .. } = components;
    let mut failed = None;
    for spec in tables::of_layer(pipeline, options.layer)? {
        let last = runtime.block_on(last(lake, &spec.path))?;
        metrics::maintained(&pipeline.name, &spec.path, last.unwrap_or(lake.clock().now()));
        let age = last.map_or(0, |last| lake.clock().now() - last);
        let due = u64::try_from(age).is_ok_and(|age| Duration::from_micros(age) >= older_than);
        if components.stop.asked() || !due {
            continue;
        }
        let _owner = Lock::take(lake, &pipeline.name, "maintain")?;
        // Each table for itself: one that is broken must not leave the others growing.
        if let Err(error) = one(components, &pipeline.name, &spec) {
            failed.get_or_insert(error);
        }
    }
    failed.map_or(Ok(()), Err)
}

fn one(components: &Components, pipeline: &str, spec: &TableSpec) -> Result<()> {
    let Components { lake, stop, .. } = components;
    let work = maintain(lake, spec, policy(&components.maintenance));
    let asked = async {
        while !stop.asked() {
            tokio::time::sleep(ASK_EVERY).await;
        }
    };
    // Broken off anywhere it leaves a table whole: files that no commit names are vacuum's.
    let report = components.runtime.block_on(async {
        tokio::select! {
            report = work => report,
            () = asked => Ok(None),
        }
    })?;
    if let Some(report) = report {
        metrics::maintained(pipeline, &report.table, lake.clock().now());
        tracing::info!(
            pipeline,
            table = report.table,
            files_before = report.files_before,
            files_after = report.files_after,
            log_files_removed = report.log_files_removed,
            data_files_removed = report.data_files_removed,
            "maintained"
        );
    }
    Ok(())
}
