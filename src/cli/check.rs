//! `medallion check`.

use super::output;
use super::session::Session;
use crate::definition::{Pipeline, SourceKind};
use crate::error::Result;

const YEAR_SECONDS: u64 = 365 * 86_400;
/// Windows of a year from which on a partition for each of them is worth a word.
const MANY: u64 = 10_000;

/// Loads all definitions; their problems are the error.
pub fn check(session: &Session) -> Result<()> {
    let pipelines = session.pipelines(None)?;
    pipelines.iter().for_each(warn_of_many_files);
    if session.json() {
        let names: Vec<&str> = pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect();
        return output::json(&serde_json::json!({ "pipelines": names }));
    }
    for pipeline in &pipelines {
        let source = match &pipeline.bronze.source {
            SourceKind::Kafka(kafka) => format!("topic {} on {}", kafka.topic, kafka.brokers),
            SourceKind::Files(files) => format!("files {}", files.paths.join(", ")),
        };
        let gold: Vec<&str> = pipeline.gold.iter().map(|gold| gold.name.as_str()).collect();
        output::line(format!(
            "{}: ok ({source}; {} columns, {} rules; gold {})",
            pipeline.name,
            pipeline.silver.contract.fields.len(),
            pipeline.silver.expects.len(),
            gold.join(", ")
        ))?;
    }
    Ok(())
}

/// Says which gold tables will have files without end, which maintenance cannot merge.
fn warn_of_many_files(pipeline: &Pipeline) {
    for gold in &pipeline.gold {
        let windows = YEAR_SECONDS / gold.window.length.as_secs().max(1);
        if gold.partition_by.contains(&gold.window.start) && windows >= MANY {
            tracing::warn!(
                pipeline = pipeline.name,
                table = gold.name,
                windows_a_year = windows,
                "a partition per window has a file of its own for ever; with window = {{ ..., date = \"date\" }} and that column in \
                 partition_by instead of {}, maintenance makes it one a day",
                gold.window.start
            );
        }
    }
}
