//! How old a table's commits are, by a clock that may have jumped.
//!
//! What is deleted by age is gone, so age is counted along the log: from each entry to the next, as the store stamped
//! them, and on to now. A silence as long as the retention cannot be told from a clock that jumped ahead, and counts
//! for nothing; where entries are from the future the clock went back, and nothing has an age.

use std::time::Duration;

use deltalake::logstore::LogStoreRef;
use futures::TryStreamExt;

use crate::error::{Context, Kind, Result};

/// How far the store's clock may be ahead of ours before that counts as a jump.
const SKEW_MS: i64 = 10 * 60 * 1000;
/// A silence up to this is ordinary, however short the retention.
const SILENCE_MS: i64 = 24 * 3600 * 1000;

/// Versions of a log and when they were written, in milliseconds, oldest first.
pub(super) struct Ages {
    written: Vec<(u64, i64)>,
    now_ms: i64,
}

impl Ages {
    /// Lists the entries of the log.
    pub(super) async fn of(log: &LogStoreRef, now_ms: i64) -> Result<Self> {
        let listed: Vec<_> = log
            .object_store(None)
            .list(Some(log.log_path()))
            .try_collect()
            .await
            .or_fail(Kind::Unavailable, || format!("listing the log of {}", log.root_url()))?;
        let mut written: Vec<(u64, i64)> = listed
            .iter()
            .filter_map(|meta| {
                let version = meta.location.filename()?.strip_suffix(".json")?.parse().ok()?;
                Some((version, meta.last_modified.timestamp_millis()))
            })
            .collect();
        written.sort_unstable();
        Ok(Self { written, now_ms })
    }

    /// Why nothing may be deleted, where the clock is behind the log.
    pub(super) fn clock_went_back(&self) -> Option<String> {
        let (version, at) = self.written.iter().max_by_key(|(_, at)| *at)?;
        let ahead = at.saturating_sub(self.now_ms);
        (ahead > SKEW_MS).then(|| {
            format!(
                "version {version} was written {} s from now: the clock went back",
                ahead / 1000
            )
        })
    }

    /// The first version younger than `retention`, and when it was written; none where all are older.
    pub(super) fn first_young(&self, retention: Duration) -> Option<(u64, i64)> {
        let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let mut later = self.now_ms;
        let mut age: i64 = 0;
        let mut first = None;
        for (version, at) in self.written.iter().rev() {
            let silence = later.saturating_sub(*at).max(0);
            if silence <= retention.max(SILENCE_MS) {
                age = age.saturating_add(silence);
            }
            if age >= retention {
                break;
            }
            first = Some((*version, *at));
            later = *at;
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    const WEEK: Duration = Duration::from_secs(7 * 86_400);

    /// A commit an hour for ten days, the last at 0.
    fn hourly() -> Vec<(u64, i64)> {
        (0..=240)
            .map(|version| (version, (version as i64 - 240) * HOUR))
            .collect()
    }

    fn first_young(written: Vec<(u64, i64)>, now_ms: i64, retention: Duration) -> Option<u64> {
        Ages { written, now_ms }
            .first_young(retention)
            .map(|(version, _)| version)
    }

    #[test]
    fn what_is_older_than_the_retention_is_old() {
        assert_eq!(first_young(hourly(), 0, WEEK), Some(240 - 167));
        assert_eq!(first_young(hourly(), DAY, WEEK), Some(240 - 143));
        assert_eq!(first_young(hourly(), 0, Duration::ZERO), None);
        assert_eq!(first_young(hourly(), 2 * HOUR, Duration::from_secs(3600)), None);
    }

    #[test]
    fn a_jump_of_a_year_makes_nothing_old_neither_before_the_next_commit_nor_after() {
        assert_eq!(first_young(hourly(), YEAR, WEEK), Some(240 - 167));
        let mut after = hourly();
        after.extend([(241, YEAR), (242, YEAR + HOUR)]);
        assert_eq!(first_young(after, YEAR + HOUR, WEEK), Some(240 - 166));
    }

    #[test]
    fn a_jump_of_an_hour_ages_by_an_hour_at_most() {
        assert_eq!(first_young(hourly(), HOUR, WEEK), Some(240 - 166));
    }

    #[test]
    fn entries_from_the_future_stop_all_deleting_and_stay_young() {
        for back in [HOUR, YEAR] {
            let ages = Ages {
                written: hourly(),
                now_ms: -back,
            };
            assert!(ages.clock_went_back().unwrap().contains("the clock went back"));
            assert!(ages.first_young(WEEK).is_some());
        }
        let ages = Ages {
            written: hourly(),
            now_ms: -1000,
        };
        assert_eq!(ages.clock_went_back(), None, "stores differ by seconds");
    }
}
