//! A data file's statistics as Delta's log has them, gathered while the file is written.
//!
//! Readers skip files by them, so a bound may be wider than the rows and never narrower. Instants are widened to whole
//! milliseconds, because some readers compare at that resolution; floats have none, because of NaN.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{max, max_string, min, min_string};
use arrow::datatypes::{DataType, Date32Type, Int32Type, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, Days, NaiveDate};
use serde_json::{Map, Value, json};

/// String statistics are cut off beyond this length, so a column with longer values has none.
const STRING_STATS_MAX: usize = 64;

/// Statistics of the rows taken in so far.
pub(super) struct Stats {
    schema: SchemaRef,
    rows: usize,
    columns: Vec<Column>,
}

/// Of one column.
#[derive(Default)]
struct Column {
    bounds: Option<(Bound, Bound)>,
    nulls: usize,
    /// Some of its values have no bounds, so the column has none.
    unbounded: bool,
}

/// A value as it is compared; how it is written comes last, because year 10000 sorts before 2024 as text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Bound {
    Integer(i64),
    Days(i32),
    Millis(i64),
    Text(String),
}

impl Stats {
    /// Of no rows of a file with these columns.
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self {
            schema: schema.clone(),
            rows: 0,
            columns: schema.fields().iter().map(|_| Column::default()).collect(),
        }
    }

    /// Takes in rows.
    pub(super) fn take(&mut self, rows: &RecordBatch) {
        self.rows += rows.num_rows();
        for (column, values) in self.columns.iter_mut().zip(rows.columns()) {
            column.take(values);
        }
    }

    /// Rows taken in.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// In Delta's form.
    pub(super) fn json(&self) -> Value {
        let (mut low, mut high, mut nulls) = (Map::new(), Map::new(), Map::new());
        for (field, column) in self.schema.fields().iter().zip(&self.columns) {
            if let Some((smallest, largest)) = column.written() {
                low.insert(field.name().clone(), smallest);
                high.insert(field.name().clone(), largest);
            }
            if !field.data_type().is_nested() {
                nulls.insert(field.name().clone(), json!(column.nulls));
            }
        }
        json!({"numRecords": self.rows, "minValues": low, "maxValues": high, "nullCount": nulls})
    }
}

impl Column {
    fn take(&mut self, values: &ArrayRef) {
        self.nulls += values.null_count();
        if values.null_count() == values.len() {
            return;
        }
        let Some((low, high)) = bounds(values) else {
            self.unbounded = true;
            return;
        };
        self.bounds = Some(match self.bounds.take() {
            None => (low, high),
            Some((lowest, highest)) => (lowest.min(low), highest.max(high)),
        });
    }

    fn written(&self) -> Option<(Value, Value)> {
        let (low, high) = self.bounds.as_ref().filter(|_| !self.unbounded)?;
        Some((low.written()?, high.written()?))
    }
}

impl Bound {
    fn written(&self) -> Option<Value> {
        Some(match self {
            Self::Integer(value) => json!(value),
            Self::Days(days) => json!(date(*days)),
            Self::Millis(millis) => {
                let time = DateTime::from_timestamp_millis(*millis)?;
                json!(time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
            }
            Self::Text(text) => json!(text),
        })
    }
}

/// Smallest and largest value; none for types without bounds, and for text that is too long to be one.
fn bounds(column: &ArrayRef) -> Option<(Bound, Bound)> {
    Some(match column.data_type() {
        DataType::Int32 => {
            let values = column.as_primitive::<Int32Type>();
            (Bound::Integer(min(values)?.into()), Bound::Integer(max(values)?.into()))
        }
        DataType::Int64 => {
            let values = column.as_primitive::<Int64Type>();
            (Bound::Integer(min(values)?), Bound::Integer(max(values)?))
        }
        DataType::Date32 => {
            let values = column.as_primitive::<Date32Type>();
            (Bound::Days(min(values)?), Bound::Days(max(values)?))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let values = column.as_primitive::<TimestampMicrosecondType>();
            let floor = min(values)?.div_euclid(1000);
            let ceiling = max(values)?.saturating_add(999).div_euclid(1000);
            (Bound::Millis(floor), Bound::Millis(ceiling))
        }
        DataType::Utf8 => {
            let values = column.as_string::<i32>();
            let (smallest, largest) = (min_string(values)?, max_string(values)?);
            if smallest.len().max(largest.len()) > STRING_STATS_MAX {
                return None;
            }
            (Bound::Text(smallest.to_owned()), Bound::Text(largest.to_owned()))
        }
        _ => return None,
    })
}

/// Days since the epoch as `YYYY-MM-DD`.
pub(super) fn date(days: i32) -> String {
    let epoch = NaiveDate::default();
    let shifted = match u64::try_from(days) {
        Ok(days) => epoch.checked_add_days(Days::new(days)),
        Err(_) => epoch.checked_sub_days(Days::new(u64::from(days.unsigned_abs()))),
    };
    shifted.map_or_else(|| days.to_string(), |date| date.format("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray, TimestampMicrosecondArray};
    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn of(batches: &[ArrayRef]) -> Value {
        let kind = batches[0].data_type().clone();
        let schema = Arc::new(Schema::new(vec![Field::new("c", kind, true)]));
        let mut stats = Stats::new(&schema);
        for column in batches {
            stats.take(&RecordBatch::try_new(schema.clone(), vec![column.clone()]).unwrap());
        }
        stats.json()
    }

    fn times(values: &[i64]) -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(values.to_vec()).with_timezone("UTC"))
    }

    #[test]
    fn instants_are_widened_never_narrowed() {
        let stats = of(&[times(&[1_500, 2_001])]);
        assert_eq!(stats["minValues"]["c"], json!("1970-01-01T00:00:00.001Z"));
        assert_eq!(stats["maxValues"]["c"], json!("1970-01-01T00:00:00.003Z"));
    }

    #[test]
    fn several_batches_have_the_bounds_of_all_their_rows() {
        let batch = |values: Vec<Option<i64>>| Arc::new(Int64Array::from(values)) as ArrayRef;
        let stats = of(&[
            batch(vec![Some(3), None]),
            batch(vec![None]),
            batch(vec![]),
            batch(vec![Some(-1), Some(7)]),
        ]);
        let expected = json!({"numRecords": 5, "minValues": {"c": -1}, "maxValues": {"c": 7}, "nullCount": {"c": 2}});
        assert_eq!(stats, expected);
        assert_eq!(of(&[batch(vec![None])])["minValues"], json!({}));
    }

    #[test]
    fn the_end_of_time_is_later_than_today() {
        let end = 253_402_300_799_999_999;
        for order in [[end, 0], [0, end]] {
            let stats = of(&order.map(|at| times(&[at])));
            assert_eq!(stats["maxValues"], of(&[times(&[end])])["maxValues"]);
        }
    }

    #[test]
    fn one_long_text_leaves_the_column_without_bounds() {
        let texts = |text: &str| Arc::new(StringArray::from(vec![text])) as ArrayRef;
        let long = "x".repeat(STRING_STATS_MAX + 1);
        let stats = of(&[texts("a"), texts(&long), texts("b")]);
        assert_eq!(stats["minValues"], json!({}));
        assert_eq!(of(&[texts("a"), texts("b")])["maxValues"], json!({"c": "b"}));
    }

    #[test]
    fn dates_before_the_epoch_have_their_own_day() {
        assert_eq!(date(-1), "1969-12-31");
        assert_eq!(date(20_454), "2026-01-01");
    }
}
