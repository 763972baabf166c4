//! `medallion check`.

use super::output;
use super::session::Session;
use crate::definition::SourceKind;
use crate::error::Result;

/// Loads all definitions; their problems are the error.
pub fn check(session: &Session) -> Result<()> {
    let pipelines = session.pipelines(None)?;
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
