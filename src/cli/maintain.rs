//! `medallion maintain`.

use std::time::Duration;

use super::args::Maintain;
use super::output::{self, grouped};
use super::session::Session;
use crate::error::Result;
use crate::run::maintenance::policy;
use crate::run::{Lock, tables};
use crate::table::maintain::{Report, maintain as maintain_table};

const HOUR: u64 = 3600;

/// Maintains every table of the pipelines and prints what was done.
pub fn maintain(session: &Session, command: &Maintain) -> Result<()> {
    let mut bounds = session.settings.maintain;
    if let Some(mib) = command.target_mib {
        bounds.target_size = mib.clamp(1, 4096) << 20;
    }
    if let Some(days) = command.log_days {
        bounds.keep_log = Duration::from_secs(days.saturating_mul(24 * HOUR));
    }
    if let Some(hours) = command.vacuum_hours {
        bounds.keep_removed = Duration::from_secs(hours.saturating_mul(HOUR));
    }
    let policy = policy(&bounds);
    let lake = session.lake()?;
    let mut reports: Vec<Report> = Vec::new();
    for pipeline in &session.pipelines(command.pipeline.as_deref())? {
        let _owner = Lock::take(&lake, &pipeline.name, "maintain")?;
        for spec in tables::all(pipeline)? {
            reports.extend(session.runtime.block_on(maintain_table(&lake, &spec, policy))?);
        }
    }
    if session.json() {
        return output::json(&reports);
    }
    let header = [
        "table",
        "rows",
        "files before",
        "after",
        "log checkpoint",
        "log files gone",
        "data files gone",
    ];
    let mut table = vec![header.map(str::to_owned).to_vec()];
    for report in reports {
        table.push(vec![
            report.table,
            grouped(report.rows),
            report.files_before.to_string(),
            report.files_after.to_string(),
            report.checkpoint_version.to_string(),
            report.log_files_removed.to_string(),
            report.data_files_removed.to_string(),
        ]);
    }
    output::columns(&table)
}
