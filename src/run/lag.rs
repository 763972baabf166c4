//! How far bronze is behind its source, without asking the broker: by what the source has said so far.

use std::time::{Duration, Instant};

use super::bronze::BronzeLayer;
use crate::clock::Micros;
use crate::metrics;
use crate::source::Positions;

/// How often the partitions are told of.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// When bronze had last committed all that its source had.
#[derive(Debug, Default)]
pub(super) struct Abreast {
    /// When the source had no more than what was taken in and is not committed yet.
    drained: Option<Micros>,
    at: Option<Micros>,
}

impl Abreast {
    /// Takes note of a poll that began at `now` and after which the source had nothing more; `pending`: of what it gave,
    /// something is not committed.
    pub(super) fn drained(&mut self, now: Micros, pending: bool) {
        if pending {
            self.drained = Some(now);
        } else {
            self.at = Some(now);
        }
    }

    /// Takes note that all that was taken in is committed.
    pub(super) fn committed(&mut self) {
        self.at = self.drained.take().or(self.at);
    }

    /// When that was, in UTC microseconds; none where it has not been since the layer was opened.
    pub(super) fn at(&self) -> Option<Micros> {
        self.at
    }
}

/// Whether `at` is as far as every end in `ends`.
pub(super) fn reaches(at: &Positions, ends: &Positions) -> bool {
    ends.iter()
        .all(|(partition, end)| at.get(partition).is_some_and(|next| next >= end))
}

/// Whether every partition of `at` is where it ends by what was `told`, if anything is ever told: one of which nothing was heard
/// yet, as of a client just made, may go on.
pub(super) fn at_ends(at: &Positions, told: Option<&Positions>) -> bool {
    let is_at_end = |told: &Positions| {
        at.iter()
            .all(|(partition, next)| told.get(partition).is_some_and(|end| next >= end))
    };
    told.is_none_or(is_at_end)
}

/// How many offsets there are from `at` to `ends`, over all partitions.
pub(super) fn beyond(at: &Positions, ends: &Positions) -> i64 {
    let left = |(partition, end): (_, &i64)| (end - at.get(partition).copied().unwrap_or(0)).max(0);
    ends.iter().map(left).sum()
}

/// Tells of the partitions and of the lag, about once a second.
#[derive(Debug, Default)]
pub(super) struct Teller {
    told: Option<Instant>,
}

impl Teller {
    /// Tells what there is to tell of `layer` if it is time.
    pub(super) fn tell(&mut self, pipeline: &str, layer: &BronzeLayer) {
        if self.told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
            return;
        }
        self.told = Some(Instant::now());
        // A layer that is opened again and again and never gets there stays as stale as it was.
        if let Some(at) = layer.caught_up() {
            metrics::caught_up(pipeline, "bronze", at);
        }
        let at = layer.safe_positions();
        for (id, end) in layer.told_ends() {
            let position = at.get(&id).copied().unwrap_or(0);
            metrics::partition(pipeline, &id.topic, id.partition, position, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_was_there_counts_once_it_is_committed() {
        let mut abreast = Abreast::default();
        abreast.committed();
        assert_eq!(abreast.at(), None, "a commit of a part");
        abreast.drained(2, false);
        assert_eq!(abreast.at(), Some(2));
        abreast.drained(3, true);
        abreast.drained(4, true);
        assert_eq!(abreast.at(), Some(2));
        abreast.committed();
        assert_eq!(abreast.at(), Some(4));
        // More came than was taken before this commit.
        abreast.committed();
        assert_eq!(abreast.at(), Some(4));
    }
}
