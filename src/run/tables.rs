//! A pipeline's tables as their layers want them.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Layer, events, names};
use crate::definition::{Gold, Pipeline, Silver, changes, describe_gold, describe_silver};
use crate::error::{Error, Kind, Result};
use crate::layer::{bronze, gold, silver};
use crate::table::{Table, TableSpec};

/// Silver's seq column, and that of the late tables.
pub const SEQ: &str = "_seq";

/// Bronze: append-only, by ingest date.
pub fn bronze(pipeline: &str) -> TableSpec {
    TableSpec {
        path: names::bronze_path(pipeline),
        comment: format!("Every record of {pipeline} as it came, with its offset, and the ticks"),
        schema: bronze::schema(),
        partition_by: vec!["ingest_date".to_owned()],
        seq_column: Some("seq".to_owned()),
        append_only: true,
        app_prefix: names::bronze_prefix(pipeline),
        fingerprint: String::new(),
        definition: Vec::new(),
        generation: String::new(),
        upstream: String::new(),
    }
}

/// What was done to the tables, by day.
pub fn events(pipeline: &str) -> TableSpec {
    TableSpec {
        path: names::events_path(pipeline),
        comment: format!("What was done to the tables of {pipeline}, a row per commit, as their logs tell it"),
        schema: events::schema(),
        partition_by: vec![events::DATE.to_owned()],
        seq_column: None,
        app_prefix: names::events_prefix(pipeline),
        ..bronze(pipeline)
    }
}

/// A fresh generation id for a table's content.
pub fn generation() -> String {
    Uuid::new_v4().simple().to_string()
}

/// Silver and rejects, which are always of one generation.
pub fn silver(pipeline: &str, definition: &Silver, plan: &silver::Plan, generation: &str) -> (TableSpec, TableSpec) {
    let silver = TableSpec {
        path: names::silver_path(pipeline),
        comment: format!(
            "Valid, deduplicated, enriched events of {pipeline}: {}",
            definition.contract.description
        ),
        schema: plan.schema(),
        partition_by: definition.partition_by.clone(),
        seq_column: Some(SEQ.to_owned()),
        append_only: false,
        app_prefix: names::silver_prefix(pipeline),
        fingerprint: definition.fingerprint.clone(),
        definition: describe_silver(definition),
        generation: generation.to_owned(),
        upstream: String::new(),
    };
    let rejects = TableSpec {
        path: names::rejects_path(pipeline),
        comment: format!("Records of {pipeline} that did not become silver rows, with the reason"),
        schema: silver::rejects_schema(),
        partition_by: vec!["ingest_date".to_owned()],
        seq_column: Some("seq".to_owned()),
        upstream: generation.to_owned(),
        ..silver.clone()
    };
    (silver, rejects)
}

/// A gold table and its late rows.
///
/// # Errors
/// Those of compiling the definition.
pub fn gold(
    pipeline: &Pipeline,
    definition: &Gold,
    plan: &gold::Plan,
    upstream: &str,
) -> Result<(TableSpec, TableSpec)> {
    let gold = TableSpec {
        path: names::gold_path(&pipeline.name, &definition.name),
        comment: definition.description.clone(),
        schema: plan.schema(),
        partition_by: definition.partition_by.clone(),
        seq_column: None,
        append_only: false,
        app_prefix: names::gold_prefix(&pipeline.name, &definition.name),
        fingerprint: definition.fingerprint.clone(),
        definition: describe_gold(definition, &pipeline.silver),
        generation: generation(),
        upstream: upstream.to_owned(),
    };
    let late = TableSpec {
        path: names::late_path(&pipeline.name, &definition.name),
        comment: format!("Rows that came after their window of {} had closed", definition.name),
        schema: plan.late_schema(),
        partition_by: Vec::new(),
        seq_column: Some(SEQ.to_owned()),
        ..gold.clone()
    };
    Ok((gold, late))
}

/// Refuses a table that another definition wrote, naming what changed, or adopts the definition from here on.
///
/// Errors: [`Kind::Definition`] where it is refused.
pub async fn same_definition(table: &mut Table, adopt: bool, position: i64, closed: Option<i64>) -> Result<()> {
    let wanted = table.spec().clone();
    if table.stored().fingerprint.as_deref() == Some(wanted.fingerprint.as_str()) {
        return Ok(());
    }
    let stored: BTreeMap<String, String> = table
        .stored()
        .definition
        .as_deref()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let stored: Vec<(String, String)> = stored.into_iter().collect();
    let changed = changes(&stored, &wanted.definition);
    if adopt {
        // A window that has closed under the old rule could be open under the new one: its rows would have no place.
        let timing = ["window.tumbling", "watermark:", "silver.event_time"];
        if let Some(change) = changed
            .iter()
            .find(|change| timing.iter().any(|key| change.starts_with(key)))
        {
            return Err(Error::new(
                Kind::Definition,
                format!(
                    "{} cannot keep its rows under a changed window or watermark: {change}",
                    wanted.path
                ),
            )
            .with_next("`medallion replay gold` rebuilds it with the new definition"));
        }
        table.adopt_definition(position, closed).await?;
        tracing::info!(
            table = wanted.path,
            position,
            "the changed definition applies from here on"
        );
        return Ok(());
    }
    let changed = if changed.is_empty() {
        "the way it is read".to_owned()
    } else {
        changed.join("; ")
    };
    Err(Error::new(
        Kind::Definition,
        format!("another definition wrote {}; what changed: {changed}", wanted.path),
    )
    .with_next(
        "`medallion replay` rebuilds history with the new definition; `medallion run --apply-from-here` keeps \
         history and applies it to new rows only",
    ))
}

/// Every table of a pipeline.
///
/// # Errors
/// Those of compiling the definition.
pub fn all(pipeline: &Pipeline) -> Result<Vec<TableSpec>> {
    of_layer(pipeline, None)
}

/// The tables that a layer writes; without one every table of the pipeline.
///
/// # Errors
/// Those of compiling the definition.
pub fn of_layer(pipeline: &Pipeline, layer: Option<Layer>) -> Result<Vec<TableSpec>> {
    let wanted = |this| layer.is_none_or(|layer| layer == this);
    let plan = silver::Plan::compile(&pipeline.silver)?;
    let mut specs = Vec::new();
    if wanted(Layer::Bronze) {
        specs.push(bronze(&pipeline.name));
    }
    if wanted(Layer::Silver) {
        let (silver_table, rejects) = silver(&pipeline.name, &pipeline.silver, &plan, "");
        specs.extend([silver_table, rejects]);
    }
    if wanted(Layer::Gold) {
        for definition in &pipeline.gold {
            let plan = gold::Plan::compile(definition, &pipeline.silver.event_time, &plan.schema())?;
            let (gold_table, late) = gold(pipeline, definition, &plan, "")?;
            specs.extend([gold_table, late]);
        }
    }
    specs.push(events(&pipeline.name));
    Ok(specs)
}
