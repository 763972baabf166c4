//! Data files: Arrow in, Parquet and its Delta `add` out, one file per partition of the batch.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Date32Type, Int32Type, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::row::{RowConverter, SortField};
use deltalake::kernel::Add;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use uuid::Uuid;

use super::object::location;
use super::stats::{Stats, date};
use crate::clock::rfc3339;
use crate::error::{Context, Error, Kind, Result};

/// Rows of one row group: small enough that a reader of a seq range skips most of a large file.
const ROW_GROUP_ROWS: usize = 128 * 1024;
/// Bytes of one row group, about: its wide rows are few.
const ROW_GROUP_BYTES: usize = 32 << 20;
/// Hive's directory for a null partition value.
const HIVE_NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// A data file that no commit has added yet.
pub(super) struct Written {
    /// What adds it.
    pub(super) add: Add,
    /// Its rows, partition columns included.
    pub(super) rows: RecordBatch,
}

/// How a table's rows become files.
pub(super) struct Layout {
    file_schema: SchemaRef,
    partition_by: Vec<String>,
    properties: WriterProperties,
}

impl Layout {
    /// The layout of a table with these columns and partition columns.
    pub(super) fn new(schema: &SchemaRef, partition_by: &[String]) -> Result<Self> {
        let fields: Vec<_> = schema
            .fields()
            .iter()
            .filter(|field| !partition_by.contains(field.name()))
            .cloned()
            .collect();
        let level = ZstdLevel::try_new(1).or_fail(Kind::Bug, || "zstd level")?;
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_created_by(concat!("medallion ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_statistics_enabled(EnabledStatistics::Chunk);
        for field in &fields {
            let path = ColumnPath::from(field.name().as_str());
            // A dictionary of payloads or keys only grows until it is given up; statistics over them help nobody.
            if matches!(field.data_type(), DataType::Binary) {
                properties = properties
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_statistics_enabled(path, EnabledStatistics::None);
            } else if matches!(field.data_type(), DataType::Int64 | DataType::Timestamp(..)) {
                properties = properties
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_encoding(path, parquet::basic::Encoding::DELTA_BINARY_PACKED);
            }
        }
        Ok(Self {
            file_schema: Arc::new(arrow::datatypes::Schema::new(fields)),
            partition_by: partition_by.to_vec(),
            properties: properties.build(),
        })
    }

    /// Writes `batch` as one file per partition value it holds.
    pub(super) async fn write(
        &self,
        store: &dyn ObjectStore,
        batch: &RecordBatch,
        now_ms: i64,
        data_change: bool,
    ) -> Result<Vec<Written>> {
        let mut written = Vec::new();
        for (values, rows) in self.split(batch)? {
            // What compresses badly grows it; what compresses well leaves room untouched, which takes no memory.
            let mut file = self.begin(values, rows.get_array_memory_size() / 2)?;
            file.push(&rows)?;
            let add = file.finish(store, now_ms, data_change).await?;
            written.push(Written { add, rows });
        }
        Ok(written)
    }

    /// Begins one file of the partition with these values, with memory for `bytes` of it.
    pub(super) fn begin(&self, values: Vec<Option<String>>, bytes: usize) -> Result<DataFile<'_>> {
        let file = Vec::with_capacity(bytes);
        let writer = ArrowWriter::try_new(file, self.file_schema.clone(), Some(self.properties.clone()));
        Ok(DataFile {
            layout: self,
            values,
            writer: writer.or_fail(Kind::Bug, || "beginning a Parquet file")?,
            stats: Stats::new(&self.file_schema),
            group: (0, 0),
        })
    }

    fn file_rows(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns: Option<Vec<ArrayRef>> = self
            .file_schema
            .fields()
            .iter()
            .map(|field| batch.column_by_name(field.name()).cloned())
            .collect();
        let columns = columns.ok_or_else(|| Error::new(Kind::Bug, "a batch lacks columns of its table"))?;
        RecordBatch::try_new(self.file_schema.clone(), columns).or_fail(Kind::Bug, || "a batch and its table disagree")
    }

    /// The batch by partition values, in the values' order; rows keep their order.
    fn split(&self, batch: &RecordBatch) -> Result<Vec<(Vec<Option<String>>, RecordBatch)>> {
        let bug = || "splitting a batch by partition";
        if self.partition_by.is_empty() {
            return Ok(vec![(Vec::new(), batch.clone())]);
        }
        let columns: Option<Vec<ArrayRef>> = self
            .partition_by
            .iter()
            .map(|name| batch.column_by_name(name).cloned())
            .collect();
        let columns = columns.ok_or_else(|| Error::new(Kind::Bug, "a batch lacks a partition column"))?;
        let fields = columns
            .iter()
            .map(|column| SortField::new(column.data_type().clone()))
            .collect();
        let converter = RowConverter::new(fields).or_fail(Kind::Bug, bug)?;
        let keys = converter.convert_columns(&columns).or_fail(Kind::Bug, bug)?;
        let mut index: HashMap<&[u8], usize> = HashMap::new();
        let mut groups: Vec<Vec<u32>> = Vec::new();
        for (row, key) in keys.iter().enumerate() {
            let group = *index.entry(key.data()).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            if let (Some(rows), Ok(row)) = (groups.get_mut(group), u32::try_from(row)) {
                rows.push(row);
            }
        }
        let mut split = BTreeMap::new();
        for rows in groups {
            let first = rows.first().copied().unwrap_or_default() as usize;
            let values = columns
                .iter()
                .map(|column| partition_value(column, first))
                .collect::<Result<Vec<_>>>()?;
            let part = if rows.len() == batch.num_rows() {
                batch.clone()
            } else {
                take_record_batch(batch, &UInt32Array::from(rows)).or_fail(Kind::Bug, bug)?
            };
            split.insert(values, part);
        }
        Ok(split.into_iter().collect())
    }

    /// The file's path under the table, with Hive's directories: some readers (Polars) take partition values from the
    /// path instead of the log. Values are percent-encoded once here, and the log's serialiser encodes the path again.
    fn path(&self, values: &[Option<String>]) -> String {
        let mut path = String::new();
        for (name, value) in self.partition_by.iter().zip(values) {
            let value = value.as_deref().map_or_else(|| HIVE_NULL.to_owned(), percent_encoded);
            path.push_str(&format!("{name}={value}/"));
        }
        path.push_str(&format!("part-{}.zstd.parquet", Uuid::new_v4().simple()));
        path
    }
}

/// A data file being written: its finished row groups are in memory, encoded, until all of it is stored at once.
pub(super) struct DataFile<'a> {
    layout: &'a Layout,
    values: Vec<Option<String>>,
    writer: ArrowWriter<Vec<u8>>,
    stats: Stats,
    /// Rows, and their bytes in memory, of the row group at hand.
    group: (usize, usize),
}

impl DataFile<'_> {
    /// Adds rows of the file's partition.
    pub(super) fn push(&mut self, rows: &RecordBatch) -> Result<()> {
        let stored = self.layout.file_rows(rows)?;
        self.stats.take(&stored);
        self.encode(&stored).or_fail(Kind::Bug, || "encoding Parquet")
    }

    fn encode(&mut self, rows: &RecordBatch) -> parquet::errors::Result<()> {
        let row_bytes = (rows.get_array_memory_size() / rows.num_rows().max(1)).max(1);
        let mut at = 0;
        while at < rows.num_rows() {
            let (had, bytes) = self.group;
            let room = (ROW_GROUP_BYTES.saturating_sub(bytes) / row_bytes).min(ROW_GROUP_ROWS - had);
            if room == 0 && had > 0 {
                self.writer.flush()?;
                self.group = (0, 0);
                continue;
            }
            let taken = room.max(1).min(rows.num_rows() - at);
            self.writer.write(&rows.slice(at, taken))?;
            self.group = (had + taken, bytes + taken * row_bytes);
            at += taken;
        }
        Ok(())
    }

    /// Rows so far.
    pub(super) fn rows(&self) -> usize {
        self.stats.rows()
    }

    /// Stores the file. Nobody sees it before a commit adds it.
    pub(super) async fn finish(self, store: &dyn ObjectStore, now_ms: i64, data_change: bool) -> Result<Add> {
        let bytes = self.writer.into_inner().or_fail(Kind::Bug, || "encoding Parquet")?;
        let path = self.layout.path(&self.values);
        let size = bytes.len();
        store
            .put(&location(&path), bytes.into())
            .await
            .or_fail(Kind::Unavailable, || format!("writing the data file {path}"))?;
        Ok(Add {
            path,
            partition_values: self.layout.partition_by.iter().cloned().zip(self.values).collect(),
            size: i64::try_from(size).unwrap_or(i64::MAX),
            modification_time: now_ms,
            data_change,
            stats: Some(self.stats.json().to_string()),
            ..Default::default()
        })
    }
}

fn percent_encoded(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// A partition value as Delta's log writes it; instants in ISO 8601 with `Z`, so that no reader's time zone matters.
fn partition_value(column: &ArrayRef, row: usize) -> Result<Option<String>> {
    if column.is_null(row) {
        return Ok(None);
    }
    let value = match column.data_type() {
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Boolean => column.as_boolean().value(row).to_string(),
        DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
        DataType::Date32 => date(column.as_primitive::<Date32Type>().value(row)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            rfc3339(column.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        other => return Err(Error::new(Kind::Bug, format!("{other} cannot be a partition column"))),
    };
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, TimestampMicrosecondArray};

    #[test]
    fn partition_values_are_in_utc_whatever_the_reader() {
        let times = TimestampMicrosecondArray::from(vec![1_767_225_600_000_000]).with_timezone("UTC");
        let value = partition_value(&(Arc::new(times) as ArrayRef), 0).unwrap();
        assert_eq!(value.as_deref(), Some("2026-01-01T00:00:00.000000Z"));
    }

    #[test]
    fn a_partition_directory_names_its_value_percent_encoded() {
        let schema = Arc::new(arrow::datatypes::Schema::empty());
        let layout = Layout::new(&schema, &["minute".to_owned(), "network".to_owned()]).unwrap();
        let path = layout.path(&[Some("2026-01-01T00:00:00.000000Z".to_owned()), None]);
        let directory = "minute=2026-01-01T00%3A00%3A00.000000Z/network=__HIVE_DEFAULT_PARTITION__/part-";
        assert!(path.starts_with(directory), "{path}");
        assert_eq!(location(&path).as_ref(), path, "the store must not escape it again");
    }

    #[test]
    fn a_batch_is_split_by_partition_and_keeps_its_row_order() {
        let schema = Arc::new(arrow::datatypes::Schema::new(vec![
            arrow::datatypes::Field::new("_seq", DataType::Int64, false),
            arrow::datatypes::Field::new("group", DataType::Int64, true),
        ]));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![1, 2, 3, 4])),
            Arc::new(Int64Array::from(vec![Some(9), None, Some(9), Some(8)])),
        ];
        let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
        let layout = Layout::new(&schema, &["group".to_owned()]).unwrap();
        let split: Vec<_> = layout
            .split(&batch)
            .unwrap()
            .into_iter()
            .map(|(key, rows)| (key, rows.column(0).as_primitive::<Int64Type>().values().to_vec()))
            .collect();
        let key = |text: &str| vec![Some(text.to_owned())];
        assert_eq!(
            split,
            [(vec![None], vec![2]), (key("8"), vec![4]), (key("9"), vec![1, 3])]
        );
    }
}
