//! Opening a pipeline's source at bronze's positions, and proving first that it is still the same source.

use std::collections::BTreeMap;
use std::path::Path;

use super::bronze::{LastRecord, last_records, positions};
use crate::definition::{Pipeline, SourceKind};
use crate::error::Result;
use crate::source::files::FileSource;
use crate::source::kafka::KafkaSource;
use crate::source::{Loss, LossReason, PartitionId, Positions, RecordDigest, Source, TopicId, loss_error};
use crate::table::Table;

/// The source of `pipeline`, from the positions that `table` holds.
///
/// Errors: [`crate::error::Kind::DataLoss`] where records between our position and the source's are missing or the
/// source is another one under the same name; it stays so over restarts until `accept-gap` records the loss.
pub fn source(pipeline: &Pipeline, project: &Path, table: &Table) -> Result<Box<dyn Source>> {
    let start = positions(table, &pipeline.name);
    // What is read from now on is of the topic in which the fingerprints were found.
    let (replaced, topic) = replaced(pipeline, project, table, &start)?;
    let source = match &pipeline.bronze.source {
        SourceKind::Kafka(kafka) => KafkaSource::resume(&pipeline.name, kafka, &start, topic)?,
        SourceKind::Files(files) => FileSource::open(&pipeline.name, project, files, &start)?,
    };
    match loss_error(&pipeline.name, &replaced) {
        None => Ok(source),
        Some(error) => Err(error),
    }
}

/// The source of `pipeline` from its start.
pub fn fresh_source(pipeline: &Pipeline, project: &Path) -> Result<Box<dyn Source>> {
    let start = Positions::new();
    match &pipeline.bronze.source {
        SourceKind::Kafka(kafka) => KafkaSource::open(&pipeline.name, kafka, &start),
        SourceKind::Files(files) => FileSource::open(&pipeline.name, project, files, &start),
    }
}

/// What is missing for a reader at bronze's positions, replaced partitions included; empty where nothing is.
pub fn losses(pipeline: &Pipeline, project: &Path, table: &Table) -> Result<Vec<Loss>> {
    let start = positions(table, &pipeline.name);
    let mut losses = match &pipeline.bronze.source {
        SourceKind::Kafka(kafka) => KafkaSource::losses(kafka, &start)?,
        SourceKind::Files(files) => FileSource::losses(project, files, &start)?,
    };
    // One partition of a re-created topic may end before our offset and the next after it: one answer names both.
    let (mut replaced, _) = replaced(pipeline, project, table, &start)?;
    replaced.retain(|found| losses.iter().all(|loss| loss.partition != found.partition));
    losses.append(&mut replaced);
    losses.sort_by(|a, b| a.partition.cmp(&b.partition));
    Ok(losses)
}

/// Partitions whose record before our position is another one than bronze has: offsets alone cannot tell. And the topic
/// that was looked at, where it has an id.
fn replaced(
    pipeline: &Pipeline,
    project: &Path,
    table: &Table,
    start: &Positions,
) -> Result<(Vec<Loss>, Option<TopicId>)> {
    let mut remembered = last_records(table);
    let mut known: BTreeMap<PartitionId, LastRecord> = start
        .keys()
        .filter_map(|id| Some((id.clone(), remembered.remove(&id.to_string())?)))
        .collect();
    let (there, topic) = match &pipeline.bronze.source {
        SourceKind::Kafka(kafka) => {
            // What was read of a topic declared before is none of this one's business.
            known.retain(|id, _| id.topic == kafka.topic);
            let wanted: Vec<_> = known.iter().map(|(id, last)| (id.clone(), last.offset)).collect();
            let seen = KafkaSource::read_many(kafka, &wanted)?;
            (seen.records, seen.topic)
        }
        SourceKind::Files(_) => (lines(project, &known)?, None),
    };
    let other: Vec<PartitionId> = known
        .into_iter()
        .filter(|(id, last)| last.replaced(there.get(id), topic.as_ref()))
        .map(|(id, _)| id)
        .collect();
    if other.is_empty() {
        return Ok((Vec::new(), topic));
    }
    let first = match &pipeline.bronze.source {
        SourceKind::Kafka(kafka) => KafkaSource::first_offsets(kafka)?,
        SourceKind::Files(_) => Positions::new(),
    };
    let loss = |partition: PartitionId| Loss {
        from: start.get(&partition).copied().unwrap_or(0),
        to: first.get(&partition).copied().unwrap_or(0),
        reason: LossReason::Replaced,
        partition,
    };
    Ok((other.into_iter().map(loss).collect(), topic))
}

/// The lines of the files that are remembered as last, as they are now.
fn lines(project: &Path, known: &BTreeMap<PartitionId, LastRecord>) -> Result<BTreeMap<PartitionId, RecordDigest>> {
    let mut lines = BTreeMap::new();
    for (id, last) in known {
        if let Some(found) = FileSource::read_one(project, id, last.offset)? {
            lines.insert(id.clone(), found);
        }
    }
    Ok(lines)
}
