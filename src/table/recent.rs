//! Rows of the newest commits, kept in memory for the next layer, which then need not decode what was just encoded.
//!
//! A data file never changes under its name, so rows kept under that name are the file's rows, and whoever is given
//! them sees what the file would give. They are a copy, never the truth: a reader takes from here only files that the
//! log has told it of, and reads the file where its rows are not here.
//!
//! **Bounded:** what does not fit is not kept. The rows that wait longest are those needed next, so newer ones give
//! way to them; rows that were taken give way to any. Readers go forward, so rows older than what was taken were passed
//! and count as taken, too: nothing stays that nobody comes for.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;

/// The rows kept of one lake's tables. Clones share them.
#[derive(Clone)]
pub(super) struct Recent(Arc<Mutex<Kept>>);

struct Kept {
    /// Tables that somebody here reads on.
    wanted: HashSet<String>,
    files: HashMap<(String, String), Rows>,
    /// How many were kept so far.
    count: u64,
    bytes: usize,
    max_bytes: usize,
}

struct Rows {
    rows: RecordBatch,
    bytes: usize,
    /// When it was kept, by the count of all.
    turn: u64,
    taken: bool,
}

impl Recent {
    /// Nothing yet, and never more than `max_bytes`.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self(Arc::new(Mutex::new(Kept {
            wanted: HashSet::new(),
            files: HashMap::new(),
            count: 0,
            bytes: 0,
            max_bytes,
        })))
    }

    /// Somebody follows the table at `table` from now on.
    pub(super) fn want(&self, table: &str) {
        self.kept().wanted.insert(table.to_owned());
    }

    /// Keeps the rows of a data file of the table at `table`, partition columns included, if somebody follows the
    /// table and there is room. To be called before the commit that adds the file: a reader may be past it right after.
    pub(super) fn keep(&self, table: &str, file: &str, rows: RecordBatch) {
        let bytes = rows.get_array_memory_size();
        let mut kept = self.kept();
        if !kept.wanted.contains(table) {
            return;
        }
        if kept.bytes + bytes > kept.max_bytes {
            kept.drop_taken();
        }
        if kept.bytes + bytes <= kept.max_bytes {
            kept.bytes += bytes;
            kept.count += 1;
            let entry = Rows {
                rows,
                bytes,
                turn: kept.count,
                taken: false,
            };
            kept.files.insert((table.to_owned(), file.to_owned()), entry);
        }
    }

    /// The rows of a data file, if they are here.
    pub(super) fn take(&self, table: &str, file: &str) -> Option<RecordBatch> {
        let mut kept = self.kept();
        let found = kept.files.get(&(table.to_owned(), file.to_owned()))?;
        let (rows, turn) = (found.rows.clone(), found.turn);
        let passed = |at: &str, entry: &Rows| at == table && entry.turn <= turn;
        for ((at, _), entry) in &mut kept.files {
            entry.taken |= passed(at, entry);
        }
        Some(rows)
    }

    /// Nobody will ask for this file again.
    pub(super) fn forget(&self, table: &str, file: &str) {
        let mut kept = self.kept();
        if let Some(rows) = kept.files.remove(&(table.to_owned(), file.to_owned())) {
            kept.bytes -= rows.bytes;
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // The count of bytes changes together with the map, and nothing between can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn drop_taken(&mut self) {
        self.files.retain(|_, rows| !rows.taken);
        self.bytes = self.files.values().map(|rows| rows.bytes).sum();
    }
}

impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.kept();
        write!(f, "Recent({} files, {} bytes)", kept.files.len(), kept.bytes)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    fn rows(values: usize) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![7; values]));
        RecordBatch::try_from_iter([("seq", column)]).unwrap()
    }

    #[test]
    fn what_waits_longest_stays_and_what_was_taken_makes_room() {
        let recent = Recent::new(2 * rows(100).get_array_memory_size());
        recent.keep("t", "early", rows(100));
        assert!(recent.take("t", "early").is_none(), "nobody follows the table");
        recent.want("t");
        for file in ["a", "b", "c"] {
            recent.keep("t", file, rows(100));
        }
        assert!(recent.take("t", "c").is_none(), "there was no room for it");
        assert_eq!(recent.take("t", "a").map(|rows| rows.num_rows()), Some(100));
        assert!(recent.take("other", "b").is_none());
        recent.keep("t", "d", rows(100));
        assert!(recent.take("t", "a").is_none(), "it was taken and gave way");
        assert!(recent.take("t", "b").is_some() && recent.take("t", "d").is_some());
    }

    #[test]
    fn what_a_reader_passed_without_taking_it_makes_room_too() {
        let recent = Recent::new(3 * rows(100).get_array_memory_size());
        recent.want("t");
        recent.want("other");
        recent.keep("t", "passed", rows(100));
        recent.keep("other", "a", rows(100));
        recent.keep("t", "taken", rows(100));
        assert!(recent.take("t", "taken").is_some());
        for file in ["b", "c"] {
            recent.keep("t", file, rows(100));
        }
        assert!(recent.take("t", "passed").is_none() && recent.take("t", "c").is_some());
        assert!(recent.take("other", "a").is_some(), "another table's rows wait on");
    }

    #[test]
    fn what_is_forgotten_takes_no_room() {
        let recent = Recent::new(rows(100).get_array_memory_size());
        recent.want("t");
        recent.keep("t", "a", rows(100));
        recent.forget("t", "a");
        recent.forget("t", "a");
        recent.keep("t", "b", rows(100));
        assert!(recent.take("t", "b").is_some());
    }
}
