//! Whether the positions we hold still fit what the source has: pure comparison, no I/O.

use std::fmt;

use super::{PartitionId, Positions};
use crate::error::{Error, Kind};

/// Why records are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossReason {
    /// The source's first offset is past ours: retention, or deleted records.
    Expired,
    /// The source ends before our offset: the topic was re-created or truncated, or the file shrank.
    Recreated,
    /// The source has another record before our offset than we read there: it was re-created and has grown past us.
    Replaced,
    /// The partition does not exist any more.
    PartitionGone,
}

impl LossReason {
    /// Its word in bronze's gap ticks.
    pub fn word(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Recreated => "recreated",
            Self::Replaced => "replaced",
            Self::PartitionGone => "partition_gone",
        }
    }
}

/// Records of one partition that can no longer be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The partition.
    pub partition: PartitionId,
    /// The offset that was expected next.
    pub from: i64,
    /// The offset that reading can go on from; at most `from` unless the reason is [`LossReason::Expired`].
    pub to: i64,
    /// Why.
    pub reason: LossReason,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            partition, from, to, ..
        } = self;
        match self.reason {
            LossReason::Expired => write!(
                f,
                "records of {partition} from offset {from} to {} are gone (retention)",
                to - 1
            ),
            LossReason::Recreated => write!(
                f,
                "{partition} ends before offset {from}, where reading was to go on: it was re-created or truncated"
            ),
            LossReason::Replaced => write!(
                f,
                "{partition} was replaced: the record before offset {from} is not the one that was read (re-created?)"
            ),
            LossReason::PartitionGone => write!(
                f,
                "{partition} does not exist any more, reading was to go on at offset {from}: \
                 the topic was re-created with fewer partitions"
            ),
        }
    }
}

/// Compares where we want to go on with the low and high watermarks of every partition that exists.
///
/// A partition that `start` does not know is expected to begin at 0, for it is younger than the others; a reader that
/// knows none at all has lost nothing and does not ask here. `highs` may be the last stable offset of a topic
/// with open transactions: a read-committed reader is never past it, so an open transaction does not look like a loss.
pub fn check_positions(start: &Positions, lows: &Positions, highs: &Positions) -> Vec<Loss> {
    let mut losses = Vec::new();
    for (partition, &low) in lows {
        let ours = start.get(partition).copied().unwrap_or(0);
        let high = highs.get(partition).copied().unwrap_or(i64::MAX);
        let reason = if high < ours {
            LossReason::Recreated
        } else if low > ours {
            LossReason::Expired
        } else {
            continue;
        };
        losses.push(Loss {
            partition: partition.clone(),
            from: ours,
            to: low,
            reason,
        });
    }
    // A vanished partition of which nothing was ever read has lost nothing.
    for (partition, &ours) in start.iter().filter(|(id, ours)| !lows.contains_key(id) && **ours > 0) {
        losses.push(Loss {
            partition: partition.clone(),
            from: ours,
            to: 0,
            reason: LossReason::PartitionGone,
        });
    }
    losses.sort_by(|a, b| a.partition.cmp(&b.partition));
    losses
}

/// The error that keeps `pipeline` stopped until the operator accepts `losses`; none where there are none.
pub fn loss_error(pipeline: &str, losses: &[Loss]) -> Option<Error> {
    if losses.is_empty() {
        return None;
    }
    let message = losses.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    Some(Error::new(Kind::DataLoss, message).with_next(format!(
        "`medallion accept-gap -p {pipeline}` records the loss and goes on"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offsets: &[(i32, i64)]) -> Positions {
        offsets
            .iter()
            .map(|&(partition, offset)| (PartitionId::new("view_log", partition), offset))
            .collect()
    }

    #[test]
    fn positions_within_the_watermarks_lose_nothing() {
        let losses = check_positions(
            &at(&[(0, 5), (1, 9), (2, 0)]),
            &at(&[(0, 5), (1, 0), (2, 0), (3, 0)]),
            &at(&[(0, 9), (1, 9), (2, 0), (3, 7)]),
        );
        assert_eq!(losses, []);
    }

    #[test]
    fn an_expired_range_is_named_with_its_last_offset() {
        let losses = check_positions(&at(&[(3, 120)]), &at(&[(3, 500)]), &at(&[(3, 900)]));
        let error = loss_error("view_log", &losses).unwrap();
        assert_eq!(error.kind(), Kind::DataLoss);
        assert_eq!(
            error.to_string(),
            "records of view_log/3 from offset 120 to 499 are gone (retention)\n  \
             next: `medallion accept-gap -p view_log` records the loss and goes on"
        );
    }

    #[test]
    fn a_new_partition_that_does_not_begin_at_zero_is_a_loss() {
        let losses = check_positions(&at(&[(0, 1)]), &at(&[(0, 0), (1, 40)]), &at(&[(0, 1), (1, 50)]));
        assert_eq!(losses.len(), 1);
        assert_eq!(
            (losses[0].from, losses[0].to, losses[0].reason),
            (0, 40, LossReason::Expired)
        );
    }

    #[test]
    fn an_end_before_our_offset_is_a_recreated_topic_and_reading_goes_on_at_its_start() {
        let losses = check_positions(&at(&[(0, 100)]), &at(&[(0, 2)]), &at(&[(0, 60)]));
        assert_eq!((losses[0].from, losses[0].to), (100, 2));
        assert_eq!(losses[0].reason, LossReason::Recreated);
    }

    #[test]
    fn a_vanished_partition_is_a_loss_only_if_something_was_read_of_it() {
        let losses = check_positions(&at(&[(0, 1), (1, 3), (2, 0)]), &at(&[(0, 0)]), &at(&[(0, 1)]));
        assert_eq!(losses.len(), 1);
        assert_eq!(losses[0].partition, PartitionId::new("view_log", 1));
        assert_eq!((losses[0].to, losses[0].reason), (0, LossReason::PartitionGone));
    }
}
