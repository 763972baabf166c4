//! The newest record of each partition: by its fingerprint a re-created topic is told from the one we know, and by its
//! timestamp a one-shot run tells whether a partition is idle.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use serde::{Deserialize, Serialize};

use super::bronze::positions;
use crate::clock::Micros;
use crate::source::{PartitionId, RecordDigest, TopicId};
use crate::table::Table;

/// The newest record of a partition, as bronze remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRecord {
    /// Its offset.
    pub offset: i64,
    /// What it was.
    pub digest: RecordDigest,
    /// The topic it was in, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<TopicId>,
}

impl LastRecord {
    /// Whether the partition of a topic `now` is another one than this record's: it has another record at its offset,
    /// or none, and the topic another id. A topic with another id and the same record is a faithful copy.
    pub fn replaced(&self, found: Option<&RecordDigest>, now: Option<&TopicId>) -> bool {
        match found {
            Some(found) => *found != self.digest,
            None => self.topic_id.is_some() && now.is_some() && self.topic_id.as_ref() != now,
        }
    }
}

/// The newest record of each partition in the table's newest commit, by `topic/partition`.
pub fn last_records(table: &Table) -> BTreeMap<String, LastRecord> {
    table
        .info()
        .and_then(|info| serde_json::from_value(info.get("last")?.clone()).ok())
        .unwrap_or_default()
}

/// Each partition's newest timestamp, from the newest commit; `now` for one that the log no longer tells of.
pub(super) fn stamps_before(table: &Table, pipeline: &str, now: Micros) -> BTreeMap<PartitionId, Micros> {
    let told: BTreeMap<String, Micros> = table
        .info()
        .and_then(|info| serde_json::from_value(info.get("stamps")?.clone()).ok())
        .unwrap_or_default();
    positions(table, pipeline)
        .into_iter()
        .filter(|(_, next)| *next > 0)
        .map(|(id, _)| (told.get(&id.to_string()).copied().unwrap_or(now), id))
        .map(|(at, id)| (id, at))
        .collect()
}

/// Remembers the last record of each partition in the batch, which is of the topic with this id.
pub(super) fn note_last_records(
    batch: &RecordBatch,
    topic_id: Option<&TopicId>,
    last: &mut BTreeMap<String, LastRecord>,
) {
    let column = |name: &str| batch.column_by_name(name);
    let (Some(topics), Some(partitions), Some(offsets), Some(timestamps), Some(keys), Some(values)) = (
        column("topic").and_then(|column| column.as_string_opt::<i32>()),
        column("partition").and_then(|column| column.as_primitive_opt::<Int32Type>()),
        column("offset").and_then(|column| column.as_primitive_opt::<Int64Type>()),
        column("timestamp").and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>()),
        column("key").and_then(|column| column.as_binary_opt::<i32>()),
        column("value").and_then(|column| column.as_binary_opt::<i32>()),
    ) else {
        return;
    };
    let mut newest: BTreeMap<(&str, i32), usize> = BTreeMap::new();
    for row in (0..batch.num_rows()).filter(|row| topics.is_valid(*row)) {
        newest.insert((topics.value(row), partitions.value(row)), row);
    }
    for ((topic, partition), row) in newest {
        let timestamp = timestamps.is_valid(row).then(|| timestamps.value(row));
        let key = keys.is_valid(row).then(|| keys.value(row));
        let value = values.is_valid(row).then(|| values.value(row));
        let record = LastRecord {
            offset: offsets.value(row),
            digest: RecordDigest::from_parts(timestamp, key, value),
            topic_id: topic_id.cloned(),
        };
        last.insert(format!("{topic}/{partition}"), record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_replaced_where_another_record_is_found_or_none_in_another_topic() {
        let digest = |value: &[u8]| RecordDigest::from_parts(None, None, Some(value));
        let id = |id: &str| Some(TopicId(id.to_owned()));
        for (before, found, now, replaced) in [
            (id("1"), Some("same"), id("1"), false),
            (id("1"), Some("same"), id("2"), false),
            (id("1"), Some("other"), id("1"), true),
            (None, Some("other"), None, true),
            // Retention, compaction, an aborted transaction; or another topic that has nothing there.
            (id("1"), None, id("1"), false),
            (id("1"), None, id("2"), true),
            (id("1"), None, None, false),
            (None, None, id("2"), false),
        ] {
            let last = LastRecord {
                offset: 7,
                digest: digest(b"same"),
                topic_id: before.clone(),
            };
            let found = found.map(|value: &str| digest(value.as_bytes()));
            assert_eq!(
                last.replaced(found.as_ref(), now.as_ref()),
                replaced,
                "{before:?} {found:?} {now:?}"
            );
        }
    }

    #[test]
    fn a_last_record_without_a_topic_id_is_still_read() {
        let digest = RecordDigest::from_parts(None, None, None);
        let written = serde_json::json!({"offset": 7, "digest": digest});
        let last: LastRecord = serde_json::from_value(written.clone()).unwrap();
        assert_eq!((last.offset, &last.topic_id), (7, &None));
        assert_eq!(serde_json::to_value(last).unwrap(), written);
    }
}
