//! Letting go of old rows: whole data files that nobody needs any more, in a commit of the table's own writer.
//!
//! Age is told by the rows, never by a clock: a clock that jumps ahead makes nothing old. What stays is everything from one
//! seq on, so that reader, replay and audit have one number to ask for; a table without seqs keeps everything from one
//! instant on.

use std::time::Duration;

use deltalake::kernel::{Action, Add, MetadataExt};
use serde_json::{Value, json};

use super::Table;
use super::load::{active_files, load};
use super::swap::tombstone;
use crate::clock::{Micros, rfc3339};
use crate::error::{Context, Kind, Result};

/// After the prefix of a table's app ids: the seq from which on all rows are there.
pub(super) const FIRST: &str = "first";
/// Every row that went was older than this instant, in microseconds.
pub(super) const BEFORE: &str = "before";
/// How many rows went.
pub(super) const GONE: &str = "gone";
/// Delta's word for a commit that removes rows; no other commit of ours is called so.
pub(super) const OPERATION: &str = "DELETE";
const APPEND_ONLY: &str = "delta.appendOnly";

/// A silence up to this is ordinary, however short the time that rows are kept.
const SILENCE: i64 = 24 * 3600 * 1_000_000;

/// Which rows are old.
#[derive(Debug, Clone, Copy)]
pub enum Old {
    /// Those further behind than rows are kept.
    Behind {
        /// Behind this instant, in microseconds; none: behind the newest row.
        top: Option<Micros>,
        /// How long rows are kept.
        keep: Duration,
        /// Rows at or after this instant stay, however old.
        since: Micros,
    },
    /// All that may go.
    All,
}

/// What a table let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LetGo {
    /// Rows.
    pub rows: i64,
    /// Data files.
    pub files: usize,
}

/// A data file and how old its rows are.
#[derive(Debug, Clone)]
struct Aged {
    add: Add,
    seqs: Option<(i64, i64)>,
    newest: Option<Micros>,
    rows: Option<i64>,
}

impl Table {
    /// Lets go of the data files of which every row is old by the column `time` and, where the table has seqs, lies below
    /// `below` and below every row that stays. None where there is nothing to let go.
    ///
    /// Errors: those of [`Table::append`]; [`Kind::Unavailable`] where it gave way to another commit.
    pub async fn let_go(&mut self, time: &str, old: Old, below: i64) -> Result<Option<LetGo>> {
        let path = self.spec().path.clone();
        let Some(delta) = load(self.log()).await? else {
            return Ok(None);
        };
        let seq_column = self.spec().seq_column.clone();
        let files: Vec<Aged> = active_files(&delta)?
            .into_iter()
            .map(|add| Aged::of(add, seq_column.as_deref(), time))
            .collect();
        let before = match old {
            Old::All => i64::MAX,
            Old::Behind { top, keep, since } => match cutoff(files.iter().filter_map(|file| file.newest), top, keep) {
                Some(before) => before.min(since),
                None => return Ok(None),
            },
        };
        let (gone, first) = expired(files, before, seq_column.is_some().then_some(below));
        let rows: Option<i64> = gone.iter().map(|file| file.rows).sum();
        let (Some(rows), files, false) = (rows, gone.len(), gone.is_empty()) else {
            return Ok(None);
        };
        let what = || format!("letting go of rows of {path}");
        let now_ms = self.lake().clock().now().div_euclid(1000);
        let mut actions = Vec::new();
        if self
            .metadata()
            .configuration()
            .get(APPEND_ONLY)
            .is_some_and(|it| it == "true")
        {
            // Delta forbids removing rows of such a table, and other readers rely on that.
            let metadata = self.metadata().clone();
            let metadata = metadata.add_config_key(APPEND_ONLY.to_owned(), "false".to_owned());
            actions.push(Action::Metadata(metadata.or_fail(Kind::Bug, what)?));
        }
        actions.extend(
            gone.into_iter()
                .map(|file| Action::Remove(tombstone(file.add, now_ms, true))),
        );
        let mut txns = self.guard();
        let mut note = |name: &str, value: i64| {
            let app = format!("{}{name}", self.spec().app_prefix);
            txns.retain(|(known, _)| *known != app);
            txns.push((app, value));
        };
        if let Some(first) = first {
            note(FIRST, first.max(self.first()));
        }
        if before < i64::MAX {
            note(BEFORE, before.max(self.own(BEFORE).unwrap_or(i64::MIN)));
        }
        note(GONE, self.gone() + rows);
        // The state of the newest commit goes on in this one: it is what a restart goes on from.
        let mut info = match self.info() {
            Some(Value::Object(info)) => info.clone(),
            _ => serde_json::Map::new(),
        };
        info.insert(
            "let_go".to_owned(),
            json!({"rows": rows, "first": first, "before": rfc3339(before)}),
        );
        let left = self.rows().map(|all| all - rows);
        self.commit_with(OPERATION, actions, txns, Value::Object(info), left, true)
            .await?;
        tracing::info!(table = path, rows, files, first, "let go of old rows");
        Ok(Some(LetGo { rows, files }))
    }

    /// The seq from which on all rows are there; 0 where none was let go.
    pub fn first(&self) -> i64 {
        self.own(FIRST).unwrap_or(0)
    }

    /// How many rows were let go.
    pub fn gone(&self) -> i64 {
        self.own(GONE).unwrap_or(0)
    }

    fn own(&self, name: &str) -> Option<i64> {
        self.txn(&format!("{}{name}", self.spec().app_prefix))
    }

    /// What a table that is rewritten whole says of rows that were let go: there are none.
    pub(super) fn all_there(&self) -> Vec<(String, i64)> {
        [(FIRST, 0), (BEFORE, i64::MIN), (GONE, 0)]
            .into_iter()
            .filter(|(name, _)| self.own(name).is_some())
            .map(|(name, value)| (format!("{}{name}", self.spec().app_prefix), value))
            .collect()
    }
}

impl Aged {
    fn of(add: Add, seq_column: Option<&str>, time: &str) -> Self {
        let stats: Option<Value> = add.stats.as_deref().and_then(|stats| serde_json::from_str(stats).ok());
        let bound = |which: &str, column: &str| Some(stats.as_ref()?.get(which)?.get(column)?.clone());
        let seq = |which: &str| bound(which, seq_column?)?.as_i64();
        let instant = |text: &str| Some(chrono::DateTime::parse_from_rfc3339(text).ok()?.timestamp_micros());
        // A window's start that is a partition column is in no statistics.
        let newest = match add.partition_values.get(time) {
            Some(value) => value.as_deref().and_then(instant),
            None => bound("maxValues", time).and_then(|value| instant(value.as_str()?)),
        };
        let rows = stats.as_ref().and_then(|stats| stats.get("numRecords")?.as_i64());
        Self {
            seqs: seq("minValues").zip(seq("maxValues")),
            newest,
            rows,
            add,
        }
    }
}

/// The instant before which rows are old, given the newest of each data file; none where none is.
///
/// Age is counted from file to file. A silence as long as rows are kept cannot be told from a clock that jumped ahead, or from
/// one event that did, and counts for nothing: else a single row of the year 2999 would make all others old.
fn cutoff(newest: impl Iterator<Item = Micros>, top: Option<Micros>, keep: Duration) -> Option<Micros> {
    let keep = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
    let mut newest: Vec<Micros> = newest.collect();
    newest.sort_unstable_by(|a, b| b.cmp(a));
    let mut later = top.or(newest.first().copied())?;
    let mut age: i64 = 0;
    for at in newest {
        let silence = later.saturating_sub(at).max(0);
        if silence <= keep.max(SILENCE) {
            age = age.saturating_add(silence);
        }
        if age > keep {
            return Some(at.saturating_add(1));
        }
        later = later.min(at);
    }
    None
}

/// Of `files` those that go, and the seq from which on all rows stay. `below` is none for a table without seqs.
fn expired(files: Vec<Aged>, before: Micros, below: Option<i64>) -> (Vec<Aged>, Option<i64>) {
    let old = |file: &Aged| before == i64::MAX || file.newest.is_some_and(|newest| newest < before);
    let Some(below) = below else {
        return (files.into_iter().filter(old).collect(), None);
    };
    // What stays reaches down to some seq, so what lies above that stays, too, and may reach further down.
    let goes = |file: &Aged, limit: i64| old(file) && file.seqs.is_some_and(|(_, high)| high < limit);
    let reach = |limit: i64| {
        let stays = files.iter().filter(|file| !goes(file, limit));
        stays.map(|file| file.seqs.map_or(i64::MIN, |(low, _)| low)).min()
    };
    let mut limit = below;
    while let Some(lower) = reach(limit).filter(|lower| *lower < limit) {
        limit = lower;
    }
    let gone: Vec<Aged> = files.into_iter().filter(|file| goes(file, limit)).collect();
    let first = gone.iter().filter_map(|file| file.seqs).map(|(_, high)| high + 1).max();
    (gone, first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(seqs: Option<(i64, i64)>, newest: Option<Micros>) -> Aged {
        Aged {
            add: Add::default(),
            seqs,
            newest,
            rows: Some(1),
        }
    }

    fn files() -> impl Strategy<Value = Vec<Aged>> {
        let seqs = prop::option::weighted(0.95, (0..100i64, 0..20i64).prop_map(|(low, more)| (low, low + more)));
        let one = (seqs, prop::option::weighted(0.95, 0..100i64)).prop_map(|(seqs, newest)| file(seqs, newest));
        prop::collection::vec(one, 0..20)
    }

    proptest! {
        #[test]
        fn what_goes_is_old_and_unread_and_all_from_one_seq_on_stays(
            files in files(), before in 0..120i64, below in 0..120i64,
        ) {
            let (gone, first) = expired(files.clone(), before, Some(below));
            prop_assert_eq!(first.is_some(), !gone.is_empty());
            for file in &gone {
                prop_assert!(file.newest.unwrap() < before);
                prop_assert!(file.seqs.unwrap().1 < below);
            }
            // A file stays whole, and with it everything after its first row.
            if let Some(first) = first {
                let mut went = gone.iter().map(|file| (file.seqs, file.newest)).collect::<Vec<_>>();
                for file in files {
                    match went.iter().position(|it| *it == (file.seqs, file.newest)) {
                        Some(place) => drop(went.swap_remove(place)),
                        None => prop_assert!(file.seqs.unwrap().0 >= first),
                    }
                }
            }
        }

        #[test]
        fn everything_goes_that_can(count in 1..20i64, before in 0..30i64, below in 0..30i64) {
            let dense = (0..count).map(|at| file(Some((at, at)), Some(at))).collect();
            let (gone, first) = expired(dense, before, Some(below));
            let expected = count.min(before).min(below);
            prop_assert_eq!(gone.len() as i64, expected);
            prop_assert_eq!(first, (expected > 0).then_some(expected));
        }
    }

    const DAY: i64 = 24 * 3600 * 1_000_000;
    const YEAR: i64 = 365 * DAY;

    fn old_days(days: impl IntoIterator<Item = i64>, top: Option<i64>, keep: u64) -> Option<i64> {
        let newest = days.into_iter().map(|day| day * DAY);
        let before = cutoff(newest, top.map(|day| day * DAY), Duration::from_secs(keep * 86_400));
        before.map(|before| (before - 1) / DAY)
    }

    #[test]
    fn what_is_further_behind_than_rows_are_kept_is_old() {
        assert_eq!(old_days(0..10, None, 3), Some(5));
        assert_eq!(old_days(0..10, Some(20), 30), None);
        assert_eq!(old_days(0..10, Some(9), 3), Some(5));
        assert_eq!(old_days(0..10, Some(4), 3), Some(0), "rows ahead of it are not old");
        assert_eq!(old_days([], None, 3), None);
    }

    #[test]
    fn a_row_far_ahead_makes_no_other_old() {
        let ahead = (0..10).chain([YEAR / DAY]);
        assert_eq!(old_days(ahead, None, 3), old_days(0..10, None, 3));
        assert_eq!(old_days(0..10, Some(YEAR / DAY), 3), old_days(0..10, Some(9), 3));
    }

    #[test]
    fn without_seqs_age_alone_decides() {
        let files = vec![file(None, Some(3)), file(None, Some(5)), file(None, None)];
        let (gone, first) = expired(files, 5, None);
        assert_eq!((gone.len(), first), (1, None));
    }
}
