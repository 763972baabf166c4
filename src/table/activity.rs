//! What a table's newest commits say of the work behind them: how fast it was and what it cost.

use deltalake::kernel::Action;
use deltalake::logstore::LogStoreRef;
use futures::TryStreamExt;
use serde::Serialize;
use serde_json::Value;

use super::commit::{INFO, read_sized};
use super::extent::bytes_added;
use super::foreign::carried;
use crate::error::{Context, Kind, Result};

/// The key of the CPU time of a step in its commit's own state, in microseconds.
pub(super) const CPU: &str = "cpu_us";
/// The key of the position that a commit reached.
const POSITION: &str = "position";
/// The key of the bytes that a step has read.
const BYTES: &str = "bytes";
/// Entries that are looked at; the rate of the last minutes, not of a table's life.
const ENTRIES_MAX: u64 = 20;

/// The newest commits, summed up. Rows are bronze's, which the positions of every layer count.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Activity {
    /// Rows passed by these commits.
    pub rows: i64,
    /// Seconds from the oldest of them to the newest.
    pub seconds: f64,
    /// Rows a second in that time; none where it cannot be told, as after a first commit.
    pub rows_per_second: Option<f64>,
    /// CPU time of the layer's thread per row, in nanoseconds; none where a commit does not say.
    pub cpu_ns_per_row: Option<f64>,
    /// Bytes read from upstream per row; none where a commit does not say.
    pub bytes_in_per_row: Option<f64>,
    /// Bytes of data files and log entries per row.
    pub bytes_out_per_row: Option<f64>,
}

/// What one commit says.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Step {
    position: i64,
    at_ms: i64,
    cpu_us: Option<u64>,
    bytes_in: Option<u64>,
    bytes_out: u64,
}

/// The work behind the newest commits up to `version`, as far as the log still has them.
pub(super) async fn newest(log: &LogStoreRef, version: u64) -> Result<Activity> {
    let mut steps = Vec::new();
    let oldest = version.saturating_sub(ENTRIES_MAX);
    let mut all = oldest == 0;
    for at in (oldest..=version).rev() {
        let Some((actions, bytes)) = read_sized(log, at).await? else {
            all = false;
            break;
        };
        steps.extend(step(&actions, bytes));
    }
    steps.reverse();
    Ok(sum(&steps, all))
}

/// The state in the newest commit up to `version` that carries a position.
pub(super) async fn state(log: &LogStoreRef, version: u64) -> Result<Option<Value>> {
    for at in (version.saturating_sub(ENTRIES_MAX)..=version).rev() {
        let Some((actions, _)) = read_sized(log, at).await? else {
            return Ok(None);
        };
        let carried = carried(&actions).cloned();
        let state = carried.or_else(|| {
            actions.into_iter().find_map(|action| match action {
                Action::CommitInfo(mut info) => info.info.remove(INFO),
                _ => None,
            })
        });
        if let Some(state) = state.filter(|state| state.get(POSITION).is_some()) {
            return Ok(Some(state));
        }
    }
    Ok(None)
}

/// The state in the oldest commit that the log still has, up to `version`, with a position at or above `from`, that `fits`.
pub(super) async fn oldest_state(
    log: &LogStoreRef,
    version: u64,
    from: i64,
    fits: impl Fn(&Value) -> bool,
) -> Result<Option<Value>> {
    let what = || format!("listing the log of {}", log.root_url());
    let files = log.object_store(None).list(Some(log.log_path()));
    let names = files.try_collect::<Vec<_>>().await.or_fail(Kind::Unavailable, what)?;
    let entry = |name: &str| name.strip_suffix(".json")?.parse::<u64>().ok();
    let oldest = names.iter().filter_map(|file| entry(file.location.filename()?)).min();
    for at in oldest.unwrap_or(0)..=version {
        let Some((actions, _)) = read_sized(log, at).await? else {
            continue;
        };
        let state = actions.into_iter().find_map(|action| match action {
            Action::CommitInfo(mut info) => info.info.remove(INFO),
            _ => None,
        });
        let position = |state: &Value| state.get(POSITION).and_then(Value::as_i64);
        if let Some(state) = state.filter(|state| position(state).is_some_and(|it| it >= from) && fits(state)) {
            return Ok(Some(state));
        }
    }
    Ok(None)
}

/// What a layer's own commit says; none for others, as compaction's.
fn step(actions: &[Action], entry: usize) -> Option<Step> {
    let info = actions.iter().find_map(|action| match action {
        Action::CommitInfo(info) => Some(info),
        _ => None,
    })?;
    let state = info.info.get(INFO)?;
    Some(Step {
        position: state.get(POSITION)?.as_i64()?,
        at_ms: info.timestamp?,
        cpu_us: state.get(CPU).and_then(Value::as_u64),
        bytes_in: state.get(BYTES).and_then(Value::as_u64),
        bytes_out: bytes_added(actions) + entry as u64,
    })
}

/// Sums up steps, oldest first. Where they are all there are, the first one's rows are known too: those from 0 on.
fn sum(steps: &[Step], all: bool) -> Activity {
    let (Some(first), Some(last)) = (steps.first(), steps.last()) else {
        return Activity::default();
    };
    let seconds = (last.at_ms - first.at_ms).max(0) as f64 / 1e3;
    let between = last.position - first.position;
    let rows = if all { last.position } else { between };
    let counted = steps.get(usize::from(!all)..).unwrap_or_default();
    let per_row = |sum: Option<u64>, unit: f64| Some(sum? as f64 * unit / rows as f64).filter(|_| rows > 0);
    Activity {
        rows,
        seconds,
        rows_per_second: (between > 0 && seconds > 0.0).then(|| between as f64 / seconds),
        cpu_ns_per_row: per_row(counted.iter().map(|step| step.cpu_us).sum(), 1e3),
        bytes_in_per_row: per_row(counted.iter().map(|step| step.bytes_in).sum(), 1.0),
        bytes_out_per_row: per_row(Some(counted.iter().map(|step| step.bytes_out).sum()), 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(position: i64, at_ms: i64) -> Step {
        Step {
            position,
            at_ms,
            cpu_us: Some(100),
            bytes_in: Some(2_000),
            bytes_out: 500,
        }
    }

    #[test]
    fn rates_are_of_the_commits_between_the_oldest_and_the_newest() {
        let activity = sum(&[at(1_000, 0), at(1_100, 500), at(1_400, 2_000)], false);
        let expected = Activity {
            rows: 400,
            seconds: 2.0,
            rows_per_second: Some(200.0),
            cpu_ns_per_row: Some(500.0),
            bytes_in_per_row: Some(10.0),
            bytes_out_per_row: Some(2.5),
        };
        assert_eq!(activity, expected);
    }

    #[test]
    fn a_first_commit_has_a_cost_but_no_rate() {
        let activity = sum(&[at(100, 7)], true);
        assert_eq!((activity.rows, activity.rows_per_second), (100, None));
        assert_eq!(activity.cpu_ns_per_row, Some(1_000.0));
        assert_eq!(sum(&[at(100, 7)], false).cpu_ns_per_row, None);
        assert_eq!(sum(&[], true), Activity::default());
    }

    #[test]
    fn a_commit_that_does_not_say_its_cost_leaves_the_sum_unknown() {
        let silent = Step {
            cpu_us: None,
            ..at(1_100, 500)
        };
        let activity = sum(&[at(1_000, 0), silent, at(1_400, 2_000)], false);
        assert_eq!(activity.cpu_ns_per_row, None);
        assert_eq!(activity.rows_per_second, Some(200.0));
    }
}
