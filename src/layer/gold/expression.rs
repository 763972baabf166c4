//! From the SQL of an aggregate column to physical expressions.
//!
//! `cast(sum(x) as double) / count(*)` becomes two function calls over silver rows and one expression over their
//! results. Equal calls of several columns are computed once. Only immutable functions are let in: the clock and chance
//! would make gold depend on when it was computed.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DataFusionError};
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::utils::find_aggregate_exprs;
use datafusion::logical_expr::{Expr, Volatility};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::aggregate::LoweredAggregateBuilder;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::prelude::SessionConfig;

use super::accumulate::Call;

type Result<T> = std::result::Result<T, DataFusionError>;

/// DataFusion's planning of single expressions, without tables.
pub(super) struct Planner {
    state: SessionState,
}

impl Planner {
    /// A planner with DataFusion's built-in functions, in UTC.
    pub(super) fn new() -> Self {
        let config = SessionConfig::new().set_str("datafusion.execution.time_zone", "+00:00");
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_default_features()
            .build();
        Self { state }
    }

    /// The expression that `sql` says over `schema`; fails where it calls a function that is not immutable.
    pub(super) fn parse(&self, sql: &str, schema: &DFSchema) -> Result<Expr> {
        let expr = self.state.create_logical_expr(sql, schema)?.unalias();
        expr.apply(|node| {
            let volatile = match node {
                Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable => {
                    Some(call.func.name())
                }
                Expr::AggregateFunction(call) if call.func.signature().volatility != Volatility::Immutable => {
                    Some(call.func.name())
                }
                _ => None,
            };
            match volatile {
                Some(name) => Err(DataFusionError::Plan(format!(
                    "{name}() is not a function of the rows; gold may depend on nothing else"
                ))),
                None => Ok(TreeNodeRecursion::Continue),
            }
        })?;
        Ok(expr)
    }

    /// An aggregate function call, `name` in the results, over rows of `schema`.
    pub(super) fn call(&self, call: &Expr, name: &str, schema: &DFSchema, rows: &Schema) -> Result<Call> {
        let Expr::AggregateFunction(mut function) = self.simplifier(schema).coerce(call.clone(), schema)?.unalias()
        else {
            return Err(DataFusionError::Plan(format!("'{call}' is not an aggregate")));
        };
        if function.params.args.is_empty() {
            return Err(DataFusionError::Plan(format!("'{call}' has no argument")));
        }
        for argument in &mut function.params.args {
            *argument = self.prepare(argument.clone(), schema)?;
        }
        if let Some(filter) = &mut function.params.filter {
            **filter = self.prepare((**filter).clone(), schema)?;
        }
        for order in &mut function.params.order_by {
            order.expr = self.prepare(order.expr.clone(), schema)?;
        }
        let expr = Expr::AggregateFunction(function);
        let planning = PhysicalPlanningContext::default();
        let lowered = LoweredAggregateBuilder::new(&expr, schema, rows, self.state.execution_props(), &planning)
            .with_name(name)
            .build()?;
        Ok(Call::new(lowered))
    }

    /// A row-by-row expression over `schema`.
    pub(super) fn scalar(&self, expr: Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
        let expr = self.prepare(expr, schema)?;
        let planning = PhysicalPlanningContext::default();
        create_physical_expr(&expr, schema, self.state.execution_props(), &planning)
    }

    /// Types made to fit, functions brought to the form in which they can be computed.
    fn prepare(&self, expr: Expr, schema: &DFSchema) -> Result<Expr> {
        let simplifier = self.simplifier(schema);
        let mut expr = simplifier.coerce(expr, schema)?;
        for rewrite in self.state.analyzer().function_rewrites() {
            expr = expr
                .transform_up(|node| rewrite.rewrite(node, schema, self.state.config_options()))?
                .data;
        }
        simplifier.simplify(expr)
    }

    fn simplifier(&self, schema: &DFSchema) -> ExprSimplifier {
        let context = SimplifyContext::builder()
            .with_schema(Arc::new(schema.clone()))
            .with_config_options(Arc::clone(self.state.config_options()))
            .build();
        ExprSimplifier::new(context)
    }
}

/// The distinct aggregate function calls in `exprs`.
pub(super) fn calls(exprs: &[Expr]) -> Vec<Expr> {
    find_aggregate_exprs(exprs)
}

/// The name of the column with the results of the call with this number; no declared column can have it.
pub(super) fn result_name(call: usize) -> String {
    format!("#{call}")
}

/// `expr` over the results of `calls` instead of over rows.
pub(super) fn over_results(expr: Expr, calls: &[Expr]) -> Result<Expr> {
    let over = expr.transform_down(|node| {
        Ok(match calls.iter().position(|call| *call == node) {
            Some(call) => {
                let column = Column::new_unqualified(result_name(call));
                Transformed::new(Expr::Column(column), true, TreeNodeRecursion::Jump)
            }
            None => Transformed::no(node),
        })
    })?;
    Ok(over.data)
}

/// The columns that `exprs` read.
pub(super) fn columns_read(exprs: &[Expr]) -> BTreeSet<String> {
    exprs
        .iter()
        .flat_map(|expr| expr.column_refs().into_iter().map(|column| column.name.clone()))
        .collect()
}
