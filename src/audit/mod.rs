//! The proof that every record has one fate: everything is recomputed from bronze and compared with the tables.
//!
//! Bronze: seq dense, offsets unique and ascending per partition, positions where the rows end. Silver and rejects:
//! every row as the definition and the kept reference data give it. Gold and late: every row as silver gives it.
//! The audit reads; it never mends.

mod bronze;
mod compare;
mod gold;
mod silver;

use std::path::Path;

use serde::Serialize;

use crate::definition::Pipeline;
use crate::error::Result;
use crate::table::{Lake, Reader};

/// Tells how far the audit has come: what, rows done, rows in all.
pub type Progress<'a> = &'a dyn Fn(&str, i64, i64);

/// One thing that does not hold.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct Finding {
    /// The table.
    pub table: String,
    /// What does not hold, with seq or key.
    pub what: String,
    /// The first differing rows, as a table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<String>,
}

/// What the audit of one pipeline saw.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The pipeline.
    pub pipeline: String,
    /// Tables that were there to be audited.
    pub tables: usize,
    /// Bronze records below silver's position.
    pub records: i64,
    /// Bronze ticks below silver's position.
    pub ticks: i64,
    /// Silver rows.
    pub silver: i64,
    /// Rows of rejects.
    pub rejects: i64,
    /// Gold rows of all tables.
    pub gold: i64,
    /// Late rows of all tables.
    pub late: i64,
    /// The first bronze seq that was not let go.
    pub kept_from: i64,
    /// The bronze seq from which on every row was recomputed. Of records before it, whose state is known no more, is proved
    /// that each has one fate.
    pub recomputed_from: i64,
    /// Gaps that the operator accepted.
    pub gaps: Vec<String>,
    /// Places between two records of a partition where offsets have no record and no gap was accepted. Transactions
    /// (markers, aborted records) and compaction make such holes, and from the tables nobody can tell them from a
    /// loss, so they are told and are no finding.
    pub holes: i64,
    /// Offsets in those holes.
    pub offsets_without_record: i64,
    /// What does not hold; empty means that everything does.
    pub findings: Vec<Finding>,
}

/// Audits one pipeline. A layer that has not run yet has nothing to prove.
///
/// Errors: those of reading; what does not hold is in the report.
pub async fn audit(lake: &Lake, project: &Path, pipeline: &Pipeline, progress: Progress<'_>) -> Result<Report> {
    let mut report = Report {
        pipeline: pipeline.name.clone(),
        ..Report::default()
    };
    if !bronze::audit(lake, pipeline, progress, &mut report).await? {
        // What follows from rows that are not all there, or there twice, is not known.
        return Ok(report);
    }
    silver::audit(lake, project, pipeline, progress, &mut report).await?;
    for definition in &pipeline.gold {
        gold::audit(lake, pipeline, definition, progress, &mut report).await?;
    }
    Ok(report)
}

impl Report {
    /// Finds what others did to the rows of the table since our newest commit, which `run` refuses to go on from.
    async fn none_touched(&mut self, reader: &Reader, table: &str) -> Result<()> {
        if let Some(what) = reader.foreign_harm().await? {
            self.find(table, what);
        }
        Ok(())
    }

    /// Finds rows at or past the position that their table says it has reached: they would come once more.
    async fn none_past(&mut self, reader: &Reader, table: &str, position: i64, seq_column: &str) -> Result<()> {
        let past = reader.read(position, i64::MAX, &[seq_column.to_owned()]).await?;
        if past.num_rows() > 0 {
            let what = format!("{} rows lie at or past its position {position}", past.num_rows());
            self.find(table, what);
        }
        Ok(())
    }

    fn find(&mut self, table: &str, what: impl Into<String>) {
        self.findings.push(Finding {
            table: table.to_owned(),
            what: what.into(),
            rows: None,
        });
    }
}
