//! A gold table's definition compiled against silver's schema: everything that is decided once.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::PhysicalExpr;

use super::accumulate::Call;
use super::columns::{SEQ, WATERMARK};
use super::expression::{calls, columns_read, over_results, over_rows, result_name};
use super::window::Tumbling;
use crate::definition;
use crate::definition::expression::{aggregate_expr, stored};
use crate::error::{Context, Error, Kind, Result};

/// One gold table's definition, ready to be applied to silver rows.
#[derive(Debug)]
pub struct Plan {
    pub(super) table: String,
    pub(super) window: Tumbling,
    /// The late table's column with the window's start.
    pub(super) start: String,
    pub(super) event_time: String,
    /// The group columns in declared order.
    pub(super) groups: SchemaRef,
    /// Encodes group values as bytes in the order of the values.
    pub(super) keys: RowConverter,
    /// The silver columns that groups and aggregates read.
    pub(super) work: SchemaRef,
    /// The aggregate function calls over `work`.
    pub(super) calls: Vec<Call>,
    /// The group columns, then the results of the calls.
    pub(super) results: SchemaRef,
    /// The aggregate columns, as expressions over `results`.
    pub(super) values: Vec<Arc<dyn PhysicalExpr>>,
    /// Where each column of `schema` comes from.
    pub(super) sources: Vec<Source>,
    schema: SchemaRef,
    late_schema: SchemaRef,
}

/// Where a column of the gold table comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The group column with this number.
    Group(usize),
    /// The window's start.
    Start,
    /// The UTC date of the window's start.
    Date,
    /// The aggregate column with this number.
    Value(usize),
}

impl Plan {
    /// Compiles `definition` against the schema of silver, whose event time is the column `event_time`.
    ///
    /// Fails with [`Kind::Definition`] where a column does not exist, an expression is not an aggregate over the rows,
    /// or the result cannot be stored.
    pub fn compile(definition: &definition::Gold, event_time: &str, silver: &SchemaRef) -> Result<Self> {
        Self::compiled(definition, event_time, &stored_schema(silver))
            .map_err(|error| error.context(format!("gold table '{}'", definition.name)))
    }

    fn compiled(definition: &definition::Gold, event_time: &str, silver: &Schema) -> Result<Self> {
        let groups = groups(definition, silver)?;
        let fields = groups.fields().iter();
        let sort_fields = fields.map(|field| SortField::new(field.data_type().clone())).collect();
        let keys = RowConverter::new(sort_fields).or_fail(Kind::Definition, || "group_by")?;

        let schema = definition::gold_columns(definition, silver)?;
        let late_schema = late_schema(definition, event_time, silver, &schema)?;
        let sources = schema.fields().iter().map(|field| source(definition, field));
        let aggregates = Aggregates::compile(definition, silver, &groups)?;
        Ok(Self {
            table: definition.name.clone(),
            window: Tumbling::new(definition)?,
            start: definition.window.start.clone(),
            event_time: event_time.to_owned(),
            groups,
            keys,
            work: aggregates.work,
            calls: aggregates.calls,
            results: aggregates.results,
            values: aggregates.values,
            sources: sources.collect::<Result<_>>()?,
            schema,
            late_schema,
        })
    }

    /// The columns of the gold table, in its declared order, with comments: those of [`definition::gold_schema`].
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The columns of the late table: `_seq`, the window's start, group columns, event time, `_watermark`.
    pub fn late_schema(&self) -> SchemaRef {
        Arc::clone(&self.late_schema)
    }

    /// The silver columns that a batch must have, each once.
    pub fn input_columns(&self) -> Vec<String> {
        let service = [self.event_time.as_str(), SEQ, WATERMARK];
        let work = self.work.fields().iter().map(|field| field.name().as_str());
        let mut seen = HashSet::new();
        let all = service.into_iter().chain(work);
        all.filter(|name| seen.insert(*name)).map(str::to_owned).collect()
    }
}

/// The aggregate columns of a gold table, compiled.
struct Aggregates {
    work: SchemaRef,
    calls: Vec<Call>,
    results: SchemaRef,
    values: Vec<Arc<dyn PhysicalExpr>>,
}

impl Aggregates {
    fn compile(definition: &definition::Gold, silver: &Schema, groups: &Schema) -> Result<Self> {
        let mut exprs = Vec::new();
        for aggregate in &definition.columns {
            exprs.push(aggregate_expr(&aggregate.sql, silver, &definition.group_by)?);
        }
        let work = work_schema(silver, &exprs, groups);

        let found = calls(&exprs);
        let mut calls = Vec::new();
        let mut results = groups.fields().to_vec();
        for (number, expr) in found.iter().enumerate() {
            let call = over_rows(expr, &result_name(number), &work).or_fail(Kind::Definition, || expr)?;
            results.push(Arc::new(call.result().as_ref().clone().with_nullable(true)));
            calls.push(call);
        }
        let results: SchemaRef = Arc::new(Schema::new(results));

        let mut values = Vec::new();
        for (aggregate, expr) in definition.columns.iter().zip(exprs) {
            let value = over_results(expr, &found, &results);
            values.push(value.or_fail(Kind::Definition, || format!("column {:?}", aggregate.name))?);
        }
        Ok(Self {
            work,
            calls,
            results,
            values,
        })
    }
}

/// Silver's schema in the types that tables store, whatever types a reader prefers.
fn stored_schema(silver: &Schema) -> Schema {
    let fields = silver.fields().iter().map(|field| {
        let kind = stored(field.data_type()).unwrap_or_else(|| field.data_type().clone());
        field.as_ref().clone().with_data_type(kind)
    });
    Schema::new(fields.collect::<Vec<_>>())
}

fn silver_column<'a>(silver: &'a Schema, name: &str) -> Result<&'a Field> {
    let field = silver.field_with_name(name);
    field.map_err(|_| Error::new(Kind::Definition, format!("silver has no column {name:?}")))
}

fn groups(definition: &definition::Gold, silver: &Schema) -> Result<SchemaRef> {
    let mut groups = Vec::new();
    for name in &definition.group_by {
        let field = silver_column(silver, name)?;
        if !RowConverter::supports_fields(&[SortField::new(field.data_type().clone())]) {
            let message = format!("rows cannot be grouped by {name:?} of type {}", field.data_type());
            return Err(Error::new(Kind::Definition, message));
        }
        groups.push(field.clone());
    }
    Ok(Arc::new(Schema::new(groups)))
}

/// The silver columns that group columns and `exprs` read, in silver's order.
fn work_schema(silver: &Schema, exprs: &[Expr], groups: &Schema) -> SchemaRef {
    let read = columns_read(exprs);
    let fields = silver.fields().iter().filter(|field| {
        let name = field.name();
        read.contains(name) || groups.field_with_name(name).is_ok()
    });
    // What is null is up to the rows: a wrong promise of the schema must not become a wrong result.
    let fields = fields.map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Where the gold table's column `field` comes from.
fn source(definition: &definition::Gold, field: &Field) -> Result<Source> {
    let name = field.name();
    let group = definition.group_by.iter().position(|group| group == name);
    let value = definition.columns.iter().position(|column| column.name == *name);
    let mut sources = Vec::new();
    sources.extend(group.map(Source::Group));
    sources.extend((definition.window.start == *name).then_some(Source::Start));
    sources.extend((definition.window.date.as_ref() == Some(name)).then_some(Source::Date));
    sources.extend(value.map(Source::Value));
    match sources.as_slice() {
        [source] => Ok(*source),
        _ => Err(Error::new(Kind::Definition, format!("two columns are named {name:?}"))),
    }
}

fn late_schema(definition: &definition::Gold, event_time: &str, silver: &Schema, gold: &Schema) -> Result<SchemaRef> {
    let event = silver_column(silver, event_time)?;
    if !matches!(event.data_type(), DataType::Timestamp(..)) {
        let message = format!("the event time {event_time:?} is not a timestamp");
        return Err(Error::new(Kind::Definition, message));
    }
    let start = definition.window.start.as_str();
    if [event_time, SEQ, WATERMARK].contains(&start) {
        let message = format!("the window's start cannot be named {start:?}: late rows have that column too");
        return Err(Error::new(Kind::Definition, message));
    }
    let mut columns: Vec<FieldRef> = vec![Arc::new(silver_column(silver, SEQ)?.clone())];
    columns.extend(gold.fields().find(start).map(|(_, field)| Arc::clone(field)));
    for group in &definition.group_by {
        columns.push(Arc::new(silver_column(silver, group)?.clone()));
    }
    columns.push(Arc::new(event.clone()));
    columns.push(Arc::new(silver_column(silver, WATERMARK)?.clone()));
    let mut names = HashSet::new();
    columns.retain(|field| names.insert(field.name().clone()));
    Ok(Arc::new(Schema::new(columns)))
}
