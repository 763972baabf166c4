//! Bronze: dense seqs, ascending offsets, positions where the rows end.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};

use super::{Progress, Report};
use crate::definition::Pipeline;
use crate::error::{Error, Kind, Result};
use crate::layer::bronze::{Reason, Tick, schema};
use crate::run::{chunks, names};
use crate::source::PartitionId;
use crate::table::{Lake, Reader};

/// What has been seen so far.
#[derive(Default)]
struct Walk {
    next_seq: i64,
    /// Per partition the offset that the next record must reach at least.
    next_offset: BTreeMap<(String, i32), i64>,
    broken: bool,
}

/// Returns whether the rows are dense, so that the layers after can be recomputed from them.
pub(super) async fn audit(
    lake: &Lake,
    pipeline: &Pipeline,
    progress: Progress<'_>,
    report: &mut Report,
) -> Result<bool> {
    let path = names::bronze_path(&pipeline.name);
    let Some(reader) = Reader::open(lake, &path, schema(), "seq").await? else {
        return Ok(true);
    };
    report.tables += 1;
    let head = reader.txn(&names::bronze_seq(&pipeline.name)).unwrap_or(0);
    report.none_touched(&reader, &path).await?;
    report.none_past(&reader, &path, head, "seq").await?;
    let columns = ["seq", "kind", "topic", "partition", "offset", "value"].map(str::to_owned);
    report.kept_from = reader.first();
    let mut walk = Walk {
        next_seq: reader.first(),
        ..Walk::default()
    };
    chunks::each(&reader, reader.first(), head, &columns, i64::MIN, |_, to, rows| {
        if !walk.broken {
            walk.rows(rows, &path, report)?;
        }
        if !walk.broken && walk.next_seq != to {
            walk.broken = true;
            report.find(&path, format!("seq {} is missing", walk.next_seq));
        }
        progress(&path, to, head);
        Ok(())
    })
    .await?;
    let positions = names::positions(reader.txns_under(&names::bronze_prefix(&pipeline.name)));
    for ((topic, partition), next) in walk.next_offset {
        let partition = PartitionId::new(topic, partition);
        let position = positions.get(&partition).copied().unwrap_or(0);
        if position < next {
            report.find(
                &path,
                format!(
                    "position {position} of {partition} is below its last record {}",
                    next - 1
                ),
            );
        }
    }
    Ok(!walk.broken)
}

impl Walk {
    fn rows(&mut self, rows: &RecordBatch, path: &str, report: &mut Report) -> Result<()> {
        let lacking = || Error::new(Kind::Damaged, "bronze lacks a column");
        let column = |name: &str| rows.column_by_name(name).ok_or_else(lacking);
        let seqs = column("seq")?.as_primitive::<Int64Type>();
        let kinds = column("kind")?.as_string::<i32>();
        let topics = column("topic")?.as_string::<i32>();
        let partitions = column("partition")?.as_primitive::<Int32Type>();
        let offsets = column("offset")?.as_primitive::<Int64Type>();
        let values = column("value")?.as_binary::<i32>();
        for row in 0..rows.num_rows() {
            let seq = seqs.value(row);
            if seq != self.next_seq {
                let what = if seq < self.next_seq {
                    "is there twice"
                } else {
                    "comes where another should"
                };
                report.find(path, format!("seq {seq} {what}; {} was next", self.next_seq));
                self.broken = true;
                return Ok(());
            }
            self.next_seq += 1;
            if kinds.value(row) == "tick" {
                self.tick(values.value(row), seq, path, report);
                continue;
            }
            let (topic, partition, offset) = (topics.value(row), partitions.value(row), offsets.value(row));
            // Looked up by reference first: a key is made only for a partition not seen before.
            let next = match self.next_offset.get_mut(&(topic.to_owned(), partition)) {
                Some(next) => next,
                // Where a topic begins that has lost its beginning before we came is nobody's hole.
                None => self.next_offset.entry((topic.to_owned(), partition)).or_insert(offset),
            };
            if offset < *next {
                report.find(
                    path,
                    format!("offset {offset} of {topic}/{partition} at seq {seq} is not above the one before"),
                );
                self.broken = true;
                return Ok(());
            }
            report.holes += i64::from(offset > *next);
            report.offsets_without_record += offset - *next;
            *next = offset + 1;
        }
        Ok(())
    }

    fn tick(&mut self, value: &[u8], seq: i64, path: &str, report: &mut Report) {
        let Ok(tick) = serde_json::from_slice::<Tick>(value) else {
            report.find(path, format!("the tick at seq {seq} is not readable"));
            return;
        };
        if let (Reason::Gap, Some(gap)) = (tick.reason, tick.gap) {
            report.gaps.push(gap.to_string());
            if let Some((topic, partition)) = gap.partition.rsplit_once('/')
                && let Ok(partition) = partition.parse()
            {
                // After a gap that was accepted the offsets go on from where the operator was told.
                let before = self.next_offset.insert((topic.to_owned(), partition), gap.to);
                if before.is_some_and(|next| gap.from < next) {
                    report.find(
                        path,
                        format!("the gap {gap} accepted at seq {seq} covers records that are there"),
                    );
                }
            }
        }
    }
}
