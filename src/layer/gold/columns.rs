//! Silver's columns out of a batch, by name, in the types planned with.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampMicrosecondType};

use crate::definition::expression::instant;
use crate::error::{Context, Error, Kind, Result};

/// The silver column with the bronze seq of the row.
pub(super) const SEQ: &str = "_seq";
/// The silver column with the watermark just before the row.
pub(super) const WATERMARK: &str = "_watermark";

/// `values` as `kind`; a value that does not fit is an error, not a null.
pub(super) fn cast(values: &ArrayRef, kind: &DataType, name: &str) -> Result<ArrayRef> {
    if values.data_type() == kind {
        return Ok(Arc::clone(values));
    }
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(values, kind, &strict).or_fail(Kind::Damaged, || {
        format!("column '{name}' does not fit its type {kind}")
    })
}

/// The column `name` of `batch`.
pub(super) fn find<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch.column_by_name(name).ok_or_else(|| {
        Error::new(
            Kind::Bug,
            format!("gold was given silver rows without the column '{name}'"),
        )
    })
}

/// The columns of `schema` out of `batch`, by name, in the types of `schema`.
pub(super) fn select(batch: &RecordBatch, schema: &SchemaRef) -> Result<Vec<ArrayRef>> {
    schema
        .fields()
        .iter()
        .map(|field| cast(find(batch, field.name())?, field.data_type(), field.name()))
        .collect()
}

/// The column `name` of `batch` as microseconds; a bare integer is taken as such.
pub(super) fn micros(batch: &RecordBatch, name: &str) -> Result<PrimitiveArray<TimestampMicrosecondType>> {
    let values = find(batch, name)?;
    let values = match values.data_type() {
        DataType::Int64 | DataType::Timestamp(TimeUnit::Microsecond, _) => values,
        _ => &cast(values, &instant(), name)?,
    };
    // Rows of one table are all in UTC: only the number matters here.
    Ok(match values.as_primitive_opt::<TimestampMicrosecondType>() {
        Some(values) => values.clone(),
        None => values.as_primitive::<arrow::datatypes::Int64Type>().reinterpret_cast(),
    })
}

/// As [`micros`], for a column that has a value in every row.
pub(super) fn micros_of_all(batch: &RecordBatch, name: &str) -> Result<PrimitiveArray<TimestampMicrosecondType>> {
    let values = micros(batch, name)?;
    if values.null_count() > 0 {
        let message = format!("silver has {} rows without '{name}'", values.null_count());
        return Err(
            Error::new(Kind::Damaged, message).with_next("run `medallion audit`, then `medallion replay silver`")
        );
    }
    Ok(values)
}
