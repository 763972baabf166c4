//! Reading a range of seqs out of data files within a bound of memory.
//!
//! The bound is kept by ending early: from the files' footers it is known what the rows of a range take in memory, and
//! the range is cut where that would be too much. So a step of wide rows is short and one of narrow rows is long.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray, new_null_array};
use arrow::compute::{cast, concat_batches, filter_record_batch, sort_to_indices, take_record_batch};
use arrow::datatypes::{Int64Type, Schema, SchemaRef};
use futures::TryStreamExt;
use object_store::ObjectStore;
use parquet::arrow::ProjectionMask;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use parquet::basic::Type;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;

use super::failure::Reading;
use super::object::ObjectFile;
use super::read::Span;
use crate::error::{Context, Error, Kind, Result};

/// Rows decoded at once, if they are narrow.
const BATCH_ROWS: u64 = 64 * 1024;
/// Bytes decoded at once, about: what a row group has beyond the range is thrown away batch by batch.
const BATCH_BYTES: u64 = 4 << 20;

/// What is wanted of each row, and how much at once.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Columns wanted; the seq column comes always.
    pub columns: &'a [String],
    /// Leave out files that hold no row with the time column at or above this (microseconds); rows below may still come.
    pub since: i64,
    /// About how much memory the rows may take, in bytes.
    pub max_bytes: u64,
}

/// The files of one read, opened as far as the bound allows.
pub(super) struct Scan {
    store: Arc<dyn ObjectStore>,
    schema: SchemaRef,
    seq_column: String,
    range: Range<i64>,
    max_bytes: u64,
    /// Rows that need not be read from their files.
    parts: Vec<RecordBatch>,
    files: Vec<Opened>,
    weights: Vec<Weight>,
}

struct Opened {
    path: String,
    low: i64,
    builder: ParquetRecordBatchStreamBuilder<ObjectFile>,
    groups: Vec<usize>,
    batch_rows: usize,
    partition_values: HashMap<String, Option<String>>,
}

/// What the wanted columns of a row group take in memory, spread over its seqs.
#[derive(Debug, Clone, Copy)]
struct Weight {
    low: i64,
    high: i64,
    bytes: u64,
}

impl Scan {
    /// A scan of `range` of rows of `schema`, of which only what is asked for is read.
    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        schema: &SchemaRef,
        seq_column: &str,
        range: Range<i64>,
        ask: Ask<'_>,
    ) -> Result<Self> {
        if let Some(missing) = ask.columns.iter().find(|name| schema.index_of(name).is_err()) {
            return Err(Error::new(Kind::Bug, format!("there is no column {missing}")));
        }
        let wanted = schema
            .fields()
            .iter()
            .filter(|field| *field.name() == seq_column || ask.columns.contains(field.name()));
        let fields: Vec<_> = wanted.cloned().collect();
        Ok(Self {
            store,
            schema: Arc::new(Schema::new(fields)),
            seq_column: seq_column.to_owned(),
            range,
            max_bytes: ask.max_bytes,
            parts: Vec::new(),
            files: Vec::new(),
            weights: Vec::new(),
        })
    }

    /// Where the range ends, by what is known so far.
    pub(super) fn end(&self) -> i64 {
        self.range.end
    }

    /// Opens a file of the range. Files come in the order of their lowest seq.
    pub(super) async fn add(&mut self, path: &str, span: &Span) -> Result<()> {
        let builder = ObjectFile::open(self.store.clone(), path, span.size).await?;
        let wanted = |column: &ColumnChunkMetaData| {
            let root = column.column_path().parts().first();
            root.is_some_and(|root| self.schema.index_of(root).is_ok())
        };
        let seq_index = builder
            .parquet_schema()
            .columns()
            .iter()
            .position(|column| column.name() == self.seq_column);
        let (mut groups, mut rows, mut bytes) = (Vec::new(), 0, 0);
        for (index, group) in builder.metadata().row_groups().iter().enumerate() {
            let (low, high) = seqs_of(group, seq_index)
                .unwrap_or((span.low.max(self.range.start), span.high.min(self.range.end - 1)));
            if low >= self.range.end || high < self.range.start {
                continue;
            }
            let weight = group
                .columns()
                .iter()
                .filter(|column| wanted(column))
                .map(in_memory)
                .sum();
            groups.push(index);
            rows += u64::try_from(group.num_rows()).unwrap_or(0);
            bytes += weight;
            self.weights.push(Weight {
                low,
                high,
                bytes: weight,
            });
        }
        let row_bytes = bytes.checked_div(rows).unwrap_or(0).max(1);
        self.files.push(Opened {
            path: path.to_owned(),
            low: span.low,
            builder,
            groups,
            batch_rows: usize::try_from((BATCH_BYTES / row_bytes).clamp(1, BATCH_ROWS)).unwrap_or(1),
            partition_values: span.partition_values.clone(),
        });
        self.range.end = cut(&self.weights, &self.range, self.max_bytes);
        Ok(())
    }

    /// Takes in the rows of a file of the range, which are in memory already.
    pub(super) fn add_rows(&mut self, rows: RecordBatch, span: &Span) -> Result<()> {
        let rows = conform(&rows, &self.schema, &span.partition_values)?;
        self.weights.push(Weight {
            low: span.low,
            high: span.high,
            bytes: rows.columns().iter().map(in_use).sum(),
        });
        self.parts.push(rows);
        self.range.end = cut(&self.weights, &self.range, self.max_bytes);
        Ok(())
    }

    /// The rows in seq order, and where they end. An error comes with the file that it is about.
    pub(super) async fn rows(self) -> Result<(RecordBatch, i64), (String, Error)> {
        let nowhere = |error| (String::new(), error);
        let mut parts = Vec::new();
        for rows in self.parts {
            let rows = in_range(rows, &self.seq_column, &self.range).map_err(nowhere)?;
            if rows.num_rows() > 0 {
                parts.push(rows);
            }
        }
        for file in self.files {
            if file.low < self.range.end {
                let path = file.path.clone();
                let read = read_file(file, &self.schema, &self.seq_column, &self.range, &mut parts).await;
                read.map_err(|error| (path, error))?;
            }
        }
        let joined = joined(&self.schema, parts).and_then(|rows| in_seq_order(rows, &self.seq_column));
        let rows = joined.map_err(nowhere)?;
        Ok((rows, self.range.end))
    }
}

/// The largest end of the range, at most its own, up to which the rows take no more than `max_bytes`; one seq at least.
fn cut(weights: &[Weight], range: &Range<i64>, max_bytes: u64) -> i64 {
    let takes = |end: i64| -> f64 {
        let part = |weight: &Weight| {
            let (low, high) = (weight.low.max(range.start), weight.high.saturating_add(1).min(end));
            let whole = weight.high as f64 - weight.low as f64 + 1.0;
            (high as f64 - low as f64).max(0.0) / whole * weight.bytes as f64
        };
        weights.iter().map(part).sum()
    };
    if takes(range.end) <= max_bytes as f64 {
        return range.end;
    }
    let (mut fits, mut too_far) = (range.start.saturating_add(1), range.end);
    while too_far - fits > 1 {
        let middle = fits + (too_far - fits) / 2;
        if takes(middle) <= max_bytes as f64 {
            fits = middle;
        } else {
            too_far = middle;
        }
    }
    fits
}

/// About what a column of a row group takes once it is decoded: dictionaries and packing are undone then.
fn in_memory(column: &ColumnChunkMetaData) -> u64 {
    let values = u64::try_from(column.num_values()).unwrap_or(0);
    let encoded = u64::try_from(column.uncompressed_size()).unwrap_or(0);
    match column.column_type() {
        Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY => {
            let plain = column.unencoded_byte_array_data_bytes();
            plain.and_then(|plain| u64::try_from(plain).ok()).unwrap_or(encoded) + 4 * values
        }
        Type::BOOLEAN => values / 8,
        Type::INT32 | Type::FLOAT => 4 * values,
        Type::INT64 | Type::DOUBLE | Type::INT96 => 8 * values,
    }
}

/// What the values of a column take, whatever room is left behind them.
fn in_use(column: &ArrayRef) -> u64 {
    column.to_data().get_slice_memory_size().map_or(0, |bytes| bytes as u64)
}

/// The lowest and the highest seq of a row group; none without statistics.
fn seqs_of(group: &RowGroupMetaData, seq_index: Option<usize>) -> Option<(i64, i64)> {
    match group.columns().get(seq_index?)?.statistics()? {
        Statistics::Int64(seq) => Some((*seq.min_opt()?, *seq.max_opt()?)),
        _ => None,
    }
}

async fn read_file(
    file: Opened,
    schema: &SchemaRef,
    seq_column: &str,
    range: &Range<i64>,
    parts: &mut Vec<RecordBatch>,
) -> Result<()> {
    let read = || "reading Parquet";
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let fields = file.builder.schema().fields().iter().enumerate();
    let present: Vec<usize> = fields
        .filter(|(_, field)| names.contains(&field.name().as_str()))
        .map(|(index, _)| index)
        .collect();
    let mask = ProjectionMask::roots(file.builder.parquet_schema(), present);
    let mut stream = file
        .builder
        .with_projection(mask)
        .with_row_groups(file.groups)
        .with_batch_size(file.batch_rows)
        .build()
        .or_fail(Kind::Damaged, read)?;
    while let Some(batch) = stream.try_next().await.or_unreadable(read)? {
        let batch = in_range(batch, seq_column, range)?;
        if batch.num_rows() > 0 {
            parts.push(conform(&batch, schema, &file.partition_values)?);
        }
    }
    Ok(())
}

/// The parts as one batch; a single one is not copied.
fn joined(schema: &SchemaRef, mut parts: Vec<RecordBatch>) -> Result<RecordBatch> {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => Ok(only),
        (_, last) => {
            parts.extend(last);
            concat_batches(schema, &parts).or_fail(Kind::Bug, || "joining batches")
        }
    }
}

fn in_range(batch: RecordBatch, seq_column: &str, range: &Range<i64>) -> Result<RecordBatch> {
    let seqs = seqs(&batch, seq_column)?;
    let inside = |seq: &i64| range.contains(seq);
    if seqs.values().iter().all(inside) {
        return Ok(batch);
    }
    if seqs.values().is_sorted() {
        let first = seqs.values().partition_point(|seq| *seq < range.start);
        let end = seqs.values().partition_point(|seq| *seq < range.end);
        return Ok(batch.slice(first, end - first));
    }
    let keep: BooleanArray = seqs.values().iter().map(|seq| Some(inside(seq))).collect();
    filter_record_batch(&batch, &keep).or_fail(Kind::Bug, || "filtering by seq")
}

fn seqs<'a>(batch: &'a RecordBatch, column: &str) -> Result<&'a Int64Array> {
    batch
        .column_by_name(column)
        .and_then(|column| column.as_primitive_opt::<Int64Type>())
        .ok_or_else(|| Error::new(Kind::Damaged, format!("no long column {column}")))
}

/// The batch with exactly the columns of `schema`: partition values put back, absent columns null, types cast.
pub fn conform(
    batch: &RecordBatch,
    schema: &SchemaRef,
    partition_values: &HashMap<String, Option<String>>,
) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let columns = schema
        .fields()
        .iter()
        .map(|field| -> Result<ArrayRef> {
            let damaged = || format!("column {}", field.name());
            let column: ArrayRef = match (batch.column_by_name(field.name()), partition_values.get(field.name())) {
                (Some(column), _) => column.clone(),
                (None, Some(Some(value))) => Arc::new(StringArray::from(vec![value.as_str(); rows])),
                (None, _) => new_null_array(field.data_type(), rows),
            };
            if column.data_type() == field.data_type() {
                return Ok(column);
            }
            cast(&column, field.data_type()).or_fail(Kind::Damaged, damaged)
        })
        .collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(schema.clone(), columns).or_fail(Kind::Damaged, || "rows do not fit the table's columns")
}

fn in_seq_order(rows: RecordBatch, seq_column: &str) -> Result<RecordBatch> {
    let column = seqs(&rows, seq_column)?;
    if column.values().is_sorted() {
        return Ok(rows);
    }
    let order = sort_to_indices(column, None, None).or_fail(Kind::Bug, || "sorting by seq")?;
    take_record_batch(&rows, &order).or_fail(Kind::Bug, || "sorting by seq")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_at(weights: &[(i64, i64, u64)], range: Range<i64>, max_bytes: u64) -> i64 {
        let weights: Vec<Weight> = weights
            .iter()
            .map(|&(low, high, bytes)| Weight { low, high, bytes })
            .collect();
        cut(&weights, &range, max_bytes)
    }

    #[test]
    fn a_range_ends_where_its_rows_would_take_too_much() {
        let files = [(0, 99, 1_000), (100, 199, 100_000)];
        assert_eq!(cut_at(&files, 0..200, u64::MAX), 200);
        assert_eq!(cut_at(&files, 0..200, 1_000), 100);
        assert_eq!(cut_at(&files, 0..200, 11_000), 110);
        assert_eq!(cut_at(&files, 50..200, 10_500), 110);
        assert_eq!(cut_at(&files, 0..40, 399), 39);
    }

    #[test]
    fn one_row_is_always_taken_however_wide() {
        assert_eq!(cut_at(&[(7, 7, 1 << 40)], 7..8, 1), 8);
        assert_eq!(cut_at(&[(0, 9, 1 << 40)], 3..10, 1), 4);
    }

    #[test]
    fn rows_that_lie_in_several_files_weigh_together() {
        let mixed = [(0, 99, 1_000), (0, 99, 1_000)];
        assert_eq!(cut_at(&mixed, 0..100, 1_000), 50);
    }
}
