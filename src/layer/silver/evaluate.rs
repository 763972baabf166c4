//! Expressions over many rows, of which a few may fail.
//!
//! Invariant: the value of a row is what the expression gives on that row alone, whatever rows are beside it. Where
//! evaluating all of them fails (a division by zero somewhere), halves are tried until the failing rows stand alone.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_empty_array, new_null_array};
use arrow::compute::concat;
use datafusion::physical_expr::PhysicalExpr;

use super::decode::shorten_to;
use crate::error::{Context, Kind, Result};

/// Characters of a failure that are kept: DataFusion repeats the value in it, however long that is.
const FAILURE: usize = 300;

/// One value per row, null for the rows that failed.
#[derive(Debug)]
pub(super) struct Evaluated {
    pub(super) values: ArrayRef,
    /// The rows that failed, ascending, and why.
    pub(super) failed: Vec<(usize, String)>,
}

/// Evaluates the expression on every row.
pub(super) fn evaluate(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<Evaluated> {
    let data_type = expr
        .data_type(batch.schema_ref())
        .or_fail(Kind::Bug, || format!("typing {expr}"))?;
    let mut failed = Vec::new();
    let mut parts = Vec::new();
    // Parts still to do, the next one last.
    let mut todo = vec![(0, batch.num_rows())];
    while let Some((start, rows)) = todo.pop() {
        if rows == 0 {
            continue;
        }
        let part = batch.slice(start, rows);
        let values = expr.evaluate(&part).and_then(|values| values.into_array_of_size(rows));
        match values {
            Ok(values) => parts.push(values),
            Err(error) if rows == 1 => {
                failed.push((start, shorten_to(&error.strip_backtrace(), FAILURE)));
                parts.push(new_null_array(&data_type, 1));
            }
            Err(_) => {
                let half = rows / 2;
                todo.push((start + half, rows - half));
                todo.push((start, half));
            }
        }
    }
    let values = match parts.as_slice() {
        [] => new_empty_array(&data_type),
        [whole] => Arc::clone(whole),
        parts => {
            let parts: Vec<_> = parts.iter().map(|part| part.as_ref()).collect();
            concat(&parts).or_fail(Kind::Bug, || format!("joining the values of {expr}"))?
        }
    };
    Ok(Evaluated { values, failed })
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use proptest::prelude::*;

    use super::*;
    use crate::definition::expression::compile;

    fn run(sql: &str, numbers: &[i64]) -> Evaluated {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        let column: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap();
        evaluate(&compile(sql, &schema).unwrap(), &batch).unwrap()
    }

    #[test]
    fn a_row_that_fails_leaves_its_neighbours_alone() {
        let all = run("100 / n", &[1, 0, 5, 0]);
        let values: Vec<Option<i64>> = all.values.as_primitive::<Int64Type>().iter().collect();
        assert_eq!(values, [Some(100), None, Some(20), None]);
        let rows: Vec<usize> = all.failed.iter().map(|(row, _)| *row).collect();
        assert_eq!(rows, [1, 3]);
        assert!(all.failed[0].1.contains("Divide by zero"), "{}", all.failed[0].1);
        assert_eq!(run("100 / n", &[]).values.len(), 0);
    }

    proptest! {
        #[test]
        fn a_row_has_the_value_it_has_alone(numbers in prop::collection::vec(-2_i64..3, 1..40)) {
            for sql in ["6 / n", "n <> 0 and 6 / n > 2", "case when n = 0 then 0 else 6 / n end", "n = 0 or 6 / n > 2"] {
                let all = run(sql, &numbers);
                for (row, number) in numbers.iter().enumerate() {
                    let alone = run(sql, &[*number]);
                    prop_assert_eq!(&all.values.slice(row, 1), &alone.values);
                    prop_assert_eq!(all.failed.iter().any(|(failed, _)| *failed == row), !alone.failed.is_empty());
                }
            }
        }
    }
}
