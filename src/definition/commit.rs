//! `commit = { max_rows, max_bytes, max_delay }`: when a layer's commit is due.

use std::time::Duration;

use validator::{Validate, ValidationError};

use super::CommitPolicy;
use super::raw::{Reader, Report};

/// Bronze writes small payloads as they come: bounded by bytes first.
pub(super) const BRONZE: CommitPolicy = CommitPolicy {
    max_rows: 500_000,
    max_bytes: 64 << 20,
    max_delay: Duration::from_secs(10),
};

/// Silver and gold read a range of rows per step: bounded by memory first.
pub(super) const SILVER: CommitPolicy = CommitPolicy {
    max_rows: 1_000_000,
    max_bytes: 64 << 20,
    max_delay: Duration::from_secs(10),
};

/// What was written; the bounds keep one step within memory and its files worth opening.
#[derive(Debug, Validate)]
struct RawCommit {
    #[validate(range(min = 1, max = 100_000_000, message = "must be between 1 and 100,000,000"))]
    max_rows: i64,
    #[validate(range(min = 1024, max = 1_073_741_824_u64, message = "must be between 1KiB and 1GiB"))]
    max_bytes: u64,
    #[validate(custom(function = "delay"))]
    max_delay: Duration,
}

fn delay(value: &Duration) -> Result<(), ValidationError> {
    if (Duration::from_millis(1)..=Duration::from_secs(86_400)).contains(value) {
        return Ok(());
    }
    Err(ValidationError::new("delay").with_message("must be between 1ms and 1d".into()))
}

/// The policy under `commit` of the file's root, `default` in whatever is not declared.
pub(super) fn read(root: &mut Reader<'_>, default: CommitPolicy, report: &mut Report) -> CommitPolicy {
    let Some(mut reader) = root.table("commit", report) else {
        return default;
    };
    let rows = reader.integer("max_rows", report).map(|it| it.value);
    let bytes = reader.bytes("max_bytes", report).map(|it| it.value);
    let delay = reader.duration("max_delay", report).map(|it| it.value);
    let raw = RawCommit {
        max_rows: rows.unwrap_or_else(|| i64::try_from(default.max_rows).unwrap_or(i64::MAX)),
        max_bytes: bytes.unwrap_or(default.max_bytes as u64),
        max_delay: delay.unwrap_or(default.max_delay),
    };
    reader.validate(&raw, report);
    reader.finish(report);
    CommitPolicy {
        max_rows: usize::try_from(raw.max_rows).unwrap_or(default.max_rows),
        max_bytes: usize::try_from(raw.max_bytes).unwrap_or(default.max_bytes),
        max_delay: raw.max_delay,
    }
}
