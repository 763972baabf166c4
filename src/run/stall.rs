//! Noticing a source that has more and gives none of it: a client that hangs looks just like a quiet topic.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::clock::Micros;
use crate::source::{PartitionId, Positions};

/// How often a partition is looked at within the time after which it counts as stalled.
const LOOKS: u32 = 4;

/// A partition whose source has more than it gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stall {
    /// The partition.
    pub partition: PartitionId,
    /// The next offset to consume.
    pub position: i64,
    /// The source's read-committed end: what lies in an open transaction is not missed.
    pub end: i64,
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            partition,
            position,
            end,
        } = self;
        write!(
            f,
            "{partition} ends at offset {end} and gives nothing from {position} on"
        )
    }
}

/// Why a source should be opened anew, at bronze's positions and with all the proofs of a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anew {
    /// It has more and gives none of it.
    Stalled(Vec<Stall>),
    /// It says itself that it may not be what it was, and why.
    Doubt(String),
}

/// How often in a row a source was opened anew because it stalled, without anything having come in between.
#[derive(Debug, Default)]
pub struct Rebuilds {
    at: Option<Positions>,
    in_vain: u32,
}

impl Rebuilds {
    /// The source stalled at `committed`: how often it has now done so in a row.
    pub fn again(&mut self, committed: &Positions) -> u32 {
        self.in_vain = if self.at.as_ref() == Some(committed) {
            self.in_vain + 1
        } else {
            1
        };
        self.at = Some(committed.clone());
        self.in_vain
    }

    /// Whether the source has stalled and nothing came since.
    pub fn is_stalled(&self) -> bool {
        self.at.is_some()
    }

    /// Whether bronze, now at `committed`, has moved since the source stalled last. Told once.
    pub fn over(&mut self, committed: &Positions) -> bool {
        let over = self.at.as_ref().is_some_and(|at| at != committed);
        if over {
            *self = Self::default();
        }
        over
    }
}

/// Watches whether every partition moves that has more.
///
/// Time is counted in looks, and only those that follow a poll that took all there was: a slow sink leaves records
/// waiting here, and neither that nor a clock that jumps is the source's fault.
#[derive(Debug)]
pub struct Watch {
    every: Micros,
    looked: Micros,
    drained: bool,
    /// The positions at the last look.
    at: Positions,
    /// How many looks in a row a partition had more and had not moved.
    behind: BTreeMap<PartitionId, u32>,
}

impl Watch {
    /// Partitions that do not move for `after` are stalled; they are found a look or two later.
    pub fn new(after: Duration, now: Micros) -> Self {
        Self {
            every: i64::try_from((after / LOOKS).as_micros()).unwrap_or(i64::MAX),
            looked: now,
            drained: false,
            at: Positions::new(),
            behind: BTreeMap::new(),
        }
    }

    /// Takes note of a poll; `drained` where it took all that the source had at hand. Returns whether a look is due.
    pub fn polled(&mut self, now: Micros, drained: bool) -> bool {
        self.drained |= drained;
        let set_back = now < self.looked;
        self.drained && (set_back || now - self.looked >= self.every)
    }

    /// Takes note of the positions. Returns whether some partition has not moved since the last look, so that the
    /// ends are worth asking for.
    pub fn look(&mut self, now: Micros, at: Positions) -> bool {
        self.looked = now;
        self.drained = false;
        let still: BTreeSet<&PartitionId> = at
            .iter()
            .filter(|(id, next)| self.at.get(*id) == Some(*next))
            .map(|(id, _)| id)
            .collect();
        self.behind.retain(|id, _| still.contains(id));
        let any = !still.is_empty();
        self.at = at;
        any
    }

    /// Takes note of the ends after a look. Returns the partitions that are stalled.
    pub fn compare(&mut self, ends: &Positions) -> Vec<Stall> {
        let mut stalls = Vec::new();
        for (id, &position) in &self.at {
            let Some(&end) = ends.get(id).filter(|end| **end > position) else {
                self.behind.remove(id);
                continue;
            };
            let looks = self.behind.entry(id.clone()).or_insert(0);
            *looks += 1;
            if *looks > LOOKS {
                stalls.push(Stall {
                    partition: id.clone(),
                    position,
                    end,
                });
            }
        }
        stalls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Micros = 1_000_000;

    fn at(offsets: &[(i32, i64)]) -> Positions {
        let place = |&(partition, offset): &(i32, i64)| (PartitionId::new("t", partition), offset);
        offsets.iter().map(place).collect()
    }

    /// Looks every second for `seconds`; returns when the first stall was found, and it.
    fn watch(watch: &mut Watch, seconds: i64, of: impl Fn(i64) -> (Positions, Positions)) -> Option<(i64, Vec<Stall>)> {
        (1..=seconds).find_map(|second| {
            let now = second * SECOND;
            let (positions, ends) = of(second);
            if !watch.polled(now, true) || !watch.look(now, positions) {
                return None;
            }
            let stalls = watch.compare(&ends);
            (!stalls.is_empty()).then_some((second, stalls))
        })
    }

    #[test]
    fn a_partition_that_has_more_and_does_not_move_is_stalled_after_the_time_and_not_before() {
        let mut one = Watch::new(Duration::from_secs(40), 0);
        let (second, stalls) = watch(&mut one, 100, |second| {
            (at(&[(0, 5), (1, second)]), at(&[(0, 9), (1, 99)]))
        })
        .unwrap();
        assert!((40..=60).contains(&second), "{second}");
        assert_eq!(
            stalls[0].to_string(),
            "t/0 ends at offset 9 and gives nothing from 5 on"
        );
        assert_eq!(stalls.len(), 1);
    }

    #[test]
    fn what_moves_or_has_no_more_is_not_stalled_however_long_it_takes() {
        let mut one = Watch::new(Duration::from_secs(40), 0);
        // 0 is caught up, 1 moves once in 30 s, 2 gets its first record after a long silence and hands it over late.
        let of = |second: i64| {
            let late = i64::from(second > 1_030);
            (
                at(&[(0, 7), (1, second / 30), (2, late)]),
                at(&[(0, 7), (1, 1_000), (2, i64::from(second > 1_000))]),
            )
        };
        assert_eq!(watch(&mut one, 5_000, of), None);
    }

    #[test]
    fn neither_a_slow_sink_nor_a_clock_that_jumps_makes_a_stall() {
        let mut one = Watch::new(Duration::from_secs(40), 0);
        let behind = || (at(&[(0, 5)]), at(&[(0, 9)]));
        for second in 1..1_000 {
            assert!(!one.polled(second * SECOND, false), "there is more at hand");
        }
        // A year ahead, a year back, and ahead again: three looks, whatever the clock says.
        for now in [31_536_000 * SECOND, 2_000 * SECOND, 31_536_000 * SECOND] {
            assert!(one.polled(now, true));
            let (positions, ends) = behind();
            if one.look(now, positions) {
                assert_eq!(one.compare(&ends), []);
            }
        }
    }
}
