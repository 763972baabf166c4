//! All that an operator asks of a pipeline at a glance: where its layers are, what became of the records, and the newest of what
//! was refused and of what was computed. `status` prints it, the status page shows it.

use std::cmp::Reverse;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use serde::Serialize;
use serde_json::Value;

use super::history::{History, Minute};
use super::standing::{self, Standing, Tables};
use super::{names, totals};
use crate::clock::rfc3339;
use crate::definition::{Pipeline, gold_schema};
use crate::error::{Context, Error, Kind, Result};
use crate::layer::silver::{Fates, Reason, rejects_schema};
use crate::run::health::{Health, State, Trouble};
use crate::table::{Lake, Reader};

/// Rejects shown, and rows of each gold table.
const NEWEST: usize = 10;
/// Characters of a payload that are shown.
const VALUE: usize = 300;

/// A pipeline at a glance.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Overview {
    /// Its name.
    pub pipeline: String,
    /// What is wrong with its source, where that was asked, or with its tables, where they cannot be read.
    pub trouble: Option<String>,
    /// What to do about that.
    pub next: Option<String>,
    /// Its layers that exist.
    pub layers: Vec<Layer>,
    /// What became of the records; none before silver's first commit.
    pub quality: Option<Quality>,
    /// Rejects, the newest first.
    pub rejects: Vec<Rejected>,
    /// Each gold table's newest rows.
    pub gold: Vec<Newest>,
    /// How the layers fare that run in this process; none of a process that only looks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fares: Vec<Fare>,
    /// The last hour of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Minute>,
}

/// A layer's table.
#[derive(Debug, Clone, Serialize)]
pub struct Layer {
    /// `bronze`, `silver` or `gold`.
    pub kind: &'static str,
    /// Where it stands.
    #[serde(flatten)]
    pub standing: Standing,
}

/// How a layer fares.
#[derive(Debug, Clone, Serialize)]
pub struct Fare {
    /// The layer.
    pub layer: &'static str,
    /// What it is doing.
    pub state: State,
    /// Since when, RFC 3339.
    pub since: String,
    /// What is wrong, where it is not well.
    #[serde(flatten)]
    pub trouble: Option<Trouble>,
}

/// What became of the records below silver's position.
#[derive(Debug, Clone, Serialize)]
pub struct Quality {
    /// Records in all.
    pub records: u64,
    /// The sums of their fates.
    #[serde(flatten)]
    pub fates: Fates,
}

impl Quality {
    /// How many records had which fate.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let rejected = Reason::ALL.map(|reason| (reason.word(), self.fates.of(reason)));
        [("accepted", self.fates.accepted)].into_iter().chain(rejected)
    }
}

/// A row of rejects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// Its record's seq.
    pub seq: i64,
    /// Why.
    pub reason: String,
    /// The rules that it failed.
    pub rules: Vec<String>,
    /// In words.
    pub detail: String,
    /// The record's topic and partition.
    pub partition: String,
    /// Its offset.
    pub offset: Option<i64>,
    /// Its payload, the beginning of it, where it is kept.
    pub value: Option<String>,
}

/// Newest rows of a gold table.
#[derive(Debug, Clone, Serialize)]
pub struct Newest {
    /// The table.
    pub table: String,
    /// Its columns.
    pub columns: Vec<String>,
    /// The rows, an object each; what is null is left out.
    pub rows: Vec<Value>,
}

/// The overview of a pipeline by its tables.
///
/// # Errors
/// Those of reading the tables.
pub async fn of(lake: &Lake, pipeline: &Pipeline) -> Result<Overview> {
    let name = &pipeline.name;
    let tables = Tables::open(lake, pipeline).await?;
    let standings = standing::of_tables(&tables, name, lake.clock().now()).await?;
    let layers = standings.into_iter().map(|standing| Layer {
        kind: match standing.layer.as_str() {
            "bronze" => "bronze",
            "silver" => "silver",
            _ => "gold",
        },
        standing,
    });
    let mut overview = Overview {
        pipeline: name.clone(),
        layers: layers.collect(),
        quality: match &tables.silver {
            Some(silver) => quality(silver).await?,
            None => None,
        },
        ..Overview::default()
    };
    if let Some(reader) = Reader::open(lake, &names::rejects_path(name), rejects_schema(), "seq").await? {
        overview.rejects = rejected(&reader.newest(NEWEST).await?);
        overview.rejects.sort_by_key(|row| Reverse(row.seq));
    }
    for (definition, gold) in &tables.gold {
        let schema = gold_schema(definition, &pipeline.silver)?;
        overview.gold.push(Newest {
            table: definition.name.clone(),
            columns: schema.fields().iter().map(|field| field.name().clone()).collect(),
            rows: objects(&gold.newest(NEWEST).await?)?,
        });
    }
    Ok(overview)
}

impl Overview {
    /// The overview of a pipeline whose tables cannot be read.
    pub fn unread(pipeline: &Pipeline, error: &Error) -> Self {
        Self {
            pipeline: pipeline.name.clone(),
            ..Self::default()
        }
        .in_trouble(error)
    }

    /// The overview of a pipeline with whose source or tables something is wrong.
    #[must_use]
    pub fn in_trouble(self, error: &Error) -> Self {
        Self {
            trouble: Some(error.what()),
            next: Some(error.advice().to_owned()),
            ..self
        }
    }

    /// The overview with what only the process that runs the layers knows.
    #[must_use]
    pub fn seen_from_within(mut self, lake: &Lake, health: &Health, history: &History) -> Self {
        let all = health.all().into_iter();
        let ours = all.filter(|((pipeline, _), _)| *pipeline == self.pipeline);
        self.fares = ours
            .map(|((_, layer), fare)| Fare {
                layer,
                state: fare.state,
                since: rfc3339(fare.since),
                trouble: fare.trouble,
            })
            .collect();
        self.history = history.of(&self.pipeline, lake.clock().now());
        self
    }
}

async fn quality(silver: &Reader) -> Result<Option<Quality>> {
    let fates = totals::in_info(silver.state().await?.as_ref());
    Ok(fates.map(|fates| Quality {
        records: fates.records(),
        fates,
    }))
}

fn rejected(rows: &RecordBatch) -> Vec<Rejected> {
    let text = |name: &str, row: usize| {
        let column = rows.column_by_name(name)?.as_string_opt::<i32>()?;
        column.is_valid(row).then(|| column.value(row).to_owned())
    };
    let long = |name: &str, row: usize| {
        let column = rows.column_by_name(name)?.as_primitive_opt::<Int64Type>()?;
        column.is_valid(row).then(|| column.value(row))
    };
    let partition = |row: usize| {
        let column = rows.column_by_name("partition")?.as_primitive_opt::<Int32Type>()?;
        column.is_valid(row).then(|| column.value(row))
    };
    let value = |row: usize| {
        let column = rows.column_by_name("value")?.as_binary_opt::<i32>()?;
        let shown = || String::from_utf8_lossy(column.value(row)).chars().take(VALUE).collect();
        column.is_valid(row).then(shown)
    };
    let rules = |row: usize| -> Option<Vec<String>> {
        let list = rows.column_by_name("rules")?.as_list_opt::<i32>()?;
        let rules = list.is_valid(row).then(|| list.value(row))?;
        let rules = rules.as_string_opt::<i32>()?;
        Some(rules.iter().flatten().map(str::to_owned).collect())
    };
    (0..rows.num_rows())
        .map(|row| Rejected {
            seq: long("seq", row).unwrap_or_default(),
            reason: text("reason", row).unwrap_or_default(),
            rules: rules(row).unwrap_or_default(),
            detail: text("detail", row).unwrap_or_default(),
            partition: format!(
                "{}/{}",
                text("topic", row).unwrap_or_default(),
                partition(row).unwrap_or_default()
            ),
            offset: long("offset", row),
            value: value(row),
        })
        .collect()
}

/// Rows as JSON objects.
fn objects(rows: &RecordBatch) -> Result<Vec<Value>> {
    let what = || "writing rows as JSON";
    let mut writer = arrow::json::ArrayWriter::new(Vec::new());
    writer.write(rows).or_fail(Kind::Bug, what)?;
    writer.finish().or_fail(Kind::Bug, what)?;
    let text = writer.into_inner();
    match text.is_empty() {
        true => Ok(Vec::new()),
        false => serde_json::from_slice(&text).or_fail(Kind::Bug, what),
    }
}
