//! The event-time watermark: how far event time has got, as a function of accepted rows and ticks.
//!
//! Invariants: the watermark never goes back; it depends on nothing but the rows in seq order, so every replay and
//! every cut into batches gives the same value before each row.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::END_OF_TIME;
use crate::layer::bronze;

/// What is known of one partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// The largest accepted event time in UTC microseconds; none before the first accepted row.
    pub max: Option<i64>,
    /// Whether it does not hold the watermark back.
    pub idle: bool,
}

/// Event time per partition, and the watermark that follows. Small: its JSON rides in each silver commit.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Watermarks {
    /// By `topic/partition`, ascending.
    partitions: Vec<(String, Partition)>,
    /// The watermark; none: there is none yet.
    current: Option<i64>,
    /// Where the partition of the last record is: its neighbours are mostly of the same.
    last: usize,
}

/// As JSON.
#[derive(Serialize, Deserialize)]
struct Written {
    partitions: BTreeMap<String, Partition>,
    current: Option<i64>,
}

impl From<Watermarks> for Written {
    fn from(marks: Watermarks) -> Self {
        Self {
            partitions: marks.partitions.into_iter().collect(),
            current: marks.current,
        }
    }
}

impl From<Written> for Watermarks {
    fn from(written: Written) -> Self {
        Self {
            partitions: written.partitions.into_iter().collect(),
            current: written.current,
            last: 0,
        }
    }
}

impl PartialEq for Watermarks {
    fn eq(&self, other: &Self) -> bool {
        (&self.partitions, self.current) == (&other.partitions, other.current)
    }
}

impl Eq for Watermarks {}

impl Watermarks {
    /// The watermark in UTC microseconds; [`END_OF_TIME`] after the end of the input, none before there is one.
    pub fn value(&self) -> Option<i64> {
        self.current
    }

    /// The partitions known so far, by `topic/partition`, ascending.
    pub fn partitions(&self) -> &[(String, Partition)] {
        &self.partitions
    }

    /// A record of the partition came, whatever its fate: the partition is active.
    pub fn record_seen(&mut self, partition: &str) {
        // More active partitions never raise a minimum, so the watermark stays as it is.
        self.known(partition).idle = false;
    }

    /// A row of the partition was accepted.
    pub fn accepted(&mut self, partition: &str, event_time: i64) {
        let known = self.known(partition);
        known.idle = false;
        let before = known.max;
        if before.is_some_and(|before| before >= event_time) {
            return;
        }
        known.max = Some(event_time);
        // A partition that was ahead of the watermark already does not hold it back.
        if before.is_none() || before <= self.current {
            self.advance();
        }
    }

    /// A tick: it sets which of the partitions that it lists are idle, and leaves the others as they are.
    pub fn tick(&mut self, tick: &bronze::Tick) {
        if tick.reason == bronze::Reason::Gap {
            return;
        }
        for (names, idle) in [(&tick.active, false), (&tick.idle, true)] {
            for name in names {
                self.known(name).idle = idle;
            }
        }
        self.advance();
        match tick.reason {
            bronze::Reason::Quiet => {
                let quiet = i64::try_from(tick.quiet_ms).unwrap_or(i64::MAX).saturating_mul(1000);
                self.raise(self.latest().map(|latest| latest.saturating_add(quiet)));
            }
            bronze::Reason::End => self.raise(Some(END_OF_TIME)),
            bronze::Reason::Start | bronze::Reason::Idle | bronze::Reason::Gap => {}
        }
    }

    /// What is known of the partition, which is made known where it is not.
    #[expect(clippy::indexing_slicing, reason = "the place was just found or filled")]
    fn known(&mut self, name: &str) -> &mut Partition {
        let same = self.partitions.get(self.last).is_some_and(|(last, _)| last == name);
        if !same {
            let place = self.partitions.binary_search_by(|(known, _)| known.as_str().cmp(name));
            self.last = place.unwrap_or_else(|place| {
                self.partitions.insert(place, (name.to_owned(), Partition::default()));
                place
            });
        }
        let (_, known) = &mut self.partitions[self.last];
        known
    }

    fn advance(&mut self) {
        let all = self.partitions.iter().map(|(_, partition)| partition);
        let mut active = all.filter(|partition| !partition.idle).peekable();
        let candidate = if active.peek().is_none() {
            self.latest()
        } else {
            // None is less than every event time: a partition without rows holds the watermark back entirely.
            active.map(|partition| partition.max).min().flatten()
        };
        self.raise(candidate);
    }

    fn latest(&self) -> Option<i64> {
        self.partitions.iter().filter_map(|(_, partition)| partition.max).max()
    }

    fn raise(&mut self, candidate: Option<i64>) {
        self.current = self.current.max(candidate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::bronze::{Reason, Tick};
    use crate::source::PartitionId;

    fn tick(reason: Reason, active: &[i32], idle: &[i32], quiet_ms: u64) -> Tick {
        let ids = |partitions: &[i32]| -> Vec<PartitionId> {
            let id = |partition: &i32| PartitionId {
                topic: "t".to_owned(),
                partition: *partition,
            };
            partitions.iter().map(id).collect()
        };
        Tick::new(reason, String::new(), &ids(active), &ids(idle), quiet_ms)
    }

    #[test]
    fn the_slowest_active_partition_holds_it_and_it_never_goes_back() {
        let mut marks = Watermarks::default();
        marks.tick(&tick(Reason::Start, &[0, 1], &[], 0));
        marks.accepted("t/0", 100);
        assert_eq!(marks.value(), None);
        marks.accepted("t/1", 50);
        assert_eq!(marks.value(), Some(50));
        marks.accepted("t/1", 40);
        assert_eq!(marks.value(), Some(50));
        marks.accepted("t/1", 300);
        assert_eq!(marks.value(), Some(100));
        marks.record_seen("t/2");
        assert_eq!(marks.value(), Some(100));
        marks.accepted("t/0", 400);
        assert_eq!(marks.value(), Some(100));
        marks.accepted("t/2", 350);
        assert_eq!(marks.value(), Some(300));
    }

    #[test]
    fn an_idle_partition_lets_go_until_its_next_record() {
        let mut marks = Watermarks::default();
        marks.accepted("t/0", 100);
        marks.accepted("t/1", 10);
        assert_eq!(marks.value(), Some(100));
        marks.accepted("t/0", 200);
        marks.tick(&tick(Reason::Idle, &[0], &[1], 0));
        assert_eq!(marks.value(), Some(200));
        marks.record_seen("t/1");
        marks.accepted("t/0", 300);
        assert_eq!(marks.value(), Some(200));
        marks.tick(&tick(Reason::Idle, &[], &[0, 1], 0));
        assert_eq!(marks.value(), Some(300));
    }

    #[test]
    fn quiet_moves_it_past_the_last_event_and_the_end_to_infinity() {
        let mut marks = Watermarks::default();
        marks.tick(&tick(Reason::Quiet, &[], &[0], 60_000));
        assert_eq!(marks.value(), None);
        marks.accepted("t/0", 100);
        marks.tick(&tick(Reason::Quiet, &[], &[0], 60_000));
        assert_eq!(marks.value(), Some(60_000_100));
        marks.accepted("t/0", 200);
        assert_eq!(marks.value(), Some(60_000_100));
        marks.tick(&tick(Reason::Gap, &[1], &[], 0));
        assert_eq!(marks.partitions().len(), 1);
        marks.tick(&tick(Reason::End, &[], &[0], 0));
        assert_eq!(marks.value(), Some(END_OF_TIME));
    }

    #[test]
    fn it_survives_as_json() {
        let mut marks = Watermarks::default();
        marks.accepted("t/0", 100);
        marks.tick(&tick(Reason::End, &[0], &[1], 0));
        let json = serde_json::to_string(&marks).unwrap();
        assert_eq!(serde_json::from_str::<Watermarks>(&json).unwrap(), marks);
    }
}
