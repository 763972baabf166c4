//! The names that the lake and the log know a pipeline's tables and positions by. One screen, the whole data model.
//!
//! | table | txn app id | version means |
//! |---|---|---|
//! | bronze | `medallion/<pipeline>/bronze/<topic>/<partition>` | next Kafka offset to consume |
//! | bronze | `medallion/<pipeline>/bronze/seq` | next seq |
//! | silver, rejects | `medallion/<pipeline>/silver/position` | next bronze seq |
//! | silver | `medallion/<pipeline>/silver/watermark` | event-time watermark at that position, microseconds |
//! | silver | `medallion/<pipeline>/silver/begun` | bronze seq at which silver began, where that is not 0 |
//! | gold, late | `medallion/<pipeline>/gold/<table>/position` | next bronze seq folded into the windows |
//! | gold | `medallion/<pipeline>/gold/<table>/closed` | end of the last closed window, microseconds |
//! | events | `medallion/<pipeline>/events/<dataset>/next` | next Delta version of that table to tell of |
//! | every table | the prefix of its app ids and `rows` | rows in the table; put there by the table room |
//! | every table | the prefix and `first`, `before`, `gone` | what was let go: rows below this seq, all older than this, so many |

use crate::source::{PartitionId, Positions};

/// Prefix of the app ids that only the bronze writer uses.
pub fn bronze_prefix(pipeline: &str) -> String {
    format!("medallion/{pipeline}/bronze/")
}

/// App id of the next seq.
pub fn bronze_seq(pipeline: &str) -> String {
    format!("{}{SEQ}", bronze_prefix(pipeline))
}

const SEQ: &str = "seq";

/// App id of a partition's next offset.
pub fn bronze_partition(pipeline: &str, partition: &PartitionId) -> String {
    format!("{}{partition}", bronze_prefix(pipeline))
}

/// The partitions and next offsets among app ids with bronze's prefix taken off.
pub fn positions(txns: Vec<(String, i64)>) -> Positions {
    txns.into_iter()
        .filter_map(|(rest, next)| {
            let (topic, partition) = rest.rsplit_once('/')?;
            let partition = PartitionId {
                topic: topic.to_owned(),
                partition: partition.parse().ok()?,
            };
            Some((partition, next))
        })
        .collect()
}

/// Prefix of the app ids that only the silver writer uses.
pub fn silver_prefix(pipeline: &str) -> String {
    format!("medallion/{pipeline}/silver/")
}

/// App id of silver's and rejects' position.
pub fn silver_position(pipeline: &str) -> String {
    format!("{}position", silver_prefix(pipeline))
}

/// App id of the bronze seq at which silver began: 0 where nothing was let go before it.
pub fn silver_begun(pipeline: &str) -> String {
    format!("{}begun", silver_prefix(pipeline))
}

/// App id of silver's watermark.
pub fn silver_watermark(pipeline: &str) -> String {
    format!("{}watermark", silver_prefix(pipeline))
}

/// Prefix of the app ids that only the writer of this gold table uses.
pub fn gold_prefix(pipeline: &str, table: &str) -> String {
    format!("medallion/{pipeline}/gold/{table}/")
}

/// App id of a gold table's and its late table's position.
pub fn gold_position(pipeline: &str, table: &str) -> String {
    format!("{}position", gold_prefix(pipeline, table))
}

/// App id of the end of the last closed window.
pub fn gold_closed(pipeline: &str, table: &str) -> String {
    format!("{}closed", gold_prefix(pipeline, table))
}

/// Prefix of the app ids that only those who write the events of a pipeline use.
pub fn events_prefix(pipeline: &str) -> String {
    format!("medallion/{pipeline}/events/")
}

/// App id of the next version of a table to tell of; `dataset` is its path within the pipeline: `gold/<table>`.
pub fn events_next(pipeline: &str, dataset: &str) -> String {
    format!("{}{dataset}/next", events_prefix(pipeline))
}

/// Path of the bronze table in the lake.
pub fn bronze_path(pipeline: &str) -> String {
    format!("{pipeline}/bronze")
}

/// Path of the silver table in the lake.
pub fn silver_path(pipeline: &str) -> String {
    format!("{pipeline}/silver")
}

/// Path of the rejects table in the lake.
pub fn rejects_path(pipeline: &str) -> String {
    format!("{pipeline}/rejects")
}

/// Path of a gold table in the lake.
pub fn gold_path(pipeline: &str, table: &str) -> String {
    format!("{pipeline}/gold/{table}")
}

/// Path of a gold table's late rows in the lake.
pub fn late_path(pipeline: &str, table: &str) -> String {
    format!("{pipeline}/late/{table}")
}

/// Path of the table of events in the lake.
pub fn events_path(pipeline: &str) -> String {
    format!("{pipeline}/events")
}

/// A table's path within its pipeline: `bronze`, `gold/<table>`.
pub fn dataset<'a>(pipeline: &str, path: &'a str) -> &'a str {
    let rest = path.strip_prefix(pipeline).and_then(|rest| rest.strip_prefix('/'));
    rest.unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_of_topics_and_of_files_come_back_from_their_app_ids() {
        let partitions = [("view_log", 3), ("data/in/a.ndjson.gz", 0)].map(|(topic, partition)| PartitionId {
            topic: topic.to_owned(),
            partition,
        });
        for partition in partitions {
            let app = bronze_partition("p", &partition);
            let rest = app.strip_prefix(&bronze_prefix("p")).unwrap().to_owned();
            assert_eq!(positions(vec![(rest, 7)]), Positions::from([(partition, 7)]));
        }
        assert_eq!(positions(vec![("seq".to_owned(), 9)]), Positions::new());
    }
}
