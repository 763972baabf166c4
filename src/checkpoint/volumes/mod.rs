//! Silver's older keys, in files beside the snapshots: memory holds a few bytes of each, whatever the history.
//!
//! **Invariant: what is found was put in, and what was put in is found, or there is an error.** Keys come in lots, the
//! recent ones of silver, and each lot becomes a [`Volume`], from the oldest to the newest. [`prints`] has what of a
//! volume is in memory, [`file`] the format. So that the number of volumes does not grow with the history, as many as
//! the fan-out of about one size become one ([`merge`]); only neighbours do, so that volumes stay in the order of time
//! and a row that stands for its key is never forgotten before an earlier row of the same key is.
//!
//! A volume is nothing before a snapshot names it, and the snapshot comes after it is on the disk. One that turns out
//! not to be what was written is deleted: then the snapshots that name it are refused, and the state is rebuilt from the
//! tables.

mod file;
mod merge;
mod prints;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

pub use file::{Named, stamp_in};

use self::file::{Page, Volume, Writer};
use self::merge::{Failed, Merging};
use self::prints::Probe;
use super::files::{Folder, private_directory};
use super::snapshot::{Entry, Refused};
use crate::error::{Context, Error, Kind, Result};

/// How keys are laid into volumes.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Keys of a lot, about.
    pub lot: usize,
    /// Volumes of about one size that become one.
    pub fan_out: usize,
}

impl Default for Shape {
    fn default() -> Self {
        // A hash table of 2^19 places is full with so many. By the fan-out, 100 M keys are in some twenty volumes, and
        // each was written twice.
        Self {
            lot: 7 << 16,
            fan_out: 16,
        }
    }
}

/// The volumes of one state.
#[derive(Debug)]
pub struct Volumes {
    folder: PathBuf,
    shape: Shape,
    /// From the oldest to the newest.
    list: Vec<Arc<Volume>>,
    merging: Option<Merging>,
    /// After a merge that failed, the next begins with so many volumes.
    merge_at: usize,
    /// A volume that a merge found to be bad.
    broken: Option<(Arc<Volume>, Refused)>,
}

impl Volumes {
    /// None yet, in this folder.
    pub fn new(folder: &Folder, shape: Shape) -> Self {
        Self {
            folder: folder.path().to_owned(),
            shape: Shape {
                lot: shape.lot.max(1),
                fan_out: shape.fan_out.max(2),
            },
            list: Vec::new(),
            merging: None,
            merge_at: 0,
            broken: None,
        }
    }

    /// Those that a snapshot in this folder names.
    ///
    /// # Errors
    /// Which of them is not what the snapshot says, and why.
    pub fn open(folder: &Folder, shape: Shape, named: &[Named]) -> Result<Self, Refused> {
        let mut volumes = Self::new(folder, shape);
        for named in named {
            let opened = Volume::open(folder.path(), named).map_err(|why| Refused::Volume {
                file: named.file.clone(),
                why: Box::new(why),
            });
            volumes.list.push(Arc::new(opened?));
        }
        Ok(volumes)
    }

    /// Keys in them; one that is in two counts twice.
    pub fn keys(&self) -> u64 {
        self.list.iter().map(|volume| volume.keys()).sum()
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Bytes of memory that they take.
    pub fn bytes(&self) -> usize {
        self.list.iter().map(|volume| volume.prints().bytes()).sum()
    }

    /// Takes a lot of rows, each key once and none earlier than any row that was taken before.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] where they cannot be written; they are not taken then.
    pub fn add(&mut self, mut lot: Vec<Entry>) -> Result<()> {
        let what = || format!("a volume of silver's keys in {}", self.folder.display());
        lot.sort_unstable_by_key(|entry| entry.key);
        private_directory(&self.folder).or_fail(Kind::Unavailable, what)?;
        let writer = Writer::create(&self.folder, Writer::stamp(), lot.len() as u64);
        let mut writer = writer.or_fail(Kind::Unavailable, what)?;
        let path = writer.path().to_owned();
        let written = lot.iter().try_for_each(|entry| writer.push(entry));
        match written.and_then(|()| writer.finish()) {
            Ok(volume) => self.list.push(Arc::new(volume)),
            Err(error) => {
                // Its place on the disk is worth more than its content.
                let _ = fs::remove_file(path);
                return Err(error).or_fail(Kind::Unavailable, what);
            }
        }
        drop(lot);
        self.take_merged(false);
        self.begin_merge();
        Ok(())
    }

    /// The latest row of each of `keys` that is in a volume, with its place among them, in that order.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] where a volume is not what was written: it is deleted, and the state has to be rebuilt.
    pub fn look_up(&self, keys: &[u128]) -> Result<Vec<(usize, Entry)>> {
        if let Some((volume, why)) = &self.broken {
            return Err(discarded(volume, why));
        }
        let mut found = Vec::new();
        if self.list.is_empty() {
            return Ok(found);
        }
        let mut probes: Vec<Probe> = (0..).zip(keys).map(|(at, key)| Probe::new(*key, at)).collect();
        // In the order of the volumes: memory is walked through, not jumped about in, and so is the file.
        probes.sort_unstable_by_key(|probe| probe.upper);
        let (mut hits, mut page) = (Vec::new(), Page::default());
        for volume in &self.list {
            hits.clear();
            hits.extend(
                probes
                    .iter()
                    .filter(|probe| volume.prints().may_hold(probe))
                    .map(|probe| probe.at as usize),
            );
            for at in &hits {
                let Some(key) = keys.get(*at) else {
                    continue;
                };
                let entry = volume.find(*key, &mut page).map_err(|why| discarded(volume, &why))?;
                found.extend(entry.map(|entry| (*at, entry)));
            }
        }
        found.sort_unstable_by_key(|(at, entry)| (*at, std::cmp::Reverse(entry.seq)));
        found.dedup_by_key(|(at, _)| *at);
        Ok(found)
    }

    /// Lets the oldest volumes go, as far as all their rows are forgotten: rows are, whose event time is.
    pub fn forget(&mut self, forgotten: impl Fn(i64) -> bool) {
        self.take_merged(false);
        let kept = self.list.iter().position(|volume| !forgotten(volume.newest()));
        let gone: Vec<_> = self.list.drain(..kept.unwrap_or(self.list.len())).collect();
        let first = self.merging.as_ref().and_then(|merging| merging.inputs().first());
        if first.is_some_and(|first| gone.iter().any(|volume| Arc::ptr_eq(volume, first))) {
            // What is being made of them would hold them for longer.
            self.merging = None;
        }
    }

    /// What a snapshot has to name, brought to the disk.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] where that fails.
    pub fn saved(&mut self) -> Result<Vec<Named>> {
        self.take_merged(false);
        let what = || format!("the volumes of silver's keys in {}", self.folder.display());
        for volume in &self.list {
            volume.sync().or_fail(Kind::Unavailable, what)?;
        }
        Ok(self.list.iter().map(|volume| volume.named()).collect())
    }

    /// Deletes the files of volumes that neither this state nor any snapshot in the folder needs.
    pub fn sweep(&self, folder: &Folder) {
        let mut needed: HashSet<u64> = folder
            .named()
            .iter()
            .filter_map(|named| stamp_in(&named.file))
            .collect();
        needed.extend(self.list.iter().map(|volume| volume.stamp()));
        needed.extend(self.merging.as_ref().map(Merging::stamp));
        folder.delete(|name| stamp_in(name).is_some_and(|stamp| !needed.contains(&stamp)));
    }

    /// Waits for the merge that goes on, and for those that follow from it.
    pub fn rest(&mut self) {
        while self.merging.is_some() {
            self.take_merged(true);
            self.begin_merge();
        }
    }

    /// Puts a merged volume into the place of those that it was made of, where it is there, or is waited for.
    fn take_merged(&mut self, wait: bool) {
        let Some(mut merging) = self.merging.take_if(|merging| wait || merging.is_over()) else {
            return;
        };
        let first = merging.inputs().first();
        let from = first.and_then(|first| self.list.iter().position(|volume| Arc::ptr_eq(volume, first)));
        match (merging.end(), from) {
            (Ok(merged), Some(from)) => {
                let inputs = from..self.list.len().min(from + merging.inputs().len());
                self.list.splice(inputs, [Arc::new(merged)]);
                self.merge_at = 0;
            }
            (Ok(_), None) => {}
            (Err(Failed::Input(volume, why)), _) => self.broken = Some((volume, why)),
            (Err(Failed::Output(error)), _) => {
                tracing::warn!(folder = %self.folder.display(), %error, "volumes of silver's keys are not merged");
                self.merge_at = self.list.len() + self.shape.fan_out;
            }
        }
    }

    /// Begins the merge that is due, if none goes on.
    fn begin_merge(&mut self) {
        if self.merging.is_some() || self.broken.is_some() || self.list.len() < self.merge_at {
            return;
        }
        let sizes: Vec<u64> = self.list.iter().map(|volume| volume.keys()).collect();
        let Some(inputs) = due(&sizes, self.shape).and_then(|inputs| self.list.get(inputs)) else {
            return;
        };
        match Merging::begin(self.folder.clone(), inputs.to_vec()) {
            Ok(merging) => self.merging = Some(merging),
            Err(error) => {
                tracing::warn!(%error, "volumes of silver's keys are not merged");
                self.merge_at = self.list.len() + self.shape.fan_out;
            }
        }
    }
}

/// The neighbours to be merged: as many as the fan-out of one tier, and what smaller ones are among them.
fn due(sizes: &[u64], shape: Shape) -> Option<std::ops::Range<usize>> {
    // A lot may be half as long as told, and rows of one key become one: a quarter leaves room below for both.
    let (unit, fan_out) = ((shape.lot as u64 / 4).max(1), shape.fan_out as u64);
    let tiers: Vec<u32> = sizes
        .iter()
        .map(|keys| (keys / unit).checked_ilog(fan_out).unwrap_or(0))
        .collect();
    let highest = tiers.iter().copied().max()?;
    (0..=highest).find_map(|tier| {
        let from = tiers
            .iter()
            .rposition(|other| *other > tier)
            .map_or(0, |above| above + 1);
        let of_tier = (from..tiers.len()).filter(|at| tiers.get(*at) == Some(&tier));
        let last = of_tier.clone().nth(shape.fan_out - 1)?;
        Some(of_tier.clone().next()?..last + 1)
    })
}

/// Deletes a volume that is not what was written, so that no snapshot that names it is used again.
fn discarded(volume: &Volume, why: &Refused) -> Error {
    // Where that fails the next start fails as this one did, and says so again.
    let _ = fs::remove_file(volume.path());
    Error::new(
        Kind::Unavailable,
        format!("silver's keys in {}: {why}", volume.path().display()),
    )
    .with_next("start again: the file is deleted, and silver's state is rebuilt from the tables")
}
