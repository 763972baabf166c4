//! What a pipeline's source says while nobody reads it: what bronze has yet to take in, and what it never can.

use std::path::Path;

use super::lag::beyond;
use super::{bronze, open};
use crate::definition::Pipeline;
use crate::error::{Error, Kind, Result};
use crate::source::Loss;
use crate::table::Lake;

/// The answer of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Offsets between bronze's positions and the source's ends: its records, and what control records take up.
    pub waiting: i64,
    /// Records that bronze has not and the source has no more. `run` refuses until they are accepted.
    pub losses: Vec<Loss>,
}

/// Asks the source of `pipeline`; none where there is no bronze yet. Changes nothing.
///
/// Errors: those of the source and of bronze's table.
pub async fn of(lake: &Lake, project: &Path, pipeline: &Pipeline) -> Result<Option<Upstream>> {
    let Some(table) = bronze::open_if_there(lake, &pipeline.name).await? else {
        return Ok(None);
    };
    let losses = open::losses(pipeline, project, &table)?;
    let positions = bronze::positions(&table, &pipeline.name);
    let ends = open::fresh_source(pipeline, project)?.ends()?;
    let waiting = beyond(&positions, &ends);
    Ok(Some(Upstream { waiting, losses }))
}

/// The error for a layer that could not be opened because its upstream is not there yet in a one-shot run.
pub fn no_upstream(layer: &str, upstream: &str, pipeline: &str) -> Error {
    Error::new(
        Kind::Unavailable,
        format!("{layer} of {pipeline} has nothing to read: there is no {upstream} table yet"),
    )
    .with_next(format!("run `medallion run {upstream} -p {pipeline}` first"))
}
