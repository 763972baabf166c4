//! Bronze rows as silver reads them, whatever string and binary layout the table reader chose.

use std::borrow::Cow;
use std::collections::HashMap;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Date32Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Int32Type, Int64Type, TimestampMicrosecondType};

use crate::definition::expression::instant;
use crate::error::{Context, Error, Kind, Result};
use crate::layer::bronze::Tick;

/// One record of bronze.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) seq: i64,
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// Kafka's timestamp in UTC microseconds.
    pub(super) timestamp: Option<i64>,
    pub(super) value: Option<&'a [u8]>,
    /// When bronze took it in, UTC microseconds.
    pub(super) ingested_at: i64,
    pub(super) ingest_date: i32,
}

/// The columns of a bronze batch, typed, and what can be known of it before any record is judged.
#[derive(Debug)]
pub(super) struct Input {
    seq: Int64Array,
    topic: StringArray,
    partition: Int32Array,
    offset: Int64Array,
    timestamp: TimestampMicrosecondArray,
    value: BinaryArray,
    ingested_at: TimestampMicrosecondArray,
    ingest_date: Date32Array,
    /// The rows that are ticks, ascending.
    ticks: Vec<(usize, Tick)>,
    /// `topic/partition` of every record; equal names share one place in `names`.
    places: Vec<u32>,
    names: Vec<String>,
}

impl Input {
    /// Takes the columns by name.
    ///
    /// # Errors
    /// `Kind::Damaged` where the batch is not what bronze wrote, `Kind::Bug` where its rows are not in seq order.
    pub(super) fn read(bronze: &RecordBatch) -> Result<Self> {
        let mut input = Self {
            seq: typed(bronze, "seq", &DataType::Int64)?
                .as_primitive::<Int64Type>()
                .clone(),
            topic: typed(bronze, "topic", &DataType::Utf8)?.as_string::<i32>().clone(),
            partition: typed(bronze, "partition", &DataType::Int32)?
                .as_primitive::<Int32Type>()
                .clone(),
            offset: typed(bronze, "offset", &DataType::Int64)?
                .as_primitive::<Int64Type>()
                .clone(),
            timestamp: typed(bronze, "timestamp", &instant())?
                .as_primitive::<TimestampMicrosecondType>()
                .clone(),
            value: typed(bronze, "value", &DataType::Binary)?.as_binary::<i32>().clone(),
            ingested_at: typed(bronze, "ingested_at", &instant())?
                .as_primitive::<TimestampMicrosecondType>()
                .clone(),
            ingest_date: typed(bronze, "ingest_date", &DataType::Date32)?
                .as_primitive::<Date32Type>()
                .clone(),
            ticks: Vec::new(),
            places: Vec::with_capacity(bronze.num_rows()),
            names: Vec::new(),
        };
        let kinds = typed(bronze, "kind", &DataType::Utf8)?;
        input.ascending()?;
        input.sort_kinds(kinds.as_string())?;
        Ok(input)
    }

    pub(super) fn len(&self) -> usize {
        self.seq.len()
    }

    /// The ticks by row, ascending.
    pub(super) fn ticks(&self) -> &[(usize, Tick)] {
        &self.ticks
    }

    /// The record in `row`, which must not be a tick.
    pub(super) fn record(&self, row: usize) -> Row<'_> {
        Row {
            seq: self.seq.value(row),
            topic: self.topic.value(row),
            partition: self.partition.value(row),
            offset: self.offset.value(row),
            timestamp: self.timestamp.is_valid(row).then(|| self.timestamp.value(row)),
            value: self.value(row),
            ingested_at: self.ingested_at.value(row),
            ingest_date: self.ingest_date.value(row),
        }
    }

    /// The payload of `row`; none for a tombstone.
    pub(super) fn value(&self, row: usize) -> Option<&[u8]> {
        self.value.is_valid(row).then(|| self.value.value(row))
    }

    /// `topic/partition` of the record in `row`.
    pub(super) fn partition_name(&self, row: usize) -> &str {
        let place = self.places.get(row).copied().unwrap_or(u32::MAX);
        self.names.get(place as usize).map_or("", String::as_str)
    }

    fn ascending(&self) -> Result<()> {
        let nulls = self.seq.null_count() + self.ingested_at.null_count() + self.ingest_date.null_count();
        if nulls > 0 {
            return Err(damaged("has a row without seq or time of ingestion".to_owned()));
        }
        let disorder = self.seq.values().windows(2).find(|pair| pair.first() >= pair.last());
        match disorder {
            None => Ok(()),
            Some(pair) => Err(Error::new(
                Kind::Bug,
                format!("bronze rows came to silver out of order: seq {pair:?}"),
            )),
        }
    }

    fn sort_kinds(&mut self, kinds: &StringArray) -> Result<()> {
        let mut known: HashMap<(&str, i32), u32> = HashMap::new();
        let mut last: Option<((&str, i32), u32)> = None;
        for row in 0..self.seq.len() {
            let seq = self.seq.value(row);
            match kinds.value(row) {
                "record" => {}
                "tick" => {
                    self.ticks.push((row, tick(&self.value, row, seq)?));
                    self.places.push(u32::MAX);
                    continue;
                }
                other => return Err(damaged(format!("seq {seq} has the unknown kind {other:?}"))),
            }
            if self.topic.is_null(row) || self.partition.is_null(row) || self.offset.is_null(row) {
                return Err(damaged(format!(
                    "the record with seq {seq} has no topic, partition or offset"
                )));
            }
            let id = (self.topic.value(row), self.partition.value(row));
            let place = match last {
                Some((same, place)) if same == id => place,
                _ => *known.entry(id).or_insert_with(|| {
                    self.names.push(format!("{}/{}", id.0, id.1));
                    u32::try_from(self.names.len() - 1).unwrap_or(u32::MAX)
                }),
            };
            last = Some((id, place));
            self.places.push(place);
        }
        Ok(())
    }
}

fn tick(values: &BinaryArray, row: usize, seq: i64) -> Result<Tick> {
    let json = if values.is_null(row) { &[] } else { values.value(row) };
    serde_json::from_slice(json).or_fail(Kind::Damaged, || format!("reading the tick with seq {seq} of bronze"))
}

/// The column as `wanted`, converted where a table reader chose another layout (views, dictionaries).
pub(super) fn typed<'a>(batch: &'a RecordBatch, name: &str, wanted: &DataType) -> Result<Cow<'a, ArrayRef>> {
    let column = batch
        .column_by_name(name)
        .ok_or_else(|| damaged(format!("has no column {name:?}")))?;
    if column.data_type() == wanted {
        return Ok(Cow::Borrowed(column));
    }
    cast(column, wanted)
        .map(Cow::Owned)
        .or_fail(Kind::Damaged, || format!("reading column {name:?} as {wanted}"))
}

fn damaged(what: String) -> Error {
    Error::new(Kind::Damaged, format!("a batch of table rows {what}"))
}
