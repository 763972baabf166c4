//! The open windows of one gold table.
//!
//! Invariant: every window here ends after `closed`. The state is a cache of silver: it can be rebuilt from the silver
//! rows below the position, so it is never written anywhere.

use std::collections::{BTreeMap, HashMap};

use arrow::row::Row;
use datafusion::common::hash_utils::RandomState;
use datafusion::logical_expr::GroupsAccumulator;

/// The open windows of one gold table, and how far windows are closed.
///
/// After an error of [`Plan::fold`](super::Plan::fold), [`Plan::close`](super::Plan::close) or
/// [`Plan::restore`](super::Plan::restore) it may hold a part of a batch: throw it away and restore a fresh one.
pub struct State {
    /// End of the last closed window in microseconds; `i64::MIN`: none.
    pub closed: i64,
    /// The open windows by their start in microseconds.
    pub(super) windows: BTreeMap<i64, WindowState>,
}

impl State {
    /// No open windows; the last closed one ended at `closed` microseconds (`i64::MIN`: none).
    pub fn new(closed: i64) -> Self {
        Self {
            closed,
            windows: BTreeMap::new(),
        }
    }

    /// How many windows are open.
    pub fn open_windows(&self) -> usize {
        self.windows.len()
    }

    /// How many gold rows the open windows hold: one per window and group.
    pub fn rows(&self) -> usize {
        self.windows.values().map(|window| window.groups.len()).sum()
    }

    /// About how many bytes of memory the open windows take; walks all of them.
    pub fn bytes(&self) -> usize {
        self.windows.values().map(WindowState::bytes).sum()
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("closed", &self.closed)
            .field("open_windows", &self.open_windows())
            .field("rows", &self.rows())
            .finish()
    }
}

/// One open window: its groups, and per aggregate the values of each group so far.
pub(super) struct WindowState {
    pub(super) groups: Groups,
    pub(super) accumulators: Vec<Box<dyn GroupsAccumulator>>,
}

impl WindowState {
    fn bytes(&self) -> usize {
        let accumulators: usize = self.accumulators.iter().map(|accumulator| accumulator.size()).sum();
        size_of::<Self>() + self.groups.bytes() + accumulators
    }
}

/// The groups of a window, numbered in order of their first row.
#[derive(Default)]
pub(super) struct Groups {
    /// Encoded group values (their byte order is the order of the values) to group number.
    numbers: HashMap<Box<[u8]>, usize, RandomState>,
    key_bytes: usize,
}

impl Groups {
    /// How many groups there are.
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Writes the group number of each row into `out`; an unseen group gets the next number.
    pub(super) fn number<'a>(&mut self, rows: impl Iterator<Item = Row<'a>>, out: &mut Vec<usize>) {
        out.clear();
        for row in rows {
            let number = self.number_of(row.data());
            out.push(number);
        }
    }

    /// Without group columns a window is one group: number 0 for each of `rows` rows.
    pub(super) fn number_all(&mut self, rows: usize, out: &mut Vec<usize>) {
        out.clear();
        let number = self.number_of(&[]);
        out.resize(rows, number);
    }

    /// The groups with their numbers, ordered by group values, nulls first.
    pub(super) fn into_sorted(self) -> Vec<(Box<[u8]>, usize)> {
        let mut groups: Vec<_> = self.numbers.into_iter().collect();
        groups.sort_unstable();
        groups
    }

    fn number_of(&mut self, key: &[u8]) -> usize {
        if let Some(number) = self.numbers.get(key) {
            return *number;
        }
        let number = self.numbers.len();
        self.numbers.insert(key.into(), number);
        self.key_bytes += key.len();
        number
    }

    fn bytes(&self) -> usize {
        self.key_bytes + self.numbers.capacity() * (size_of::<(Box<[u8]>, usize)>() + 1)
    }
}
