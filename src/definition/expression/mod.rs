//! SQL expressions of a declaration: what they may say, what type they have, how they run.
//!
//! Invariant: an accepted expression is a pure function of its row (or its group of rows): no clock, no chance, no
//! subquery, no session setting but UTC. Its type is one a table can store; narrower types are widened by a cast
//! that is part of the compiled expression, so `check` and `compile` never disagree.

mod aggregate;
mod fault;
mod size;
mod spans;
#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};

use arrow::array::{RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, ExprSchemable, Volatility, cast};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::{SessionConfig, SessionContext};

pub use aggregate::{aggregate_expr, check_aggregate};
pub use fault::Fault;

use crate::error::{Error, Kind, Result};

/// What an expression yields, as a table stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Yield {
    /// The stored type.
    pub data_type: DataType,
    /// Whether it can be null.
    pub nullable: bool,
    /// The columns it reads, sorted.
    pub reads: Vec<String>,
}

static SESSION: LazyLock<SessionContext> = LazyLock::new(|| {
    let config = SessionConfig::new()
        .with_target_partitions(1)
        .set_bool("datafusion.sql_parser.enable_ident_normalization", false)
        .set_str("datafusion.execution.time_zone", "UTC");
    SessionContext::new_with_config(config)
});

/// The session that declared SQL is read in: UTC, column names case-sensitive, no tables.
pub fn session() -> SessionContext {
    SESSION.clone()
}

/// The stored type of a scalar expression over `schema`, or what is wrong with it.
pub fn check(sql: &str, schema: &Schema) -> Result<DataType, String> {
    check_scalar(sql, schema)
        .map(|it| it.data_type)
        .map_err(|fault| fault.to_string())
}

/// Like [`check`], with everything there is to know about the expression.
pub fn check_scalar(sql: &str, schema: &Schema) -> Result<Yield, Fault> {
    ready(sql, schema).map(|(_, found)| found)
}

/// The expression ready to run over batches of `schema`, its value cast to the type that [`check`] names.
///
/// # Errors
/// `Kind::Definition` exactly where [`check`] finds something wrong.
pub fn compile(sql: &str, schema: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
    ready(sql, schema)
        .map(|(compiled, _)| compiled)
        .map_err(|fault| Error::new(Kind::Definition, format!("expression {sql:?}: {fault}")))
}

fn ready(sql: &str, schema: &Schema) -> Result<(Arc<dyn PhysicalExpr>, Yield), Fault> {
    let wrong = |error: DataFusionError| Fault::of(&error, schema);
    let scope = scope(schema)?;
    let (expr, found) = scalar(sql, schema, &scope)?;
    let compiled = SESSION.create_physical_expr(expr, &scope).map_err(wrong)?;
    // Some faults of literals show only when it runs: 1 / 0, a date part that does not exist.
    compiled.evaluate(&null_row(schema).map_err(wrong)?).map_err(wrong)?;
    Ok((compiled, found))
}

/// The type a value of `computed` type is stored as; none where a table cannot hold it.
pub fn stored(computed: &DataType) -> Option<DataType> {
    Some(match computed {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Boolean => DataType::Boolean,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => DataType::Int32,
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => DataType::Float64,
        DataType::Timestamp(_, _) => instant(),
        DataType::Date32 | DataType::Date64 => DataType::Date32,
        DataType::Dictionary(_, value) => stored(value)?,
        _ => return None,
    })
}

/// The type of every timestamp column: microseconds, UTC.
pub fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The expression as the parser understood it: without comments, with one spelling of white space.
/// Text that does not parse stays as it is.
pub fn canonical(sql: &str) -> String {
    if size::too_long(sql).is_some() {
        return sql.trim().to_owned();
    }
    let state = SESSION.state();
    let dialect = state.config_options().sql_parser.dialect;
    state
        .sql_to_expr(sql, &dialect)
        .map_or_else(|_| sql.trim().to_owned(), |parsed| parsed.to_string())
}

fn scope(schema: &Schema) -> Result<DFSchema, Fault> {
    DFSchema::try_from(schema.clone()).map_err(|error| Fault::of(&error, schema))
}

fn scalar(sql: &str, schema: &Schema, scope: &DFSchema) -> Result<(Expr, Yield), Fault> {
    let expr = parse(sql, schema, scope)?;
    if holds(&expr, |node| matches!(node, Expr::AggregateFunction(_))) {
        return Err(
            Fault::new("aggregates many rows, but a rule or column of silver sees one row")
                .suggest("move the aggregate to gold.toml"),
        );
    }
    let expr = simplify(expr, scope)
        .and_then(|expr| spans::spans(expr, scope))
        .map_err(|error| Fault::of(&error, schema))?;
    let computed = expr.get_type(scope).map_err(|error| Fault::of(&error, schema))?;
    let data_type = stored(&computed).ok_or_else(|| unstorable(&computed))?;
    let nullable = expr.nullable(scope).map_err(|error| Fault::of(&error, schema))?;
    let found = Yield {
        data_type: data_type.clone(),
        nullable,
        reads: reads(&expr),
    };
    let expr = if computed == data_type {
        expr
    } else {
        cast(expr, data_type)
    };
    Ok((expr, found))
}

/// Reads one expression and refuses whatever is not a function of its row.
fn parse(sql: &str, schema: &Schema, scope: &DFSchema) -> Result<Expr, Fault> {
    if sql.trim().is_empty() {
        return Err(Fault::new("the expression is empty"));
    }
    if let Some(fault) = size::too_long(sql) {
        return Err(fault);
    }
    let wrong = |error: DataFusionError| Fault::of(&error, schema);
    let state = SESSION.state();
    let dialect = state.config_options().sql_parser.dialect;
    let written = state.sql_to_expr_with_alias(sql, &dialect).map_err(wrong)?;
    if let Some(alias) = &written.alias {
        return Err(Fault::new(format!("the expression names itself {:?}", alias.value)).suggest("leave out AS"));
    }
    let expr = state.create_logical_expr_from_sql_expr(written, scope).map_err(wrong)?;
    // DataFusion gives count(*) an alias of its own.
    let expr = expr.unalias_nested().data;
    match impurity(&expr).or_else(|| size::unbounded(&expr)) {
        Some(fault) => Err(fault),
        None => Ok(expr),
    }
}

fn impurity(expr: &Expr) -> Option<Fault> {
    let mut found = None;
    // The walk cannot fail: the closure never does.
    let _ = expr.apply(|node| {
        found = match node {
            Expr::ScalarFunction(call) => varying(call.name(), call.func.signature().volatility),
            Expr::AggregateFunction(call) => varying(call.func.name(), call.func.signature().volatility),
            Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) | Expr::ScalarSubquery(_) => Some(
                Fault::new("has a subquery, but an expression sees only its own row")
                    .suggest("bring reference data in with [[lookup]]"),
            ),
            Expr::WindowFunction(_) => Some(Fault::new(
                "has a window function, but an expression sees only its own row",
            )),
            Expr::Placeholder(_) | Expr::ScalarVariable(_, _) => {
                Some(Fault::new("has a parameter, which nothing fills in"))
            }
            Expr::Unnest(_) | Expr::GroupingSet(_) => Some(Fault::new("yields several rows, but must yield one value")),
            _ => None,
        };
        Ok(if found.is_some() {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    });
    found
}

fn varying(function: &str, volatility: Volatility) -> Option<Fault> {
    (volatility != Volatility::Immutable).then(|| {
        Fault::new(format!(
            "{function}() gives another value on every run, so a replay would give another table"
        ))
        .suggest("use a column of the event instead")
    })
}

fn holds(expr: &Expr, wanted: impl Fn(&Expr) -> bool) -> bool {
    expr.exists(|node| Ok(wanted(node))).unwrap_or(false)
}

fn reads(expr: &Expr) -> Vec<String> {
    let mut names: Vec<String> = expr
        .column_refs()
        .into_iter()
        .map(|column| column.name.clone())
        .collect();
    names.sort();
    names
}

fn simplify(expr: Expr, scope: &DFSchema) -> Result<Expr, DataFusionError> {
    let context = SimplifyContext::builder()
        .with_schema(Arc::new(scope.clone()))
        .with_config_options(Arc::clone(SESSION.state().config_options()))
        .build();
    let simplifier = ExprSimplifier::new(context);
    simplifier.simplify(simplifier.coerce(expr, scope)?)
}

/// One row in which every column is null, also those that never are: no value of a row can be at fault.
fn null_row(schema: &Schema) -> Result<RecordBatch, DataFusionError> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| new_null_array(field.data_type(), 1))
        .collect();
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_nullable(true))
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    Ok(RecordBatch::try_new_with_options(
        Arc::new(Schema::new(fields)),
        columns,
        &options,
    )?)
}

fn unstorable(computed: &DataType) -> Fault {
    let fault = Fault::new(format!("has type {computed}, which a table cannot store"));
    match computed {
        DataType::Duration(_) => fault.suggest("date_part('epoch', ...) gives seconds as a double"),
        DataType::Decimal128(_, _) | DataType::Decimal256(_, _) => fault.suggest("cast it: cast(... as double)"),
        DataType::Null => fault.suggest("cast it: cast(null as ...)"),
        _ => fault.suggest("cast it to varchar, boolean, int, bigint, double, timestamp or date"),
    }
}
