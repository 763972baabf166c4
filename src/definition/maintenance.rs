//! `[maintain]` of `medallion.toml`: when a run keeps its tables small, and by which bounds. `medallion maintain` goes by
//! the same bounds.

use std::time::Duration;

use super::raw::{self, Reader, Report, Spot};

/// The table of the file.
pub(super) const TABLE: &str = "maintain";
/// Its keys; the variable of one is `MEDALLION_MAINTAIN_` and its name in capitals.
pub(super) const KEYS: [&str; 4] = ["every", "target_size", "keep_log", "keep_removed"];

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How tables are kept small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Maintenance {
    /// How often a run maintains a table; none: never.
    pub every: Option<Duration>,
    /// Size of a compacted file in bytes; a compaction has one in memory.
    pub target_size: u64,
    /// How long log entries are kept.
    pub keep_log: Duration,
    /// How long data files are kept that are in the table no more: for readers, and for restoring.
    pub keep_removed: Duration,
}

impl Default for Maintenance {
    fn default() -> Self {
        Self {
            every: Some(DAY),
            target_size: 128 << 20,
            keep_log: 7 * DAY,
            keep_removed: 7 * DAY,
        }
    }
}

impl Maintenance {
    /// Takes what is written in the file.
    pub(super) fn read(&mut self, reader: &mut Reader<'_>, report: &mut Report) {
        for key in KEYS {
            if let Some(value) = reader.text(key, report) {
                self.set(key, &value.value, &value.at, report);
            }
        }
    }

    /// Sets `key`, one of [`KEYS`].
    pub(super) fn set(&mut self, key: &str, value: &str, at: &Spot, report: &mut Report) {
        match key {
            "every" if value == "off" => self.every = None,
            "every" => self.every = at_least(value, Duration::from_secs(1), at, report).or(self.every),
            "target_size" => match raw::bytes(value) {
                Ok(bytes) if (1 << 20..=4 << 30).contains(&bytes) => self.target_size = bytes,
                Ok(_) => report.add(
                    at,
                    format!("{value:?} is not from 1MiB to 4GiB"),
                    Some("128MiB".to_owned()),
                ),
                Err(why) => report.add(at, format!("{value:?} is not a size: {why}"), Some("128MiB".to_owned())),
            },
            "keep_log" => self.keep_log = at_least(value, HOUR, at, report).unwrap_or(self.keep_log),
            "keep_removed" => self.keep_removed = at_least(value, HOUR, at, report).unwrap_or(self.keep_removed),
            _ => report.add(at, "is no setting", None),
        }
    }
}

fn at_least(value: &str, least: Duration, at: &Spot, report: &mut Report) -> Option<Duration> {
    let fault = match raw::duration(value) {
        Ok(duration) if duration >= least => return Some(duration),
        Ok(_) => format!("{value:?} is too short: at least {} s", least.as_secs()),
        Err(why) => why,
    };
    report.add(at, fault, None);
    None
}
