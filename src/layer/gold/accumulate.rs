//! Accumulators whose result does not depend on how rows are cut into batches.
//!
//! DataFusion's own group accumulators take row after row, so their result is a function of the row order alone. The
//! per-group accumulators of the other functions take arrays, and what they do with one (sum it in lanes, merge it into
//! a digest, grow a hash set) may depend on its length: those are fed single rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::datatypes::FieldRef;
use datafusion::common::{Result, ScalarValue, not_impl_err};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use datafusion::physical_expr::aggregate::{AggregateFunctionExpr, LoweredAggregate};
use datafusion::physical_expr::{GroupsAccumulatorAdapter, PhysicalExpr};

/// One aggregate function call of a gold table.
#[derive(Debug, Clone)]
pub(super) struct Call {
    function: Arc<AggregateFunctionExpr>,
    /// What the function reads: its arguments, then what it orders by.
    pub(super) arguments: Vec<Arc<dyn PhysicalExpr>>,
    /// Only rows for which this is true count.
    pub(super) filter: Option<Arc<dyn PhysicalExpr>>,
}

impl Call {
    pub(super) fn new(lowered: LoweredAggregate) -> Self {
        let mut arguments = lowered.aggregate.expressions();
        arguments.extend(lowered.order_bys.iter().map(|order| Arc::clone(&order.expr)));
        Self {
            function: lowered.aggregate,
            arguments,
            filter: lowered.filter,
        }
    }

    /// The column of results.
    pub(super) fn result(&self) -> FieldRef {
        self.function.field()
    }

    /// An accumulator for the groups of a new window.
    pub(super) fn accumulator(&self) -> Result<Box<dyn GroupsAccumulator>> {
        let function = &self.function;
        let ordered = !function.order_bys().is_empty() && !function.fun().supports_within_group_clause();
        if function.groups_accumulator_supported() && !ordered {
            return function.create_groups_accumulator();
        }
        let factory = {
            let function = Arc::clone(function);
            move || function.create_accumulator()
        };
        // A number of distinct values is the same in any order and any cut.
        if function.fun().name() == "count" {
            return Ok(Box::new(GroupsAccumulatorAdapter::new(factory)));
        }
        Ok(Box::new(RowByRow {
            factory: Box::new(factory),
            groups: Vec::new(),
        }))
    }
}

/// Makes the accumulator of one group.
type Factory = Box<dyn Fn() -> Result<Box<dyn Accumulator>> + Send>;

/// Feeds one accumulator per group with one row at a time.
struct RowByRow {
    factory: Factory,
    groups: Vec<Box<dyn Accumulator>>,
}

impl GroupsAccumulator for RowByRow {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        while self.groups.len() < total_num_groups {
            self.groups.push((self.factory)()?);
        }
        let mut one = Vec::with_capacity(values.len());
        for (row, group) in group_indices.iter().enumerate() {
            if opt_filter.is_some_and(|filter| filter.is_null(row) || !filter.value(row)) {
                continue;
            }
            one.clear();
            one.extend(values.iter().map(|column| column.slice(row, 1)));
            if let Some(accumulator) = self.groups.get_mut(*group) {
                accumulator.update_batch(&one)?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = emit_to.take_needed(&mut self.groups);
        let values: Vec<_> = groups
            .into_iter()
            .map(|mut accumulator| accumulator.evaluate())
            .collect::<Result<_>>()?;
        ScalarValue::iter_to_array(values)
    }

    fn state(&mut self, _emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        not_impl_err!("open windows are rebuilt from silver, their state is not taken out")
    }

    fn merge_batch(&mut self, _values: &[ArrayRef], _group_indices: &[usize], _total_num_groups: usize) -> Result<()> {
        not_impl_err!("open windows are rebuilt from silver, their state is not merged")
    }

    fn convert_to_state(&self, _values: &[ArrayRef], _opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        not_impl_err!("open windows are rebuilt from silver, their state is not taken out")
    }

    fn size(&self) -> usize {
        self.groups.iter().map(|accumulator| accumulator.size()).sum()
    }
}
