//! How far a producer may run ahead of bronze on the embedded broker.

use std::collections::{BTreeMap, VecDeque};

use crate::source::{PartitionId, Positions};

/// Most bytes of a partition that are sent and not committed by bronze.
///
/// The broker drops its oldest batch while a partition holds more than 5 MiB (5,242,880 bytes). A batch has at most
/// 1,000,000 bytes (`batch.size`, `message.max.bytes`). With at most 4 MiB uncommitted, more than 1,048,576 bytes at
/// the front of an overfull partition are committed, so the batch dropped holds committed records only. Bytes are
/// counted before compression, which can only make them fewer: the bound holds for data that does not compress.
const AHEAD: u64 = 4 << 20;
/// What a record costs on the wire besides key, payload and headers, rounded up generously, batch header included.
const OVERHEAD: u64 = 96;
/// Records are remembered in groups of about this many bytes.
const GROUP: u64 = 32 << 10;

/// Bytes sent ahead of bronze's commits, per partition. It counts on being told of every record of the topic, in order,
/// from the first: then the nth record of a partition has offset n.
#[derive(Debug, Default)]
pub struct Gate {
    partitions: BTreeMap<i32, Ahead>,
}

#[derive(Debug, Default)]
struct Ahead {
    next_offset: i64,
    bytes: u64,
    /// Offset after the group and bytes of the group, oldest first.
    groups: VecDeque<(i64, u64)>,
}

impl Gate {
    /// A gate for an empty topic.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a record of `size` bytes (key, payload, headers) may be sent to `partition` now. A record too large for
    /// the bound may go when nothing else is on its way.
    pub fn may_send(&self, partition: i32, size: usize) -> bool {
        let ahead = self.partitions.get(&partition).map_or(0, |ahead| ahead.bytes);
        ahead == 0 || ahead + size as u64 + OVERHEAD <= AHEAD
    }

    /// A record of `size` bytes is on its way to `partition`.
    pub fn sent(&mut self, partition: i32, size: usize) {
        let ahead = self.partitions.entry(partition).or_default();
        let size = size as u64 + OVERHEAD;
        ahead.next_offset += 1;
        ahead.bytes += size;
        match ahead.groups.back_mut() {
            Some((end, bytes)) if *bytes + size <= GROUP => {
                *end = ahead.next_offset;
                *bytes += size;
            }
            _ => ahead.groups.push_back((ahead.next_offset, size)),
        }
    }

    /// Bronze has committed up to `positions` of `topic`.
    pub fn committed(&mut self, topic: &str, positions: &Positions) {
        for (partition, ahead) in &mut self.partitions {
            let Some(&position) = positions.get(&PartitionId::new(topic, *partition)) else {
                continue;
            };
            while let Some(&(end, bytes)) = ahead.groups.front()
                && end <= position
            {
                ahead.bytes -= bytes;
                ahead.groups.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_closes_before_the_broker_drops_and_opens_with_the_commit() {
        let mut gate = Gate::new();
        let mut sent = 0;
        while gate.may_send(0, 200) {
            gate.sent(0, 200);
            sent += 1;
        }
        assert!(sent * (200 + OVERHEAD) <= AHEAD);
        assert!(
            (sent + 1) * (200 + OVERHEAD) > AHEAD,
            "it closes no earlier than it must"
        );
        assert!(gate.may_send(1, 200), "each partition counts alone");

        let half = Positions::from([(PartitionId::new("t", 0), sent as i64 / 2)]);
        gate.committed("other", &half);
        assert!(!gate.may_send(0, 200), "another topic's positions open nothing");
        gate.committed("t", &half);
        assert!(gate.may_send(0, 1 << 20));
        assert!(!gate.may_send(0, 3 << 20));

        gate.committed("t", &Positions::from([(PartitionId::new("t", 0), sent as i64)]));
        assert!(gate.may_send(0, 100 << 20), "an empty partition takes any record");
    }
}
