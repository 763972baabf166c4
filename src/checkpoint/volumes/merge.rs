//! Several volumes become one, on a thread of their own: silver goes on with the old ones meanwhile.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::{fs, io, thread};

use super::file::{Cursor, Volume, Writer};
use crate::checkpoint::snapshot::{Entry, Refused};

/// Rows between two looks at whether to stop.
const LOOK_EVERY: u64 = 4096;

/// Why a merge came to nothing; the volumes that it read are as they were.
#[derive(Debug)]
pub enum Failed {
    /// One of them is not what was written.
    Input(Arc<Volume>, Refused),
    /// The new one cannot be written.
    Output(io::Error),
}

/// A merge that goes on.
#[derive(Debug)]
pub struct Merging {
    inputs: Vec<Arc<Volume>>,
    stamp: u64,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Volume, Failed>>>,
}

impl Merging {
    /// Begins to make one volume of `inputs`.
    ///
    /// # Errors
    /// Where there is no thread to be had.
    pub fn begin(folder: PathBuf, inputs: Vec<Arc<Volume>>) -> io::Result<Self> {
        let (stamp, stop) = (Writer::stamp(), Arc::new(AtomicBool::new(false)));
        let (theirs, asked) = (inputs.clone(), stop.clone());
        let work = move || {
            let made = Writer::create(&folder, stamp, theirs.iter().map(|input| input.keys()).sum());
            let mut writer = made.map_err(Failed::Output)?;
            let path = writer.path().to_owned();
            let merged = merge(&mut writer, &theirs, &asked).and_then(|()| writer.finish().map_err(Failed::Output));
            // Synced here, where nobody waits for it.
            let synced = merged.and_then(|volume| volume.sync().map(|()| volume).map_err(Failed::Output));
            if synced.is_err() {
                // What stays is named by no snapshot, and swept with the next.
                let _ = fs::remove_file(path);
            }
            synced
        };
        let thread = thread::Builder::new().name("silver-merge".to_owned()).spawn(work)?;
        Ok(Self {
            inputs,
            stamp,
            stop,
            thread: Some(thread),
        })
    }

    /// The stamp of the file that is being written.
    pub fn stamp(&self) -> u64 {
        self.stamp
    }

    /// The volumes that become one.
    pub fn inputs(&self) -> &[Arc<Volume>] {
        &self.inputs
    }

    /// Whether [`Merging::end`] would not wait.
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// What came of it.
    ///
    /// # Errors
    /// Why it came to nothing.
    pub fn end(&mut self) -> Result<Volume, Failed> {
        let ended = self.thread.take().map(JoinHandle::join);
        let panicked = || Failed::Output(io::Error::other("the thread that merges panicked"));
        ended.and_then(Result::ok).ok_or_else(panicked)?
    }
}

impl Drop for Merging {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Ok(unused) = self.end() {
            // As above: what stays is swept.
            let _ = fs::remove_file(unused.path());
        }
    }
}

/// Writes all rows in the order of their keys; of a key the latest.
fn merge(writer: &mut Writer, inputs: &[Arc<Volume>], stop: &AtomicBool) -> Result<(), Failed> {
    let mut cursors: Vec<(Cursor<'_>, &Arc<Volume>)> = inputs.iter().map(|input| (input.cursor(), input)).collect();
    let mut next = BinaryHeap::with_capacity(inputs.len());
    for (place, (cursor, input)) in cursors.iter_mut().enumerate() {
        let first = cursor.next().map_err(|why| Failed::Input(Arc::clone(input), why))?;
        next.extend(first.map(|entry| Reverse(Row { entry, place })));
    }
    let mut last: Option<Entry> = None;
    let mut count = 0;
    while let Some(mut least) = next.peek_mut() {
        let Reverse(Row { entry, place }) = *least;
        let Some((cursor, input)) = cursors.get_mut(place) else {
            return Ok(());
        };
        match cursor.next().map_err(|why| Failed::Input(Arc::clone(input), why))? {
            Some(entry) => *least = Reverse(Row { entry, place }),
            None => drop(std::collections::binary_heap::PeekMut::pop(least)),
        }
        match &mut last {
            Some(last) if last.key == entry.key && last.seq >= entry.seq => {}
            Some(last) if last.key == entry.key => *last = entry,
            Some(last) => {
                writer.push(last).map_err(Failed::Output)?;
                *last = entry;
            }
            None => last = Some(entry),
        }
        count += 1;
        if count % LOOK_EVERY == 0 && stop.load(Ordering::Relaxed) {
            return Err(Failed::Output(io::ErrorKind::Interrupted.into()));
        }
    }
    last.map_or(Ok(()), |last| writer.push(&last).map_err(Failed::Output))
}

/// The next row of an input, by key.
#[derive(Debug, Clone, Copy)]
struct Row {
    entry: Entry,
    place: usize,
}

impl Ord for Row {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.entry.key.cmp(&other.entry.key)
    }
}

impl PartialOrd for Row {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Row {}
