//! Opening a pipeline's source at bronze's positions, and proving first that it is still the same source.

use std::path::Path;

use super::bronze::{LastRecord, last_records, positions};
use crate::definition::{KafkaSource as KafkaDefinition, Pipeline, SourceKind};
use crate::error::{Error, Kind, Result};
use crate::source::files::FileSource;
use crate::source::kafka::KafkaSource;
use crate::source::{Loss, LossReason, PartitionId, Positions, Source};
use crate::table::Table;

/// The source of `pipeline`, from the positions that `table` holds.
///
/// Errors: [`Kind::DataLoss`] where records between our position and the source's are missing or the source is
/// another one under the same name; it stays so over restarts until `accept-gap` records the loss.
pub fn source(pipeline: &Pipeline, project: &Path, table: &Table) -> Result<Box<dyn Source>> {
    let start = positions(table, &pipeline.name);
    let source = match &pipeline.bronze.source {
        SourceKind::Kafka(kafka) => KafkaSource::open(&pipeline.name, kafka, &start)?,
        SourceKind::Files(files) => FileSource::open(&pipeline.name, project, files, &start)?,
    };
    let replaced = replaced(pipeline, project, table, &start)?;
    match replaced.first() {
        None => Ok(source),
        Some(loss) => Err(Error::new(
            Kind::DataLoss,
            format!(
                "{} was replaced: the record before offset {} is not the one that bronze has (topic re-created?)",
                loss.partition, loss.from
            ),
        )
        .with_next(format!(
            "`medallion accept-gap -p {}` records that and reads the new content from its start",
            pipeline.name
        ))),
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
    let missing = match &pipeline.bronze.source {
        SourceKind::Kafka(kafka) => KafkaSource::losses(kafka, &start)?,
        SourceKind::Files(files) => FileSource::losses(project, files, &start)?,
    };
    if missing.is_empty() {
        return replaced(pipeline, project, table, &start);
    }
    Ok(missing)
}

/// Partitions whose record before our position is another one than bronze has: offsets alone cannot tell.
fn replaced(pipeline: &Pipeline, project: &Path, table: &Table, start: &Positions) -> Result<Vec<Loss>> {
    let remembered = last_records(table);
    let mut losses = Vec::new();
    for (partition, next) in start {
        let Some(last) = remembered.get(&partition.to_string()) else {
            continue;
        };
        if is_replaced(pipeline, project, partition, last)? {
            losses.push(Loss {
                partition: partition.clone(),
                from: *next,
                to: 0,
                reason: LossReason::Recreated,
            });
        }
    }
    Ok(losses)
}

fn is_replaced(pipeline: &Pipeline, project: &Path, partition: &PartitionId, last: &LastRecord) -> Result<bool> {
    let found = match &pipeline.bronze.source {
        // A partition of a topic that is no longer declared has nothing to say about the one that is.
        SourceKind::Kafka(KafkaDefinition { topic, .. }) if *topic != partition.topic => return Ok(false),
        SourceKind::Kafka(kafka) => KafkaSource::read_one(kafka, partition, last.offset)?,
        SourceKind::Files(_) => FileSource::read_one(project, partition, last.offset)?,
    };
    Ok(found.is_some_and(|found| found != last.digest))
}
