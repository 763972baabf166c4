//! Rows as keys: a 128-bit hash over one canonical encoding of their columns.
//!
//! Equal values have equal keys whatever file, batch or run they come from. Two different keys meet in one hash with
//! a chance of 2^-128 per pair; medallion takes that as never. Null is a value here: it equals null and nothing else.

use std::hash::{BuildHasherDefault, Hasher};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Date32Type, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use twox_hash::XxHash3_128;

use crate::error::{Error, Kind, Result};

/// The hash of a row's key columns.
pub type Key = u128;

/// Passes a [`Key`] on as it is: it is a good hash already.
#[derive(Debug, Default, Clone)]
pub(super) struct Unhashed(u64);

pub(super) type BuildUnhashed = BuildHasherDefault<Unhashed>;

impl Hasher for Unhashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

/// The keys of all rows of `columns`; in each, whether a column is null.
///
/// # Errors
/// `Kind::Bug` where a column has a type no table of ours stores.
pub(super) fn keys(columns: &[ArrayRef], rows: usize) -> Result<Vec<Key>> {
    let mut buffer = Vec::with_capacity(64);
    let mut keys = Vec::with_capacity(rows);
    let columns: Vec<Cells<'_>> = columns.iter().map(Cells::of).collect::<Result<_>>()?;
    for row in 0..rows {
        buffer.clear();
        for cells in &columns {
            cells.encode(row, &mut buffer);
        }
        keys.push(XxHash3_128::oneshot(&buffer));
    }
    Ok(keys)
}

/// One column, its type found once.
enum Cells<'a> {
    Text(&'a arrow::array::StringArray),
    Boolean(&'a arrow::array::BooleanArray),
    Int32(&'a arrow::array::Int32Array),
    Int64(&'a arrow::array::Int64Array),
    Float64(&'a arrow::array::Float64Array),
    Timestamp(&'a arrow::array::TimestampMicrosecondArray),
    Date(&'a arrow::array::Date32Array),
}

impl<'a> Cells<'a> {
    fn of(column: &'a ArrayRef) -> Result<Self> {
        Ok(match column.data_type() {
            DataType::Utf8 => Self::Text(column.as_string()),
            DataType::Boolean => Self::Boolean(column.as_boolean()),
            DataType::Int32 => Self::Int32(column.as_primitive::<Int32Type>()),
            DataType::Int64 => Self::Int64(column.as_primitive::<Int64Type>()),
            DataType::Float64 => Self::Float64(column.as_primitive::<Float64Type>()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Self::Timestamp(column.as_primitive::<TimestampMicrosecondType>())
            }
            DataType::Date32 => Self::Date(column.as_primitive::<Date32Type>()),
            other => return Err(Error::new(Kind::Bug, format!("a key column of type {other}"))),
        })
    }

    /// Appends a tag and the value; text carries its length, so neighbours cannot run into each other.
    fn encode(&self, row: usize, buffer: &mut Vec<u8>) {
        let array: &dyn Array = match self {
            Self::Text(array) => *array,
            Self::Boolean(array) => *array,
            Self::Int32(array) => *array,
            Self::Int64(array) => *array,
            Self::Float64(array) => *array,
            Self::Timestamp(array) => *array,
            Self::Date(array) => *array,
        };
        if array.is_null(row) {
            buffer.push(0);
            return;
        }
        match self {
            Self::Text(array) => {
                let text = array.value(row).as_bytes();
                buffer.push(1);
                buffer.extend_from_slice(&(text.len() as u64).to_le_bytes());
                buffer.extend_from_slice(text);
            }
            Self::Boolean(array) => buffer.extend_from_slice(&[2, u8::from(array.value(row))]),
            Self::Int32(array) => integer(i64::from(array.value(row)), buffer),
            Self::Int64(array) => integer(array.value(row), buffer),
            Self::Float64(array) => {
                let value = array.value(row);
                // One zero and one NaN, so that equal numbers are equal keys.
                let value = if value.is_nan() { f64::NAN } else { value + 0.0 };
                buffer.push(4);
                buffer.extend_from_slice(&value.to_le_bytes());
            }
            Self::Timestamp(array) => {
                buffer.push(5);
                buffer.extend_from_slice(&array.value(row).to_le_bytes());
            }
            Self::Date(array) => {
                buffer.push(6);
                buffer.extend_from_slice(&array.value(row).to_le_bytes());
            }
        }
    }
}

fn integer(value: i64, buffer: &mut Vec<u8>) {
    buffer.push(3);
    buffer.extend_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int32Array, Int64Array, StringArray};

    use super::*;

    #[test]
    fn neighbouring_texts_do_not_run_into_each_other() {
        let left: ArrayRef = Arc::new(StringArray::from(vec![Some("ab"), Some("a"), Some(""), None]));
        let right: ArrayRef = Arc::new(StringArray::from(vec![Some("c"), Some("bc"), None, Some("")]));
        let keys = keys(&[left, right], 4).unwrap();
        let distinct: std::collections::BTreeSet<Key> = keys.iter().copied().collect();
        assert_eq!(distinct.len(), 4);
    }

    #[test]
    fn equal_values_of_two_widths_and_both_zeros_are_equal_keys() {
        let narrow: ArrayRef = Arc::new(Int32Array::from(vec![7]));
        let wide: ArrayRef = Arc::new(Int64Array::from(vec![7]));
        assert_eq!(keys(&[narrow], 1).unwrap(), keys(&[wide], 1).unwrap());
        let zeros: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0]));
        let zeros = keys(&[zeros], 2).unwrap();
        assert_eq!(zeros.first(), zeros.get(1));
    }

    #[test]
    fn the_encoding_is_fixed_for_ever() {
        // State snapshots hold these hashes: another encoding needs another snapshot version.
        let id: ArrayRef = Arc::new(StringArray::from(vec!["view-1"]));
        assert_eq!(
            keys(&[id], 1).unwrap(),
            [XxHash3_128::oneshot(b"\x01\x06\0\0\0\0\0\0\0view-1")]
        );
    }
}
