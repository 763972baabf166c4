//! A gold table's definition compiled against silver's schema: everything that is decided once.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::PhysicalExpr;

use super::accumulate::Call;
use super::columns::{SEQ, WATERMARK, column, comment, stored_type, timestamp};
use super::expression::{Planner, calls, columns_read, over_results, result_name};
use super::window::Tumbling;
use crate::definition::{self, Aggregate};
use crate::error::{Context, Error, Kind, Result};

/// One gold table's definition, ready to be applied to silver rows.
#[derive(Debug)]
pub struct Plan {
    pub(super) table: String,
    pub(super) window: Tumbling,
    pub(super) event_time: String,
    /// The group columns in declared order, in the types of the gold table.
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
        let wrong =
            |message: String| Error::new(Kind::Definition, format!("gold table '{}': {message}", definition.name));
        let silver_column = |name: &str| {
            let field = silver.field_with_name(name);
            field.map_err(|_| wrong(format!("silver has no column '{name}'")))
        };
        if !matches!(silver_column(event_time)?.data_type(), DataType::Timestamp(..)) {
            return Err(wrong(format!("the event time '{event_time}' is not a timestamp")));
        }
        let start = definition.window.start.as_str();
        if [event_time, SEQ, WATERMARK].contains(&start) {
            return Err(wrong(format!(
                "the window's start cannot be named '{start}': late rows have that column too"
            )));
        }
        let mut groups = Vec::new();
        for name in &definition.group_by {
            let field = silver_column(name)?;
            let kind = stored_type(field.data_type())
                .filter(|kind| RowConverter::supports_fields(&[SortField::new(kind.clone())]))
                .ok_or_else(|| {
                    wrong(format!(
                        "rows cannot be grouped by '{name}' of type {}",
                        field.data_type()
                    ))
                })?;
            groups.push(column(name, kind, field.is_nullable(), comment(field)));
        }
        let sort_fields = groups.iter().map(|field| SortField::new(field.data_type().clone()));
        let keys = RowConverter::new(sort_fields.collect()).or_fail(Kind::Definition, || "group columns")?;

        let aggregates = Aggregates::compile(definition, silver, &groups)?;
        let (schema, sources) = aggregates.output(definition, &groups)?;
        let late_schema = late_schema(
            definition,
            silver_column(event_time)?,
            silver_column(WATERMARK)?,
            &groups,
        );
        silver_column(SEQ)?;
        Ok(Self {
            table: definition.name.clone(),
            window: Tumbling::new(definition)?,
            event_time: event_time.to_owned(),
            groups: Arc::new(Schema::new(groups)),
            keys,
            work: aggregates.work,
            calls: aggregates.calls,
            results: aggregates.results,
            values: aggregates.values,
            sources,
            schema,
            late_schema,
        })
    }

    /// The columns of the gold table, in its declared order, with comments.
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

    /// The name of the column with the window's start.
    pub(super) fn is_start(&self, field: &Field) -> bool {
        let at = self.sources.iter().position(|source| *source == Source::Start);
        at.is_some_and(|at| self.schema.field(at).name() == field.name())
    }
}

/// The aggregate columns of a gold table, compiled.
struct Aggregates {
    work: SchemaRef,
    calls: Vec<Call>,
    results: SchemaRef,
    values: Vec<Arc<dyn PhysicalExpr>>,
    columns: Vec<FieldRef>,
}

impl Aggregates {
    fn compile(definition: &definition::Gold, silver: &SchemaRef, groups: &[FieldRef]) -> Result<Self> {
        let planner = Planner::new();
        let place = |aggregate: &Aggregate| format!("gold table '{}', column '{}'", definition.name, aggregate.name);
        let all = df_schema(silver)?;
        let mut exprs = Vec::new();
        for aggregate in &definition.columns {
            exprs.push(
                planner
                    .parse(&aggregate.sql, &all)
                    .or_fail(Kind::Definition, || place(aggregate))?,
            );
        }
        let work = work_schema(silver, &exprs, groups);
        let rows = df_schema(&work)?;

        let found = calls(&exprs);
        let mut compiled = Vec::new();
        let mut results = groups.to_vec();
        for (number, expr) in found.iter().enumerate() {
            let name = result_name(number);
            let call = planner
                .call(expr, &name, &rows, &work)
                .or_fail(Kind::Definition, || format!("gold table '{}', {expr}", definition.name))?;
            results.push(Arc::new(call.result().as_ref().clone().with_nullable(true)));
            compiled.push(call);
        }
        let results: SchemaRef = Arc::new(Schema::new(results));
        let over = df_schema(&results)?;

        let mut values = Vec::new();
        let mut columns = Vec::new();
        for (aggregate, expr) in definition.columns.iter().zip(exprs) {
            let (value, kind) =
                compile_value(&planner, expr, &found, &over).map_err(|error| error.context(place(aggregate)))?;
            values.push(value);
            columns.push(column(&aggregate.name, kind, true, &aggregate.description));
        }
        Ok(Self {
            work,
            calls: compiled,
            results,
            values,
            columns,
        })
    }

    /// The columns of the gold table in declared order, and where they come from.
    fn output(&self, definition: &definition::Gold, groups: &[FieldRef]) -> Result<(SchemaRef, Vec<Source>)> {
        let wrong =
            |message: String| Error::new(Kind::Definition, format!("gold table '{}': {message}", definition.name));
        let mut columns: Vec<(FieldRef, Source)> = Vec::new();
        columns.extend(
            groups
                .iter()
                .enumerate()
                .map(|(number, field)| (Arc::clone(field), Source::Group(number))),
        );
        columns.push((start_column(definition), Source::Start));
        if let Some(date) = &definition.window.date {
            columns.push((
                column(date, DataType::Date32, false, "UTC date of the window's start"),
                Source::Date,
            ));
        }
        let values = self.columns.iter().enumerate();
        columns.extend(values.map(|(number, field)| (Arc::clone(field), Source::Value(number))));

        let mut names = HashSet::new();
        if let Some((twice, _)) = columns.iter().find(|(field, _)| !names.insert(field.name().clone())) {
            return Err(wrong(format!("two columns are named '{}'", twice.name())));
        }
        if !definition.column_order.is_empty() {
            let place = |name: &str| definition.column_order.iter().position(|ordered| ordered == name);
            if definition.column_order.len() != columns.len() {
                return Err(wrong("column_order must name each column once".to_owned()));
            }
            if let Some((missing, _)) = columns.iter().find(|(field, _)| place(field.name()).is_none()) {
                return Err(wrong(format!("column_order does not name '{}'", missing.name())));
            }
            columns.sort_by_key(|(field, _)| place(field.name()));
        }
        let (fields, sources): (Vec<FieldRef>, Vec<Source>) = columns.into_iter().unzip();
        Ok((Arc::new(Schema::new(fields)), sources))
    }
}

/// The expression of an aggregate column over the results of `calls`, and the type it is stored in.
fn compile_value(
    planner: &Planner,
    expr: Expr,
    calls: &[Expr],
    results: &DFSchema,
) -> Result<(Arc<dyn PhysicalExpr>, DataType)> {
    let expr = over_results(expr, calls).or_fail(Kind::Definition, || "cannot be planned")?;
    if let Some(stray) = columns_read(std::slice::from_ref(&expr))
        .iter()
        .find(|name| results.index_of_column_by_name(None, name).is_none())
    {
        let message = format!("'{stray}' is neither in group_by nor inside an aggregate function");
        return Err(Error::new(Kind::Definition, message));
    }
    let value = planner
        .scalar(expr, results)
        .or_fail(Kind::Definition, || "cannot be planned")?;
    let computed = value
        .data_type(results.as_arrow())
        .or_fail(Kind::Definition, || "has no type")?;
    let kind = stored_type(&computed).ok_or_else(|| {
        let message = format!("a table cannot hold values of type {computed}");
        Error::new(Kind::Definition, message).with_next("cast the expression to a number, a string or a timestamp")
    })?;
    Ok((value, kind))
}

/// The silver columns that group columns and `exprs` read: groups in their stored types, in silver's order.
fn work_schema(silver: &SchemaRef, exprs: &[Expr], groups: &[FieldRef]) -> SchemaRef {
    let read = columns_read(exprs);
    let fields = silver.fields().iter().filter_map(|field| {
        let group = groups.iter().find(|group| group.name() == field.name());
        let kind = group.map_or(field.data_type(), |group| group.data_type());
        // What is null is up to the rows: a wrong promise of the schema must not become a wrong result.
        let used = group.is_some() || read.contains(field.name());
        used.then(|| Field::new(field.name(), kind.clone(), true))
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn start_column(definition: &definition::Gold) -> FieldRef {
    column(&definition.window.start, timestamp(), false, "Start of the window, UTC")
}

fn late_schema(definition: &definition::Gold, event: &Field, watermark: &Field, groups: &[FieldRef]) -> SchemaRef {
    let watermark_kind = match watermark.data_type() {
        DataType::Int64 => DataType::Int64,
        _ => timestamp(),
    };
    let mut columns = vec![
        column(SEQ, DataType::Int64, false, "Bronze seq of the late row"),
        start_column(definition),
    ];
    columns.extend(groups.iter().map(Arc::clone));
    columns.push(column(event.name(), timestamp(), false, comment(event)));
    columns.push(column(WATERMARK, watermark_kind, true, "Watermark just before the row"));
    let mut names = HashSet::new();
    columns.retain(|field| names.insert(field.name().clone()));
    Arc::new(Schema::new(columns))
}

fn df_schema(schema: &SchemaRef) -> Result<DFSchema> {
    DFSchema::try_from(Arc::clone(schema)).or_fail(Kind::Definition, || "the columns of the rows")
}

/// An empty batch of `schema`.
pub(super) fn empty(schema: &SchemaRef) -> RecordBatch {
    RecordBatch::new_empty(Arc::clone(schema))
}
