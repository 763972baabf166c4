//! Aggregate expressions of a gold table: one value per window and group.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::logical_expr::utils::find_aggregate_exprs;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlanBuilder, LogicalTableSource, cast, ident};

use super::{Fault, SESSION, Yield, holds, parse, reads, scope, simplify, stored, unstorable};
use crate::error::{Error, Kind, Result};

/// Aggregates whose value depends on how rows were cut into batches, not on the rows alone.
const BATCH_DEPENDENT: [&str; 4] = [
    "approx_percentile_cont",
    "approx_percentile_cont_with_weight",
    "approx_median",
    "grouping",
];

/// What an aggregate expression over silver yields, or what is wrong with it. Outside of aggregates it may read
/// the columns of `group_by` only.
pub fn check_aggregate(sql: &str, silver: &Schema, group_by: &[String]) -> Result<Yield, Fault> {
    let scope = scope(silver)?;
    let (expr, found) = aggregate(sql, silver, &scope, group_by)?;
    plan(expr, silver, group_by).map_err(|error| Fault::of(&error, silver))?;
    Ok(found)
}

/// The logical aggregate expression, coerced and cast to its stored type: one output column of a gold table.
///
/// # Errors
/// `Kind::Definition` where [`check_aggregate`] fails too.
pub fn aggregate_expr(sql: &str, silver: &Schema, group_by: &[String]) -> Result<Expr> {
    let refused = |fault: Fault| Error::new(Kind::Definition, format!("expression {sql:?}: {fault}"));
    let scope = scope(silver).map_err(refused)?;
    let (expr, _) = aggregate(sql, silver, &scope, group_by).map_err(refused)?;
    Ok(expr)
}

fn aggregate(sql: &str, silver: &Schema, scope: &DFSchema, group_by: &[String]) -> Result<(Expr, Yield), Fault> {
    let expr = parse(sql, silver, scope)?;
    if !holds(&expr, |node| matches!(node, Expr::AggregateFunction(_))) {
        return Err(
            Fault::new("aggregates nothing: each row of a gold table stands for many rows of silver")
                .suggest("use count, sum, min, max, avg, ..."),
        );
    }
    if let Some(fault) = misuse(&expr, group_by) {
        return Err(fault);
    }
    let read = reads(&expr);
    let expr = simplify(expr, scope).map_err(|error| Fault::of(&error, silver))?;
    let computed = expr.get_type(scope).map_err(|error| Fault::of(&error, silver))?;
    let data_type = stored(&computed).ok_or_else(|| unstorable(&computed))?;
    let nullable = expr.nullable(scope).map_err(|error| Fault::of(&error, silver))?;
    let found = Yield {
        data_type: data_type.clone(),
        nullable,
        reads: read,
    };
    let expr = if computed == data_type {
        expr
    } else {
        cast(expr, data_type)
    };
    Ok((expr, found))
}

fn misuse(expr: &Expr, group_by: &[String]) -> Option<Fault> {
    let mut found = None;
    // The walk cannot fail: the closure never does.
    let _ = expr.apply(|node| {
        match node {
            Expr::AggregateFunction(call) => {
                if BATCH_DEPENDENT.contains(&call.func.name()) {
                    found = Some(
                        Fault::new(format!("{}() depends on how rows were batched", call.func.name()))
                            .suggest("use an exact aggregate, or approx_distinct"),
                    );
                }
                let nested = call.params.args.iter();
                if nested
                    .clone()
                    .any(|arg| holds(arg, |node| matches!(node, Expr::AggregateFunction(_))))
                {
                    found = Some(Fault::new("has an aggregate inside an aggregate"));
                }
                return Ok(if found.is_some() {
                    TreeNodeRecursion::Stop
                } else {
                    TreeNodeRecursion::Jump
                });
            }
            Expr::Column(column) if !group_by.contains(&column.name) => {
                found = Some(
                    Fault::new(format!("reads column {:?} outside of an aggregate", column.name))
                        .suggest("add it to group_by, or aggregate it: max(...)"),
                );
            }
            _ => {}
        }
        Ok(if found.is_some() {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    });
    found
}

/// Plans the query the expression stands for: the last word on whether it can run.
fn plan(expr: Expr, silver: &Schema, group_by: &[String]) -> Result<(), DataFusionError> {
    let source = Arc::new(LogicalTableSource::new(Arc::new(silver.clone())));
    let groups: Vec<Expr> = group_by.iter().map(ident).collect();
    let calls = find_aggregate_exprs([&expr]);
    let name_of = |place: usize| format!("call_{place}");
    let value = expr
        .transform_down(|node| {
            Ok(match calls.iter().position(|call| *call == node) {
                Some(place) => Transformed::new(ident(name_of(place)), true, TreeNodeRecursion::Jump),
                None => Transformed::no(node),
            })
        })?
        .data;
    let named = calls
        .iter()
        .enumerate()
        .map(|(place, call)| call.clone().alias(name_of(place)));
    let plan = LogicalPlanBuilder::scan("silver", source, None)?
        .aggregate(groups, named)?
        .project([value])?
        .build()?;
    SESSION.state().optimize(&plan)?;
    Ok(())
}
