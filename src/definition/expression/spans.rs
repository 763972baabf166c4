//! An interval added to an instant, as a number of microseconds.
//!
//! Arrow walks the calendar for each row, in the zone of the column, because an interval may hold months. Our instants
//! are in UTC, where a day is 24 hours: without months an interval is the same span wherever it begins, and adding it is
//! an addition.

use arrow::datatypes::IntervalMonthDayNano;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DataFusionError, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator};

use super::instant;

const NANOS_PER_MICRO: i64 = 1000;
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// The expression with every such interval written as a duration; its values are the same.
pub(super) fn spans(expr: Expr, scope: &DFSchema) -> Result<Expr, DataFusionError> {
    let rewritten = expr.transform_up(|node| {
        Ok(match node {
            Expr::BinaryExpr(sum) => rewrite(sum, scope)?,
            other => Transformed::no(other),
        })
    })?;
    Ok(rewritten.data)
}

fn rewrite(sum: BinaryExpr, scope: &DFSchema) -> Result<Transformed<Expr>, DataFusionError> {
    let is_instant = sum.left.get_type(scope)? == instant();
    let is_shift = matches!(sum.op, Operator::Plus | Operator::Minus);
    let Some(micros) = micros(&sum.right).filter(|_| is_instant && is_shift) else {
        return Ok(Transformed::no(Expr::BinaryExpr(sum)));
    };
    let span = Expr::Literal(ScalarValue::DurationMicrosecond(Some(micros)), None);
    let shifted = BinaryExpr::new(sum.left, sum.op, Box::new(span));
    Ok(Transformed::yes(Expr::BinaryExpr(shifted)))
}

/// The microseconds of a literal interval without months; none for any other expression.
fn micros(expr: &Expr) -> Option<i64> {
    let Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) = expr else {
        return None;
    };
    let IntervalMonthDayNano {
        months: 0,
        days,
        nanoseconds,
    } = *interval
    else {
        return None;
    };
    (nanoseconds % NANOS_PER_MICRO == 0)
        .then(|| {
            i64::from(days)
                .checked_mul(MICROS_PER_DAY)?
                .checked_add(nanoseconds / NANOS_PER_MICRO)
        })
        .flatten()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, AsArray, RecordBatch, TimestampMicrosecondArray};
    use arrow::datatypes::{Field, Schema, TimestampMicrosecondType};
    use proptest::prelude::*;

    use super::super::{SESSION, cast, compile, scope};
    use super::*;

    /// 0001-01-01 to 9999-12-31 in microseconds, less what the intervals below may add.
    const TIMES: std::ops::Range<i64> = -62_000_000_000_000_000..253_000_000_000_000_000;

    fn schema() -> Schema {
        Schema::new(vec![Field::new("at", instant(), true)])
    }

    fn batch(times: Vec<Option<i64>>) -> RecordBatch {
        let column = TimestampMicrosecondArray::from(times).with_timezone("UTC");
        RecordBatch::try_new(Arc::new(schema()), vec![Arc::new(column)]).unwrap()
    }

    fn micros_of(expr: &Arc<dyn datafusion::physical_expr::PhysicalExpr>, batch: &RecordBatch) -> Vec<Option<i64>> {
        let values = expr.evaluate(batch).unwrap().into_array(batch.num_rows()).unwrap();
        assert_eq!(values.data_type(), &instant());
        values.as_primitive::<TimestampMicrosecondType>().iter().collect()
    }

    /// As DataFusion would run it.
    fn by_the_calendar(sql: &str) -> Arc<dyn datafusion::physical_expr::PhysicalExpr> {
        let scope = scope(&schema()).unwrap();
        let expr = SESSION.parse_sql_expr(sql, &scope).unwrap();
        SESSION.create_physical_expr(cast(expr, instant()), &scope).unwrap()
    }

    proptest! {
        #[test]
        fn a_span_is_what_the_calendar_gives(
            times in prop::collection::vec(prop::option::of(TIMES), 1..20),
            days in -400_i64..400,
            micros in -100_000_000_i64..100_000_000,
            minus in any::<bool>(),
        ) {
            let op = if minus { '-' } else { '+' };
            let sql = format!("at {op} interval '{days} days {micros} microseconds'");
            let batch = batch(times);
            let compiled = compile(&sql, &schema()).unwrap();
            let span = days * MICROS_PER_DAY + micros;
            prop_assert_eq!(format!("{compiled}"), format!("at@0 {op} {span}"));
            prop_assert_eq!(micros_of(&compiled, &batch), micros_of(&by_the_calendar(&sql), &batch));
        }
    }

    #[test]
    fn months_are_of_the_calendar() {
        let leap_day = Some(1_709_164_800_000_000);
        let batch = batch(vec![leap_day, None]);
        let sql = "at + interval '1 year'";
        let a_year_later = Some(1_740_700_800_000_000);
        let compiled = compile(sql, &schema()).unwrap();
        assert_eq!(micros_of(&compiled, &batch), [a_year_later, None]);
    }
}
