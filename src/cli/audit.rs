//! `medallion audit`.

use super::args::Audit;
use super::output::{self, grouped};
use super::progress;
use super::session::Session;
use crate::audit::{self, Report};
use crate::definition::Pipeline;
use crate::error::{Error, Kind, Result};
use crate::table::Lake;

/// Audits the pipelines; a finding is exit code 3.
pub fn audit(session: &Session, command: &Audit) -> Result<()> {
    let pipelines = session.pipelines(command.pipeline.as_deref())?;
    run(session, &session.lake_to_read()?, &pipelines)
}

/// Audits `pipelines` in `lake` and prints the outcome.
pub fn run(session: &Session, lake: &Lake, pipelines: &[Pipeline]) -> Result<()> {
    let mut reports = Vec::new();
    for pipeline in pipelines {
        let bar = progress::bar(0, &pipeline.name);
        let show = |what: &str, done: i64, total: i64| {
            bar.set_message(format!("audit {what}"));
            bar.set_length(u64::try_from(total).unwrap_or(0));
            bar.set_position(u64::try_from(done).unwrap_or(0));
        };
        let report = session
            .runtime
            .block_on(audit::audit(lake, session.project(), pipeline, &show))?;
        bar.finish_and_clear();
        reports.push(report);
    }
    if reports.iter().all(|report| report.tables == 0) {
        return Err(
            Error::new(Kind::Usage, format!("there is no table to audit in {}", lake.url()))
                .with_next("give the right --lake, or run the pipeline first"),
        );
    }
    let findings: usize = reports.iter().map(|report| report.findings.len()).sum();
    if session.json() {
        output::json(&reports)?;
    } else {
        reports.iter().try_for_each(print)?;
    }
    if findings > 0 {
        return Err(Error::new(Kind::Gate, format!("audit: {findings} things do not hold"))
            .with_next("keep the lake as it is, find who changed the table (its history names writers), then replay"));
    }
    Ok(())
}

fn print(report: &Report) -> Result<()> {
    if report.tables == 0 {
        return output::line(format!(
            "audit: {} has no tables yet, nothing to prove",
            report.pipeline
        ));
    }
    let ok = report.findings.is_empty();
    output::line(format!(
        "{} {}: {} records = {} silver + {} rejects; {} ticks; {} gold rows, {} late rows recomputed",
        if ok { "audit: ok" } else { "audit: FAILED" },
        report.pipeline,
        grouped(report.records),
        grouped(report.silver),
        grouped(report.rejects),
        grouped(report.ticks),
        grouped(report.gold),
        grouped(report.late),
    ))?;
    if report.kept_from > 0 {
        output::line(format!(
            "  bronze has let go of what is below seq {}",
            grouped(report.kept_from)
        ))?;
    }
    if report.recomputed_from > report.kept_from {
        output::line(format!(
            "  of records below seq {} only that each has one fate: what silver knew then is known no more",
            grouped(report.recomputed_from)
        ))?;
    }
    if !report.gaps.is_empty() {
        output::line(format!("  accepted gaps: {}", report.gaps.len()))?;
    }
    for gap in &report.gaps {
        output::line(format!("  accepted gap: {gap}"))?;
    }
    if report.holes > 0 {
        output::line(format!(
            "  {} offsets in {} places have no record: transactions and compaction make such holes",
            grouped(report.offsets_without_record),
            grouped(report.holes)
        ))?;
    }
    for finding in &report.findings {
        output::line(format!("  {}: {}", finding.table, finding.what))?;
        if let Some(rows) = &finding.rows {
            output::line(rows)?;
        }
    }
    Ok(())
}
