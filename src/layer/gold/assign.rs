//! Which rows of a batch go into which window, which are late: pure, and linear in the rows whatever the windows.

use std::collections::HashMap;
use std::ops::Range;

use arrow::array::{Array, PrimitiveArray};
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::common::hash_utils::RandomState;

use super::window::Tumbling;

/// The rows of a batch, by what happens to them.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Assigned {
    /// Rows for open windows: those of one window side by side, in row order.
    pub(super) rows: Vec<u32>,
    /// The windows of `rows`, by start, each with its span of `rows`.
    pub(super) windows: Vec<(i64, Range<usize>)>,
    /// Late rows, in row order.
    pub(super) late: Vec<u32>,
    /// The window starts of the late rows.
    pub(super) late_starts: Vec<i64>,
    /// The first row that is not late although its window is closed.
    pub(super) shut: Option<u32>,
}

impl Assigned {
    /// Whether `rows` are all rows of the batch as they stand.
    pub(super) fn is_whole(&self, batch_rows: usize) -> bool {
        self.rows.len() == batch_rows && self.windows.len() <= 1
    }
}

/// Assigns each row to its window; `closed` is the end of the last closed one.
pub(super) fn assign(
    window: Tumbling,
    events: &[i64],
    watermarks: &PrimitiveArray<TimestampMicrosecondType>,
    closed: i64,
) -> Assigned {
    let mut assigned = Assigned::default();
    let mut kept = Kept::default();
    // Neighbours mostly share a window: the division is done only when it changes.
    let mut current: Option<(i64, i64)> = None;
    for ((row, event), watermark) in (0_u32..).zip(events).zip(watermarks.values()) {
        let (start, end) = match current {
            Some((start, end)) if (start..end).contains(event) => (start, end),
            _ => {
                let start = window.start(*event);
                (start, window.end(start))
            }
        };
        current = Some((start, end));
        let known = watermarks.is_valid(row as usize);
        if known && window.is_over(end, *watermark) {
            assigned.late.push(row);
            assigned.late_starts.push(start);
        } else if end <= closed {
            assigned.shut = assigned.shut.or(Some(row));
        } else {
            kept.push(row, start);
        }
    }
    kept.sort_into(&mut assigned);
    assigned
}

/// Rows for open windows in row order, each with the ordinal of its window by first appearance.
#[derive(Default)]
struct Kept {
    rows: Vec<u32>,
    ordinals: Vec<usize>,
    starts: Vec<i64>,
    sizes: Vec<usize>,
    known: HashMap<i64, usize, RandomState>,
    last: Option<(i64, usize)>,
}

impl Kept {
    fn push(&mut self, row: u32, start: i64) {
        let ordinal = match self.last {
            Some((last, ordinal)) if last == start => ordinal,
            _ => *self.known.entry(start).or_insert_with(|| {
                self.starts.push(start);
                self.sizes.push(0);
                self.starts.len() - 1
            }),
        };
        self.last = Some((start, ordinal));
        self.rows.push(row);
        self.ordinals.push(ordinal);
        if let Some(size) = self.sizes.get_mut(ordinal) {
            *size += 1;
        }
    }

    /// A counting sort by window: stable, so rows of a window stay in row order.
    fn sort_into(self, assigned: &mut Assigned) {
        let mut begin = 0;
        let mut next = Vec::with_capacity(self.starts.len());
        for (start, size) in self.starts.iter().zip(&self.sizes) {
            next.push(begin);
            assigned.windows.push((*start, begin..begin + size));
            begin += size;
        }
        if assigned.windows.len() <= 1 {
            assigned.rows = self.rows;
            return;
        }
        assigned.rows = vec![0; self.rows.len()];
        for (row, ordinal) in self.rows.iter().zip(&self.ordinals) {
            let Some(place) = next.get_mut(*ordinal) else { continue };
            if let Some(slot) = assigned.rows.get_mut(*place) {
                *slot = *row;
            }
            *place += 1;
        }
    }
}
