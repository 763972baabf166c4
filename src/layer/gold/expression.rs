//! From the declared aggregate expressions to physical ones.
//!
//! `cast(sum(x) as double) / count(*)` becomes two function calls over silver rows and one expression over their
//! results. Equal calls of several columns are computed once. What an expression may say and the type it is stored in
//! are the definition room's to decide: this takes its finished expressions apart.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DataFusionError, plan_err};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::find_aggregate_exprs;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::LoweredAggregateBuilder;

use super::accumulate::Call;
use crate::definition::expression::session;

type Result<T> = std::result::Result<T, DataFusionError>;

/// The distinct aggregate function calls in `exprs`.
pub(super) fn calls(exprs: &[Expr]) -> Vec<Expr> {
    find_aggregate_exprs(exprs)
}

/// The name of the column with the results of the call with this number; no declared column can have it.
pub(super) fn result_name(call: usize) -> String {
    format!("#{call}")
}

/// An aggregate function call, `name` in the results, over rows of `schema`.
pub(super) fn over_rows(call: &Expr, name: &str, schema: &Schema) -> Result<Call> {
    if matches!(call, Expr::AggregateFunction(function) if function.params.args.is_empty()) {
        return plan_err!("'{call}' has no argument");
    }
    let scope = DFSchema::try_from(schema.clone())?;
    let state = session().state();
    let planning = PhysicalPlanningContext::default();
    let lowered = LoweredAggregateBuilder::new(call, &scope, schema, state.execution_props(), &planning)
        .with_name(name)
        .build()?;
    Ok(Call::new(lowered))
}

/// `expr` over the results of `calls`, whose columns are in `schema`, instead of over rows.
pub(super) fn over_results(expr: Expr, calls: &[Expr], schema: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
    let over = expr.transform_down(|node| {
        Ok(match calls.iter().position(|call| *call == node) {
            Some(call) => {
                let column = Column::new_unqualified(result_name(call));
                Transformed::new(Expr::Column(column), true, TreeNodeRecursion::Jump)
            }
            None => Transformed::no(node),
        })
    })?;
    session().create_physical_expr(over.data, &DFSchema::try_from(schema.clone())?)
}

/// The columns that `exprs` read.
pub(super) fn columns_read(exprs: &[Expr]) -> BTreeSet<String> {
    exprs
        .iter()
        .flat_map(|expr| expr.column_refs().into_iter().map(|column| column.name.clone()))
        .collect()
}
