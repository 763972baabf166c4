//! The memory of accepted keys.
//!
//! Invariant: whether a key is remembered is a function of the accepted rows and the watermark before the row, never
//! of when the memory was last cleared out or of where a key is kept. The latest accepted row of a key stands for it; a
//! key whose row has event time `t` is remembered while there is no watermark or `watermark < t + within`. Since the
//! watermark never goes back, a key once forgotten stays so.
//!
//! Recent keys are in a hash table. Where there is an [`Archive`], a full table goes into it as one lot and a key's row
//! is the later of the two that the table and the archive have. A row that is forgotten can hide an earlier one that is
//! not, where an earlier definition accepted both; so it stays as long as the archive has anything.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::time::Duration;

use super::key::{BuildUnhashed, Key};
use crate::error::Result;

/// Fewer keys than this are never cleared out.
const PURGE_FLOOR: usize = 65_536;

/// The accepted row that stands for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct First {
    /// Its seq.
    pub seq: i64,
    /// Its event time in UTC microseconds.
    pub event_time: i64,
}

/// How far back keys are remembered.
#[derive(Debug, Clone, Copy, Default)]
pub struct Horizon {
    /// In event time; none: forever.
    pub within: Option<Duration>,
    /// The event-time watermark.
    pub watermark: Option<i64>,
}

impl Horizon {
    /// Whether a row of that event time still stands for its key.
    pub fn remembers(&self, event_time: i64) -> bool {
        let (Some(within), Some(watermark)) = (self.within, self.watermark) else {
            return true;
        };
        let within = i64::try_from(within.as_micros()).unwrap_or(i64::MAX);
        watermark < event_time.saturating_add(within)
    }
}

/// Where keys go that are no longer recent.
pub trait Archive: fmt::Debug + Send + Sync {
    /// Takes a lot, each key once and no row earlier than any that was taken before. False where it cannot: then nothing
    /// was taken.
    fn add(&mut self, lot: &mut dyn Iterator<Item = (Key, First)>) -> bool;

    /// The latest row of each of `keys` that is there, with its place among them, in that order.
    ///
    /// # Errors
    /// Where what was taken cannot be had back: the state is lost then.
    fn look_up(&self, keys: &[Key]) -> Result<Vec<(usize, First)>>;

    /// May let go of rows whose event time is forgotten, the earliest first and none before all earlier ones.
    fn forget(&mut self, forgotten: &dyn Fn(i64) -> bool);

    /// Keys that are there, some of which may be forgotten already.
    fn keys(&self) -> usize;

    /// Bytes of memory.
    fn bytes(&self) -> usize;
}

/// The keys of accepted rows. Empty at the start of a pipeline; rebuilt from the silver table after a restart.
#[derive(Debug, Default)]
pub struct Dedupe {
    recent: HashMap<Key, First, BuildUnhashed>,
    purge_at: usize,
    archive: Option<Box<dyn Archive>>,
    /// Whether it has any key, as of when room was made last.
    archived: bool,
    /// Recent keys of a lot.
    lot: usize,
    /// Recent keys at which the archive is tried: more than a lot where it could not take one.
    archive_at: usize,
}

impl Dedupe {
    /// With an archive, which recent keys go to when they are about `lot`.
    pub fn over(archive: Box<dyn Archive>, lot: usize) -> Self {
        Self {
            archived: archive.keys() > 0,
            archive: Some(archive),
            lot,
            archive_at: lot,
            ..Self::default()
        }
    }

    /// Keys held, some of which may be forgotten already.
    pub fn len(&self) -> usize {
        self.recent.len() + self.archive.as_ref().map_or(0, |archive| archive.keys())
    }

    /// Whether no key is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that the keys take, about.
    pub fn bytes(&self) -> usize {
        let recent = self.recent.capacity() * (size_of::<(Key, First)>() + 1);
        recent + self.archive.as_ref().map_or(0, |archive| archive.bytes())
    }

    /// The keys that are not in the archive, in no order: what a snapshot of the state has to hold beside it.
    pub fn recent(&self) -> impl ExactSizeIterator<Item = (Key, First)> + '_ {
        self.recent.iter().map(|(key, first)| (*key, *first))
    }

    /// Puts an accepted row back; of several rows of one key the latest counts, in whatever order they come.
    pub fn restore(&mut self, key: Key, first: First, horizon: Horizon) {
        let kept = horizon.remembers(first.event_time) || self.archived;
        match self.recent.entry(key) {
            Entry::Occupied(known) if known.get().seq > first.seq => {}
            Entry::Occupied(mut known) if kept => {
                known.insert(first);
            }
            // A later row of the key stands for it, and is forgotten already: so is the key.
            Entry::Occupied(known) => {
                known.remove();
            }
            Entry::Vacant(place) if kept => {
                place.insert(first);
            }
            Entry::Vacant(_) => {}
        }
    }

    /// Makes room for so many more rows, which may archive those that are there. It changes no answer.
    pub fn make_room(&mut self, rows: usize, horizon: Horizon) {
        let Some(archive) = &mut self.archive else {
            return;
        };
        archive.forget(&|event_time| !horizon.remembers(event_time));
        self.archived = archive.keys() > 0;
        if self.is_full(rows) && !self.archived {
            self.purge(horizon);
        }
        if self.is_full(rows) {
            self.archive_recent();
        }
    }

    /// Whether recent keys are a lot, or half of one and more with so many rows.
    fn is_full(&self, rows: usize) -> bool {
        let held = self.recent.len();
        held >= self.archive_at || (held >= self.archive_at / 2 && held + rows > self.archive_at)
    }

    fn archive_recent(&mut self) {
        let mut lot = self.recent.iter().map(|(key, first)| (*key, *first));
        if self.archive.as_mut().is_some_and(|archive| archive.add(&mut lot)) {
            self.recent.clear();
            self.recent.shrink_to(self.lot);
            self.archived = true;
            self.archive_at = self.lot;
        } else {
            self.archive_at = self.recent.len() * 2;
        }
    }

    /// The rows of `keys` that are archived, with their places among them, in that order.
    ///
    /// # Errors
    /// Where the archive is damaged: the state is lost.
    pub fn look_up(&self, keys: &[Key]) -> Result<Vec<(usize, First)>> {
        self.archive
            .as_ref()
            .map_or(Ok(Vec::new()), |archive| archive.look_up(keys))
    }

    /// Takes a row in, or says which accepted row it repeats. `archived` is the key's row that [`Dedupe::look_up`] found
    /// since room was made.
    ///
    /// # Errors
    /// The accepted row.
    pub fn admit(&mut self, key: Key, row: First, archived: Option<First>, horizon: Horizon) -> Result<(), First> {
        let stands = |first: &First| horizon.remembers(first.event_time);
        match self.recent.entry(key) {
            Entry::Occupied(known) if stands(known.get()) => return Err(*known.get()),
            Entry::Occupied(mut known) => {
                known.insert(row);
            }
            Entry::Vacant(place) => match archived.filter(stands) {
                Some(first) => return Err(first),
                None => {
                    place.insert(row);
                }
            },
        }
        if horizon.within.is_some() && !self.archived && self.recent.len() >= self.purge_at.max(PURGE_FLOOR) {
            self.purge(horizon);
        }
        Ok(())
    }

    /// Lets forgotten keys go; the next time is when the rest has doubled, so the cost per row is constant.
    fn purge(&mut self, horizon: Horizon) {
        self.recent.retain(|_, first| horizon.remembers(first.event_time));
        self.purge_at = self.recent.len() * 2;
        self.recent.shrink_to(self.purge_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn row(seq: i64, event_time: i64) -> First {
        First { seq, event_time }
    }

    fn minute(watermark: impl Into<Option<i64>>) -> Horizon {
        Horizon {
            within: Some(MINUTE),
            watermark: watermark.into(),
        }
    }

    #[test]
    fn the_lowest_seq_wins_and_a_duplicate_does_not_renew_the_key() {
        let mut dedupe = Dedupe::default();
        let mut admit = |seq, event_time, horizon| dedupe.admit(1, row(seq, event_time), None, horizon);
        assert_eq!(admit(0, 0, minute(None)), Ok(()));
        assert_eq!(admit(1, 50_000_000, minute(0)), Err(row(0, 0)));
        assert_eq!(admit(2, 50_000_000, minute(59_999_999)), Err(row(0, 0)));
        assert_eq!(admit(3, 50_000_000, minute(60_000_000)), Ok(()));
        assert_eq!(admit(4, 0, minute(60_000_000)), Err(row(3, 50_000_000)));
    }

    #[test]
    fn an_archived_row_stands_for_its_key_unless_it_is_forgotten_or_a_later_one_is_here() {
        let mut dedupe = Dedupe::default();
        let (old, older) = (row(0, 0), row(1, 1));
        assert_eq!(dedupe.admit(1, row(5, 50), Some(old), minute(0)), Err(old));
        assert_eq!(
            dedupe.admit(1, row(6, 70_000_000), Some(old), minute(60_000_000)),
            Ok(())
        );
        let horizon = minute(60_000_000);
        assert_eq!(
            dedupe.admit(1, row(7, 0), Some(older), horizon),
            Err(row(6, 70_000_000))
        );
    }

    #[test]
    fn forever_outlasts_the_end_of_time() {
        let mut dedupe = Dedupe::default();
        let mut horizon = Horizon::default();
        assert_eq!(dedupe.admit(1, row(0, 0), None, horizon), Ok(()));
        horizon.watermark = Some(i64::MAX);
        assert_eq!(dedupe.admit(1, row(1, 0), None, horizon), Err(row(0, 0)));
    }

    #[test]
    fn purging_bounds_the_memory_and_changes_no_answer() {
        let mut dedupe = Dedupe::default();
        for seq in 0..1_000_000 {
            let now = seq * 1000;
            assert_eq!(dedupe.admit(seq as u128, row(seq, now), None, minute(now)), Ok(()));
            assert!(dedupe.len() <= 2 * PURGE_FLOOR);
        }
        let horizon = minute(999_999_000);
        assert_eq!(
            dedupe.admit(999_999, row(1_000_000, 0), None, horizon),
            Err(row(999_999, 999_999_000))
        );
        assert_eq!(dedupe.admit(0, row(1_000_001, 0), None, horizon), Ok(()));
    }

    #[test]
    fn restoring_keeps_the_latest_row_in_any_order() {
        let mut dedupe = Dedupe::default();
        for (key, seq) in [(1, 5), (1, 3), (2, 3), (2, 5)] {
            dedupe.restore(key, row(seq, 10 * seq), Horizon::default());
        }
        let mut recent: Vec<(Key, First)> = dedupe.recent().collect();
        recent.sort_by_key(|(key, _)| *key);
        assert_eq!(recent, [(1, row(5, 50)), (2, row(5, 50))]);
    }
}
