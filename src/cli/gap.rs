//! `medallion accept-gap`.

use super::args::AcceptGap;
use super::output;
use super::session::Session;
use crate::error::{Error, Kind, Result};
use crate::run::gap;

/// Shows what is missing; with --yes records it, so that `run` goes on.
pub fn accept_gap(session: &Session, command: &AcceptGap) -> Result<()> {
    let pipelines = session.pipelines(Some(&command.pipeline))?;
    let Some(pipeline) = pipelines.first() else {
        return Ok(());
    };
    let lake = session.lake()?;
    let losses = session
        .runtime
        .block_on(gap::accept(&lake, session.project(), pipeline, command.yes))?;
    if losses.is_empty() {
        return output::line(format!("{}: nothing is missing", pipeline.name));
    }
    for loss in &losses {
        output::line(format!("{loss}; reading goes on at offset {}", loss.to))?;
    }
    if !command.yes {
        return Err(Error::new(Kind::Usage, "nothing was recorded").with_next(format!(
            "`medallion accept-gap -p {} --yes` records the loss in bronze",
            pipeline.name
        )));
    }
    output::line(format!(
        "recorded in bronze; `medallion run -p {}` goes on",
        pipeline.name
    ))
}
