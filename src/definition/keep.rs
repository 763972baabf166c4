//! `keep = "30d"`: how long a layer's rows stay. No row is another for it, so it is no part of what a definition means.

use std::time::Duration;

use super::Dedupe;
use super::raw::{Reader, Report, Written};

const LEAST: Duration = Duration::from_secs(60);

/// What is declared; none: rows stay forever.
pub(super) fn read(reader: &mut Reader<'_>, report: &mut Report) -> Option<Written<Duration>> {
    let keep = reader.duration("keep", report)?;
    if keep.value < LEAST {
        report.add(&keep.at, "must be at least 1m", None);
    }
    Some(keep)
}

/// Silver's: a key is remembered by the row that has it, so the row stays as long.
pub(super) fn silver(reader: &mut Reader<'_>, dedupe: Option<&Dedupe>, report: &mut Report) -> Option<Duration> {
    let keep = read(reader, report)?;
    match dedupe.map(|dedupe| dedupe.within) {
        Some(None) => report.add(
            &keep.at,
            "silver remembers keys forever, and its rows are that memory",
            Some("declare dedupe.within = \"7d\", or take keep away".to_owned()),
        ),
        Some(Some(within)) if keep.value < within => report.add(
            &keep.at,
            "must be at least dedupe.within: silver's rows are the memory of its keys",
            None,
        ),
        _ => {}
    }
    Some(keep.value)
}
