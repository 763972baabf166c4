//! A growing column whose last values can be taken back.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::ArrowNativeType;

use crate::definition::FieldKind;
use crate::error::{Context, Error, Kind, Result};

/// One column of the event, or of a reference file.
#[derive(Debug)]
pub(in crate::layer::silver) struct Column {
    values: Values,
    valid: Vec<bool>,
    nulls: usize,
}

#[derive(Debug)]
enum Values {
    Text { ends: Vec<i32>, bytes: Vec<u8> },
    Boolean(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float64(Vec<f64>),
    Timestamp(Vec<i64>),
    Date(Vec<i32>),
}

/// A value of the column's own kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::layer::silver) enum Value<'a> {
    Text(&'a str),
    Boolean(bool),
    Int32(i32),
    Int64(i64),
    Float64(f64),
    /// Microseconds since the Unix epoch, UTC.
    Timestamp(i64),
    /// Days since the Unix epoch.
    Date(i32),
}

impl Column {
    pub(in crate::layer::silver) fn new(kind: FieldKind) -> Self {
        let values = match kind {
            FieldKind::String => Values::Text {
                ends: vec![0],
                bytes: Vec::new(),
            },
            FieldKind::Boolean => Values::Boolean(Vec::new()),
            FieldKind::Int32 => Values::Int32(Vec::new()),
            FieldKind::Int64 => Values::Int64(Vec::new()),
            FieldKind::Float64 => Values::Float64(Vec::new()),
            FieldKind::Timestamp => Values::Timestamp(Vec::new()),
            FieldKind::Date => Values::Date(Vec::new()),
        };
        Self {
            values,
            valid: Vec::new(),
            nulls: 0,
        }
    }

    pub(in crate::layer::silver) fn len(&self) -> usize {
        self.valid.len()
    }

    /// Adds a value. One of another kind becomes null: the caller has matched the kinds.
    pub(in crate::layer::silver) fn push(&mut self, value: Value<'_>) {
        match (&mut self.values, value) {
            (Values::Text { ends, bytes }, Value::Text(value)) => {
                bytes.extend_from_slice(value.as_bytes());
                // A bronze batch holds its payloads with 32-bit offsets, and no text is longer than its payload.
                ends.push(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
            }
            (Values::Boolean(values), Value::Boolean(value)) => values.push(value),
            (Values::Int32(values), Value::Int32(value)) | (Values::Date(values), Value::Date(value)) => {
                values.push(value);
            }
            (Values::Int64(values), Value::Int64(value)) | (Values::Timestamp(values), Value::Timestamp(value)) => {
                values.push(value);
            }
            (Values::Float64(values), Value::Float64(value)) => values.push(value),
            _ => return self.push_null(),
        }
        self.valid.push(true);
    }

    pub(in crate::layer::silver) fn push_null(&mut self) {
        match &mut self.values {
            Values::Text { ends, .. } => {
                let end = ends.last().copied().unwrap_or(0);
                ends.push(end);
            }
            Values::Boolean(values) => values.push(false),
            Values::Int32(values) | Values::Date(values) => values.push(0),
            Values::Int64(values) | Values::Timestamp(values) => values.push(0),
            Values::Float64(values) => values.push(0.0),
        }
        self.valid.push(false);
        self.nulls += 1;
    }

    /// Keeps the first `rows` values.
    pub(in crate::layer::silver) fn truncate(&mut self, rows: usize) {
        self.nulls -= self.valid.iter().skip(rows).filter(|valid| !**valid).count();
        self.valid.truncate(rows);
        match &mut self.values {
            Values::Text { ends, bytes } => {
                ends.truncate(rows + 1);
                bytes.truncate(ends.last().map_or(0, |end| end.as_usize()));
            }
            Values::Boolean(values) => values.truncate(rows),
            Values::Int32(values) | Values::Date(values) => values.truncate(rows),
            Values::Int64(values) | Values::Timestamp(values) => values.truncate(rows),
            Values::Float64(values) => values.truncate(rows),
        }
    }

    /// The values as an Arrow array; the column is empty again, with room for about as many.
    pub(in crate::layer::silver) fn finish(&mut self) -> Result<ArrayRef> {
        let valid = emptied(&mut self.valid);
        let nulls = (std::mem::take(&mut self.nulls) > 0).then(|| NullBuffer::from(valid));
        Ok(match &mut self.values {
            Values::Text { ends, bytes } => {
                let full = emptied(ends);
                ends.push(0);
                text(full, emptied(bytes), nulls)?
            }
            Values::Boolean(values) => Arc::new(BooleanArray::new(BooleanBuffer::from(emptied(values)), nulls)),
            Values::Int32(values) => Arc::new(Int32Array::new(emptied(values).into(), nulls)),
            Values::Int64(values) => Arc::new(Int64Array::new(emptied(values).into(), nulls)),
            Values::Float64(values) => Arc::new(Float64Array::new(emptied(values).into(), nulls)),
            Values::Timestamp(values) => {
                Arc::new(TimestampMicrosecondArray::new(emptied(values).into(), nulls).with_timezone("UTC"))
            }
            Values::Date(values) => Arc::new(Date32Array::new(emptied(values).into(), nulls)),
        })
    }
}

/// Takes the values out. The next step is mostly as large, and a vector that grows is copied each time it doubles.
fn emptied<T>(values: &mut Vec<T>) -> Vec<T> {
    let room = values.len() + values.len() / 8;
    std::mem::replace(values, Vec::with_capacity(room))
}

fn text(ends: Vec<i32>, bytes: Vec<u8>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    if bytes.len() > i32::MAX.as_usize() {
        return Err(
            Error::new(Kind::Bug, "a step has more than 2 GiB of text in one column").with_next("lower max_bytes"),
        );
    }
    let array = StringArray::try_new(OffsetBuffer::new(ends.into()), Buffer::from_vec(bytes), nulls)
        .or_fail(Kind::Bug, || "building a text column")?;
    Ok(Arc::new(array))
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;
    use arrow::array::AsArray;

    use super::*;

    #[test]
    fn a_value_taken_back_leaves_no_trace() {
        let mut column = Column::new(FieldKind::String);
        column.push(Value::Text("kept"));
        column.push(Value::Text("lost"));
        column.truncate(1);
        column.push_null();
        column.truncate(1);
        column.push(Value::Text("next"));
        let array = column.finish().unwrap();
        let texts: Vec<Option<&str>> = array.as_string::<i32>().iter().collect();
        assert_eq!(texts, [Some("kept"), Some("next")]);
        assert_eq!(array.null_count(), 0);
        assert_eq!(column.finish().unwrap().len(), 0);
    }

    #[test]
    fn a_value_of_another_kind_becomes_null() {
        let mut column = Column::new(FieldKind::Int32);
        column.push(Value::Int64(7));
        column.push(Value::Int32(8));
        let array = column.finish().unwrap();
        assert!(array.is_null(0));
        assert!(array.is_valid(1));
    }
}
