//! The memory of accepted keys.
//!
//! Invariant: whether a key is remembered is a function of the accepted rows and the watermark before the row, never
//! of when the memory was last cleared out. A key with event time `t` is remembered while there is no watermark or
//! `watermark < t + within`; since the watermark never goes back, a key once forgotten stays so.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use super::key::{BuildUnhashed, Key};

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

/// The keys of accepted rows. Empty at the start of a pipeline; rebuilt from the silver table after a restart.
#[derive(Debug, Clone, Default)]
pub struct Dedupe {
    firsts: HashMap<Key, First, BuildUnhashed>,
    purge_at: usize,
}

impl Dedupe {
    /// Keys held, some of which may be forgotten already.
    pub fn len(&self) -> usize {
        self.firsts.len()
    }

    /// Whether no key is held.
    pub fn is_empty(&self) -> bool {
        self.firsts.is_empty()
    }

    /// Bytes that the keys take, about.
    pub fn bytes(&self) -> usize {
        self.firsts.capacity() * (size_of::<(Key, First)>() + 1)
    }

    /// All keys in no order: what a snapshot of the state has to hold.
    pub fn entries(&self) -> impl Iterator<Item = (Key, First)> + '_ {
        self.firsts.iter().map(|(key, first)| (*key, *first))
    }

    /// Puts a key back; of several rows of one key the latest counts, in whatever order they come.
    pub fn restore(&mut self, key: Key, first: First) {
        match self.firsts.entry(key) {
            Entry::Occupied(mut known) if known.get().seq < first.seq => {
                known.insert(first);
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(place) => {
                place.insert(first);
            }
        }
    }

    /// A later row of the key stands for it, and is forgotten already: so is the key.
    pub(super) fn forget_before(&mut self, key: Key, seq: i64) {
        if self.firsts.get(&key).is_some_and(|first| first.seq < seq) {
            self.firsts.remove(&key);
        }
    }

    /// Makes room for that many more keys.
    pub fn reserve(&mut self, keys: usize) {
        self.firsts.reserve(keys);
    }

    /// Takes a row in, or says which accepted row it repeats.
    pub(super) fn admit(
        &mut self,
        key: Key,
        row: First,
        within: Option<Duration>,
        watermark: Option<i64>,
    ) -> Result<(), First> {
        match self.firsts.entry(key) {
            Entry::Occupied(known) if remembered(known.get(), within, watermark) => return Err(*known.get()),
            Entry::Occupied(mut known) => {
                known.insert(row);
            }
            Entry::Vacant(place) => {
                place.insert(row);
            }
        }
        if within.is_some() && self.firsts.len() >= self.purge_at.max(PURGE_FLOOR) {
            self.purge(within, watermark);
        }
        Ok(())
    }

    /// Lets forgotten keys go; the next time is when the rest has doubled, so the cost per row is constant.
    fn purge(&mut self, within: Option<Duration>, watermark: Option<i64>) {
        self.firsts.retain(|_, first| remembered(first, within, watermark));
        self.purge_at = self.firsts.len() * 2;
        self.firsts.shrink_to(self.purge_at);
    }
}

/// Whether a row still stands for its key.
pub(super) fn remembered(first: &First, within: Option<Duration>, watermark: Option<i64>) -> bool {
    let (Some(within), Some(watermark)) = (within, watermark) else {
        return true;
    };
    let within = i64::try_from(within.as_micros()).unwrap_or(i64::MAX);
    watermark < first.event_time.saturating_add(within)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn row(seq: i64, event_time: i64) -> First {
        First { seq, event_time }
    }

    #[test]
    fn the_lowest_seq_wins_and_a_duplicate_does_not_renew_the_key() {
        let mut dedupe = Dedupe::default();
        assert_eq!(dedupe.admit(1, row(0, 0), Some(MINUTE), None), Ok(()));
        assert_eq!(
            dedupe.admit(1, row(1, 50_000_000), Some(MINUTE), Some(0)),
            Err(row(0, 0))
        );
        assert_eq!(
            dedupe.admit(1, row(2, 50_000_000), Some(MINUTE), Some(59_999_999)),
            Err(row(0, 0))
        );
        assert_eq!(
            dedupe.admit(1, row(3, 50_000_000), Some(MINUTE), Some(60_000_000)),
            Ok(())
        );
        assert_eq!(
            dedupe.admit(1, row(4, 0), Some(MINUTE), Some(60_000_000)),
            Err(row(3, 50_000_000))
        );
    }

    #[test]
    fn forever_outlasts_the_end_of_time() {
        let mut dedupe = Dedupe::default();
        assert_eq!(dedupe.admit(1, row(0, 0), None, None), Ok(()));
        assert_eq!(dedupe.admit(1, row(1, 0), None, Some(i64::MAX)), Err(row(0, 0)));
    }

    #[test]
    fn purging_bounds_the_memory_and_changes_no_answer() {
        let mut dedupe = Dedupe::default();
        for seq in 0..1_000_000 {
            let now = seq * 1000;
            assert_eq!(
                dedupe.admit(seq as u128, row(seq, now), Some(MINUTE), Some(now)),
                Ok(())
            );
            assert!(dedupe.len() <= 2 * PURGE_FLOOR);
        }
        assert_eq!(
            dedupe.admit(999_999, row(1_000_000, 0), Some(MINUTE), Some(999_999_000)),
            Err(row(999_999, 999_999_000))
        );
        assert_eq!(
            dedupe.admit(0, row(1_000_001, 0), Some(MINUTE), Some(999_999_000)),
            Ok(())
        );
    }

    #[test]
    fn restoring_keeps_the_latest_row_in_any_order() {
        let mut dedupe = Dedupe::default();
        dedupe.restore(1, row(5, 50));
        dedupe.restore(1, row(3, 30));
        dedupe.restore(2, row(3, 30));
        dedupe.restore(2, row(5, 50));
        let mut entries: Vec<(Key, First)> = dedupe.entries().collect();
        entries.sort_by_key(|(key, _)| *key);
        assert_eq!(entries, [(1, row(5, 50)), (2, row(5, 50))]);
    }
}
