//! NDJSON files as a source: topic = the path as declared, partition 0, offset = line number from 0, no timestamp.
//!
//! A file is an append-only log: lines may be added while nobody reads (a file that grew is read on), never changed.
//! Files are read one after the other in sorted order. A last line without line end is taken, since there may be
//! none to come; so write a file elsewhere and rename it into place. A file that is gone after it was read is nothing
//! wrong; one that has fewer lines than were read is a [`Kind::DataLoss`].

mod expand;
mod lines;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::definition;
use crate::error::{Context, Error, Kind, Result};
use crate::source::{
    Loss, LossReason, POLL_BYTES, PartitionId, Positions, Record, RecordDigest, Source, TimestampType, loss_error,
};

pub use lines::LineReader;

/// How long an idle poll sleeps at most, whatever it is allowed to.
const NAP: Duration = Duration::from_millis(50);

/// What tells one state of a file from another.
type Stamp = (u64, Option<SystemTime>);

/// One file of the source.
struct Input {
    path: PathBuf,
    /// Next line to hand out.
    next: i64,
    /// The stamp the file had when its end was reached.
    done: Option<Stamp>,
    /// How many lines it had at that stamp.
    count: Option<(Stamp, i64)>,
}

/// The files of a declaration, read as one source.
pub struct FileSource {
    base: PathBuf,
    patterns: Vec<String>,
    inputs: BTreeMap<PartitionId, Input>,
    reader: Option<(PartitionId, LineReader)>,
    /// An error that came after lines of the same poll: it is told by the next one.
    pending: Option<Error>,
}

impl FileSource {
    /// Finds the files that `def` names, relative to `base`, and starts each at its position in `start`, else at 0.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] where a pattern matches nothing or a file cannot be read, [`Kind::DataLoss`] where a file
    /// has fewer lines than `start` says.
    pub fn open(
        pipeline: &str,
        base: &Path,
        def: &definition::FileSource,
        start: &Positions,
    ) -> Result<Box<dyn Source>> {
        let mut source = Self::new(base, def, start)?;
        if let Some(error) = loss_error(pipeline, &source.shrunk()?) {
            return Err(error);
        }
        for id in start.keys().filter(|id| !source.inputs.contains_key(id)) {
            tracing::debug!("{} was read before and is no input any more", id.topic);
        }
        Ok(Box::new(source))
    }

    /// What is missing of the files for a reader at `start`; empty where it can go on. For `accept-gap`.
    pub fn losses(base: &Path, def: &definition::FileSource, start: &Positions) -> Result<Vec<Loss>> {
        Self::new(base, def, start)?.shrunk()
    }

    /// The fingerprint of line `offset` of `partition`, none where there is no such line.
    pub fn read_one(base: &Path, partition: &PartitionId, offset: i64) -> Result<Option<RecordDigest>> {
        let path = base.join(&partition.topic);
        if !path.exists() {
            return Ok(None);
        }
        let mut reader = LineReader::open(&path)?;
        if !reader.skip_to(offset)? {
            return Ok(None);
        }
        let line = reader.next_line()?;
        Ok(line.map(|line| RecordDigest::from_parts(None, None, Some(line))))
    }

    fn new(base: &Path, def: &definition::FileSource, start: &Positions) -> Result<Self> {
        let mut source = Self {
            base: base.to_owned(),
            patterns: def.paths.clone(),
            inputs: BTreeMap::new(),
            reader: None,
            pending: None,
        };
        source.find(start)?;
        Ok(source)
    }

    /// Takes in the files that are not known yet, each at its position in `start`.
    fn find(&mut self, start: &Positions) -> Result<Vec<PartitionId>> {
        let mut new = Vec::new();
        for (topic, path) in expand::expand(&self.base, &self.patterns)? {
            let id = PartitionId::new(topic, 0);
            if self.inputs.contains_key(&id) {
                continue;
            }
            let next = start.get(&id).copied().unwrap_or(0);
            let input = Input {
                path,
                next,
                done: None,
                count: None,
            };
            self.inputs.insert(id.clone(), input);
            new.push(id);
        }
        Ok(new)
    }

    fn shrunk(&mut self) -> Result<Vec<Loss>> {
        let mut losses = Vec::new();
        for (id, input) in self.inputs.iter_mut().filter(|(_, input)| input.next > 0) {
            if input.end()? < input.next {
                losses.push(Loss {
                    partition: id.clone(),
                    from: input.next,
                    to: 0,
                    reason: LossReason::Recreated,
                });
            }
        }
        Ok(losses)
    }

    /// Makes the reader stand at the next unread line; false where every file is read to its end.
    fn advance(&mut self) -> Result<bool> {
        if self.reader.is_some() {
            return Ok(true);
        }
        for (id, input) in &self.inputs {
            // A file that vanished while we run ends where we are.
            if input.done.is_some() && (input.done == stamp(&input.path).ok() || !input.path.exists()) {
                continue;
            }
            let mut reader = LineReader::open(&input.path)?;
            if !reader.skip_to(input.next)? {
                return Err(Error::new(
                    Kind::DataLoss,
                    format!("{} has fewer than the {} lines already read", id.topic, input.next),
                )
                .with_next("put the complete file back"));
            }
            self.reader = Some((id.clone(), reader));
            return Ok(true);
        }
        Ok(false)
    }

    /// Hands out up to `max` lines of the open file, and none once `bytes`, to which it adds, is [`POLL_BYTES`].
    fn read(&mut self, max: usize, bytes: &mut usize, take: &mut dyn FnMut(Record<'_>)) -> (usize, Result<()>) {
        let Some((id, mut reader)) = self.reader.take() else {
            return (0, Ok(()));
        };
        let Some(input) = self.inputs.get_mut(&id) else {
            return (0, Ok(()));
        };
        // Taken before the end is reached, so that what is appended meanwhile is seen as growth.
        let before = stamp(&input.path).ok();
        let mut count = 0;
        while count < max && *bytes < POLL_BYTES {
            let offset = reader.number();
            match reader.next_line() {
                Ok(Some(line)) => {
                    *bytes += line.len();
                    take(Record {
                        topic: &id.topic,
                        partition: 0,
                        offset,
                        timestamp: None,
                        timestamp_type: TimestampType::None,
                        key: None,
                        value: Some(line),
                        headers: &[],
                    });
                }
                Ok(None) => {
                    input.done = before;
                    input.count = before.map(|stamp| (stamp, offset));
                    return (count, Ok(()));
                }
                Err(error) => return (count, Err(error)),
            }
            input.next = offset + 1;
            count += 1;
        }
        self.reader = Some((id, reader));
        (count, Ok(()))
    }
}

impl Input {
    /// How many lines the file has now.
    fn end(&mut self) -> Result<i64> {
        if !self.path.exists() {
            return Ok(self.next);
        }
        let now = stamp(&self.path)?;
        if let Some((stamp, count)) = self.count
            && stamp == now
        {
            return Ok(count);
        }
        let count = LineReader::open(&self.path)?.count();
        self.count = Some((now, count));
        Ok(count)
    }
}

fn stamp(path: &Path) -> Result<Stamp> {
    let metadata = fs::metadata(path).or_fail(Kind::Unavailable, || format!("reading {}", path.display()))?;
    Ok((metadata.len(), metadata.modified().ok()))
}

impl Source for FileSource {
    fn poll(&mut self, wait: Duration, max: usize, take: &mut dyn FnMut(Record<'_>)) -> Result<usize> {
        if let Some(error) = self.pending.take() {
            return Err(error);
        }
        let (mut count, mut bytes) = (0, 0);
        while count < max && bytes < POLL_BYTES {
            let outcome = match self.advance() {
                Ok(false) => break,
                Ok(true) => {
                    let (more, outcome) = self.read(max - count, &mut bytes, take);
                    count += more;
                    outcome
                }
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) => {}
                Err(error) if count == 0 => return Err(error),
                Err(error) => {
                    self.pending = Some(error);
                    break;
                }
            }
        }
        if count == 0 && max > 0 {
            std::thread::sleep(wait.min(NAP));
        }
        Ok(count)
    }

    fn positions(&self) -> Positions {
        self.inputs.iter().map(|(id, input)| (id.clone(), input.next)).collect()
    }

    fn ends(&mut self) -> Result<Positions> {
        let inputs = self.inputs.iter_mut();
        inputs.map(|(id, input)| Ok((id.clone(), input.end()?))).collect()
    }

    fn discover(&mut self) -> Result<Vec<PartitionId>> {
        self.find(&Positions::new())
    }

    fn report_committed(&mut self, _positions: &Positions) {}
}

#[cfg(test)]
mod tests;
