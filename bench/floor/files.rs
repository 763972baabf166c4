//! Rows into Parquet files, one per table, with the program's codec, encodings and row groups.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Float64Array, Int32Array, Int32Builder, Int64Builder, RecordBatch, StringBuilder,
    TimestampMicrosecondArray, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use rdkafka::Message;
use rdkafka::message::BorrowedMessage;

use super::Result;
use super::event::{Event, Networks};

const ROW_GROUP_ROWS: usize = 128 * 1024;
/// Rows that are collected before they go to the writer.
const BATCH_ROWS: usize = 16 * 1024;
const MINUTE: i64 = 60_000_000;

fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// One Parquet file that is being written.
struct Sheet {
    schema: SchemaRef,
    writer: ArrowWriter<BufWriter<File>>,
}

impl Sheet {
    fn create(path: &Path, columns: &[(&str, DataType)]) -> Result<Self> {
        let fields: Vec<_> = columns
            .iter()
            .map(|(name, kind)| Field::new(*name, kind.clone(), true))
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_statistics_enabled(EnabledStatistics::Chunk);
        for (name, kind) in columns {
            let column = ColumnPath::from(*name);
            if matches!(kind, DataType::Binary) {
                properties = properties
                    .set_column_dictionary_enabled(column.clone(), false)
                    .set_column_statistics_enabled(column, EnabledStatistics::None);
            } else if matches!(kind, DataType::Int64 | DataType::Timestamp(..)) {
                properties = properties
                    .set_column_dictionary_enabled(column.clone(), false)
                    .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
            }
        }
        let file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties.build()))?;
        Ok(Self { schema, writer })
    }

    fn write(&mut self, columns: Vec<ArrayRef>) -> Result<()> {
        let batch = RecordBatch::try_new(self.schema.clone(), columns)?;
        Ok(self.writer.write(&batch)?)
    }

    fn close(self) -> Result<()> {
        self.writer.close()?;
        Ok(())
    }
}

/// Records as they came.
pub(crate) struct Bronze {
    sheet: Sheet,
    rows: usize,
    seq: Int64Builder,
    topic: StringBuilder,
    partition: Int32Builder,
    offset: Int64Builder,
    timestamp: TimestampMicrosecondBuilder,
    key: BinaryBuilder,
    value: BinaryBuilder,
}

impl Bronze {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let columns = [
            ("seq", DataType::Int64),
            ("topic", DataType::Utf8),
            ("partition", DataType::Int32),
            ("offset", DataType::Int64),
            ("timestamp", instant()),
            ("key", DataType::Binary),
            ("value", DataType::Binary),
        ];
        Ok(Self {
            sheet: Sheet::create(path, &columns)?,
            rows: 0,
            seq: Int64Builder::new(),
            topic: StringBuilder::new(),
            partition: Int32Builder::new(),
            offset: Int64Builder::new(),
            timestamp: TimestampMicrosecondBuilder::new().with_data_type(instant()),
            key: BinaryBuilder::new(),
            value: BinaryBuilder::new(),
        })
    }

    pub(crate) fn push(&mut self, seq: i64, message: &BorrowedMessage<'_>, timestamp: i64) -> Result<()> {
        self.seq.append_value(seq);
        self.topic.append_value(message.topic());
        self.partition.append_value(message.partition());
        self.offset.append_value(message.offset());
        self.timestamp.append_value(timestamp);
        self.key.append_option(message.key());
        self.value.append_option(message.payload());
        self.rows += 1;
        if self.rows == BATCH_ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.rows = 0;
        self.sheet.write(vec![
            Arc::new(self.seq.finish()),
            Arc::new(self.topic.finish()),
            Arc::new(self.partition.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.timestamp.finish()),
            Arc::new(self.key.finish()),
            Arc::new(self.value.finish()),
        ])
    }

    pub(crate) fn close(mut self) -> Result<()> {
        self.flush()?;
        self.sheet.close()
    }
}

/// Valid views.
pub(crate) struct Silver {
    sheet: Sheet,
    rows: usize,
    view_id: StringBuilder,
    start: TimestampMicrosecondBuilder,
    end: TimestampMicrosecondBuilder,
    banner: Int64Builder,
    campaign: Int32Builder,
    network: Int32Builder,
    seq: Int64Builder,
    partition: Int32Builder,
    offset: Int64Builder,
    timestamp: TimestampMicrosecondBuilder,
}

impl Silver {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let columns = [
            ("view_id", DataType::Utf8),
            ("start_timestamp", instant()),
            ("end_timestamp", instant()),
            ("banner_id", DataType::Int64),
            ("campaign_id", DataType::Int32),
            ("network_id", DataType::Int32),
            ("_seq", DataType::Int64),
            ("_partition", DataType::Int32),
            ("_offset", DataType::Int64),
            ("_timestamp", instant()),
        ];
        let time = || TimestampMicrosecondBuilder::new().with_data_type(instant());
        Ok(Self {
            sheet: Sheet::create(path, &columns)?,
            rows: 0,
            view_id: StringBuilder::new(),
            start: time(),
            end: time(),
            banner: Int64Builder::new(),
            campaign: Int32Builder::new(),
            network: Int32Builder::new(),
            seq: Int64Builder::new(),
            partition: Int32Builder::new(),
            offset: Int64Builder::new(),
            timestamp: time(),
        })
    }

    pub(crate) fn push(&mut self, seq: i64, from: &BorrowedMessage<'_>, time: i64, event: &Event<'_>) -> Result<()> {
        self.view_id.append_value(&event.view_id);
        self.start.append_value(event.start);
        self.end.append_value(event.end);
        self.banner.append_value(event.banner);
        self.campaign.append_value(event.campaign);
        self.network.append_value(event.network);
        self.seq.append_value(seq);
        self.partition.append_value(from.partition());
        self.offset.append_value(from.offset());
        self.timestamp.append_value(time);
        self.rows += 1;
        if self.rows == BATCH_ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.rows = 0;
        self.sheet.write(vec![
            Arc::new(self.view_id.finish()),
            Arc::new(self.start.finish()),
            Arc::new(self.end.finish()),
            Arc::new(self.banner.finish()),
            Arc::new(self.campaign.finish()),
            Arc::new(self.network.finish()),
            Arc::new(self.seq.finish()),
            Arc::new(self.partition.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.timestamp.finish()),
        ])
    }

    pub(crate) fn close(mut self) -> Result<()> {
        self.flush()?;
        self.sheet.close()
    }
}

/// Views and their microseconds.
#[derive(Clone, Copy, Default)]
struct Cell {
    count: i32,
    duration: i64,
}

/// The views of each minute, by campaign number; few minutes are touched at a time.
#[derive(Default)]
pub(crate) struct Windows(BTreeMap<i64, Vec<Cell>>);

impl Windows {
    pub(crate) fn add(&mut self, event: &Event<'_>) {
        let cells = self.0.entry(event.end.div_euclid(MINUTE)).or_default();
        let campaign = event.campaign as usize;
        if cells.len() <= campaign {
            cells.resize(campaign + 1, Cell::default());
        }
        if let Some(cell) = cells.get_mut(campaign) {
            cell.count += 1;
            cell.duration += event.end - event.start;
        }
    }

    /// Writes a row per minute and campaign. Returns their number.
    pub(crate) fn write(self, path: &Path, networks: &Networks) -> Result<usize> {
        let columns = [
            ("campaign_id", DataType::Int32),
            ("network_id", DataType::Int32),
            ("minute_timestamp", instant()),
            ("avg_duration", DataType::Float64),
            ("total_count", DataType::Int32),
        ];
        let cells: Vec<(i32, i64, Cell)> = self
            .0
            .iter()
            .flat_map(|(minute, cells)| (0..).zip(cells).map(|(campaign, cell)| (campaign, *minute, *cell)))
            .filter(|(_, _, cell)| cell.count > 0)
            .collect();
        let campaigns = cells.iter().map(|(campaign, _, _)| *campaign);
        let minutes = cells.iter().map(|(_, minute, _)| minute * MINUTE);
        let means = cells
            .iter()
            .map(|(_, _, it)| it.duration as f64 / (1e6 * f64::from(it.count)));
        let mut sheet = Sheet::create(path, &columns)?;
        sheet.write(vec![
            Arc::new(Int32Array::from_iter_values(campaigns.clone())),
            Arc::new(Int32Array::from_iter(campaigns.map(|campaign| networks.of(campaign)))),
            Arc::new(TimestampMicrosecondArray::from_iter_values(minutes).with_timezone("UTC")),
            Arc::new(Float64Array::from_iter_values(means)),
            Arc::new(Int32Array::from_iter_values(cells.iter().map(|(_, _, it)| it.count))),
        ])?;
        sheet.close()?;
        Ok(cells.len())
    }
}
