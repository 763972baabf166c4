//! Building bronze batches: one copy of each payload, straight into Arrow.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Date32Builder, Int32Builder, Int64Builder, ListBuilder, RecordBatch, StringBuilder,
    StructBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use super::Tick;
use crate::clock::Micros;
use crate::error::{Context, Kind, Result};
use crate::source::Record;

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// The next batch has room for as many rows and bytes as the last, and one in so many more.
const ROOM_TO_SPARE: usize = 8;

/// The columns of every bronze table, in order; comments ride in the field metadata under `comment`.
pub fn schema() -> SchemaRef {
    let instant = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let column = |name: &str, kind: DataType, nullable: bool, comment: &str| {
        Field::new(name, kind, nullable).with_metadata([("comment".to_owned(), comment.to_owned())].into())
    };
    Arc::new(Schema::new(vec![
        column(
            "seq",
            DataType::Int64,
            false,
            "position of the row in the pipeline: 0, 1, 2, ... without holes",
        ),
        column(
            "kind",
            DataType::Utf8,
            false,
            "record: one Kafka record; tick: a note of the bronze writer",
        ),
        column(
            "topic",
            DataType::Utf8,
            true,
            "Kafka topic, or the path of the file; null for a tick",
        ),
        column(
            "partition",
            DataType::Int32,
            true,
            "Kafka partition, 0 for a file; null for a tick",
        ),
        column(
            "offset",
            DataType::Int64,
            true,
            "Kafka offset, or line number of the file from 0; null for a tick",
        ),
        column("timestamp", instant(), true, "the record's own timestamp, UTC"),
        column(
            "timestamp_type",
            DataType::Utf8,
            true,
            "create_time: set by the producer; log_append_time: by the broker",
        ),
        column("key", DataType::Binary, true, "the record's key; null is not empty"),
        column(
            "value",
            DataType::Binary,
            true,
            "the record's payload, untouched; null is a tombstone, not empty",
        ),
        column(
            "headers",
            DataType::List(Arc::new(header_item())),
            true,
            "the record's headers in order; null where it has none",
        ),
        column(
            "ingested_at",
            instant(),
            false,
            "when medallion took the record in, UTC",
        ),
        column("ingest_date", DataType::Date32, false, "UTC date of ingested_at"),
    ]))
}

fn header_fields() -> Fields {
    Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Binary, true),
    ])
}

fn header_item() -> Field {
    Field::new("element", DataType::Struct(header_fields()), false)
}

/// Collects records and ticks into one batch, giving each the next seq.
pub struct BronzeBuilder {
    next_seq: i64,
    bytes: usize,
    seq: Int64Builder,
    kind: StringBuilder,
    topic: StringBuilder,
    partition: Int32Builder,
    offset: Int64Builder,
    timestamp: TimestampMicrosecondBuilder,
    timestamp_type: StringBuilder,
    key: BinaryBuilder,
    value: BinaryBuilder,
    headers: ListBuilder<StructBuilder>,
    ingested_at: TimestampMicrosecondBuilder,
    ingest_date: Date32Builder,
}

impl BronzeBuilder {
    /// A builder whose first row gets `next_seq`.
    pub fn new(next_seq: i64) -> Self {
        let item = StructBuilder::from_fields(header_fields(), 0);
        Self {
            next_seq,
            bytes: 0,
            seq: Int64Builder::new(),
            kind: StringBuilder::new(),
            topic: StringBuilder::new(),
            partition: Int32Builder::new(),
            offset: Int64Builder::new(),
            timestamp: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            timestamp_type: StringBuilder::new(),
            key: BinaryBuilder::new(),
            value: BinaryBuilder::new(),
            headers: ListBuilder::new(item).with_field(header_item()),
            ingested_at: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            ingest_date: Date32Builder::new(),
        }
    }

    /// An empty builder with room for somewhat more than this one holds: the next batch is about as large, and a buffer
    /// that grows is copied each time it doubles. Room that nothing is written to takes no memory.
    fn successor(&self) -> Self {
        let room = |held: usize| held + held / ROOM_TO_SPARE;
        let rows = room(self.rows());
        let text = |column: &StringBuilder| StringBuilder::with_capacity(rows, room(column.values_slice().len()));
        let binary = |column: &BinaryBuilder| BinaryBuilder::with_capacity(rows, room(column.values_slice().len()));
        Self {
            seq: Int64Builder::with_capacity(rows),
            kind: text(&self.kind),
            topic: text(&self.topic),
            partition: Int32Builder::with_capacity(rows),
            offset: Int64Builder::with_capacity(rows),
            timestamp: TimestampMicrosecondBuilder::with_capacity(rows).with_timezone("UTC"),
            timestamp_type: text(&self.timestamp_type),
            key: binary(&self.key),
            value: binary(&self.value),
            ingested_at: TimestampMicrosecondBuilder::with_capacity(rows).with_timezone("UTC"),
            ingest_date: Date32Builder::with_capacity(rows),
            ..Self::new(self.next_seq)
        }
    }

    /// Rows collected so far.
    pub fn rows(&self) -> usize {
        self.seq.values_slice().len()
    }

    /// Payload, key and header bytes collected so far.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The seq the next row will get.
    pub fn next_seq(&self) -> i64 {
        self.next_seq
    }

    /// Adds a record, taken in at `now`.
    pub fn record(&mut self, record: &Record<'_>, now: Micros) {
        self.begin("record", now);
        self.topic.append_value(record.topic);
        self.partition.append_value(record.partition);
        self.offset.append_value(record.offset);
        self.timestamp.append_option(record.timestamp);
        self.timestamp_type.append_option(record.timestamp_type.word());
        self.key.append_option(record.key);
        self.value.append_option(record.value);
        self.bytes += record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        if record.headers.is_empty() {
            self.headers.append(false);
            return;
        }
        for (name, value) in record.headers {
            self.bytes += name.len() + value.map_or(0, <[u8]>::len);
            let item = self.headers.values();
            if let Some(names) = item.field_builder::<StringBuilder>(0) {
                names.append_value(name);
            }
            if let Some(values) = item.field_builder::<BinaryBuilder>(1) {
                values.append_option(*value);
            }
            item.append(true);
        }
        self.headers.append(true);
    }

    /// Adds a tick, written at `now`.
    pub fn tick(&mut self, tick: &Tick, now: Micros) {
        self.begin("tick", now);
        self.topic.append_null();
        self.partition.append_null();
        self.offset.append_null();
        self.timestamp.append_null();
        self.timestamp_type.append_null();
        self.key.append_null();
        let value = serde_json::to_vec(tick).unwrap_or_default();
        self.bytes += value.len();
        self.value.append_value(value);
        self.headers.append(false);
    }

    /// The batch so far, or none where there are no rows; the builder goes on with the next seq.
    pub fn finish(&mut self) -> Result<Option<RecordBatch>> {
        if self.rows() == 0 {
            return Ok(None);
        }
        let successor = self.successor();
        let mut full = std::mem::replace(self, successor);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(full.seq.finish()),
            Arc::new(full.kind.finish()),
            Arc::new(full.topic.finish()),
            Arc::new(full.partition.finish()),
            Arc::new(full.offset.finish()),
            Arc::new(full.timestamp.finish()),
            Arc::new(full.timestamp_type.finish()),
            Arc::new(full.key.finish()),
            Arc::new(full.value.finish()),
            Arc::new(full.headers.finish()),
            Arc::new(full.ingested_at.finish()),
            Arc::new(full.ingest_date.finish()),
        ];
        RecordBatch::try_new(schema(), columns)
            .map(Some)
            .or_fail(Kind::Bug, || "building a bronze batch")
    }

    fn begin(&mut self, kind: &str, now: Micros) {
        self.seq.append_value(self.next_seq);
        self.next_seq += 1;
        self.kind.append_value(kind);
        self.ingested_at.append_value(now);
        let day = now.div_euclid(MICROS_PER_DAY);
        self.ingest_date.append_value(i32::try_from(day).unwrap_or(i32::MAX));
    }
}
