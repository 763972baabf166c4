//! Between the model's rows and the program's batches.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Int32Type, Int64Type, TimestampMicrosecondType};
use medallion::layer::bronze::{self, BronzeBuilder};
use medallion::source;

use super::{BronzeRow, RejectRow, SilverRow};

/// Bronze as the program writes it, in one batch; seq is the place in the list.
pub fn bronze(rows: &[BronzeRow]) -> RecordBatch {
    let mut builder = BronzeBuilder::new(0);
    for row in rows {
        match row {
            BronzeRow::Tick(tick) => builder.tick(tick, 0),
            BronzeRow::Record(record) => {
                let timestamp_type = match record.timestamp {
                    Some(_) => source::TimestampType::Create,
                    None => source::TimestampType::None,
                };
                let record_in = source::Record {
                    topic: &record.topic,
                    partition: record.partition,
                    offset: record.offset,
                    timestamp: record.timestamp,
                    timestamp_type,
                    key: None,
                    value: record.value.as_deref(),
                    headers: &[],
                };
                builder.record(&record_in, record.ingested_at);
            }
        }
    }
    let empty = || RecordBatch::new_empty(bronze::schema());
    builder.finish().unwrap().unwrap_or_else(empty)
}

/// The rows of a silver batch.
pub fn silver_rows(batch: &RecordBatch) -> Vec<SilverRow> {
    let table = Table(batch);
    let row = |row: usize| SilverRow {
        view_id: table.text("view_id", row),
        start_timestamp: table.instant("start_timestamp", row).unwrap(),
        end_timestamp: table.instant("end_timestamp", row).unwrap(),
        banner_id: table.long("banner_id", row).unwrap(),
        campaign_id: table.int("campaign_id", row).unwrap(),
        network_id: table.int("network_id", row),
        duration_ms: table.long("duration_ms", row).unwrap(),
        event_date: table.date("event_date", row),
        seq: table.long("_seq", row).unwrap(),
        partition: table.int("_partition", row).unwrap(),
        offset: table.long("_offset", row).unwrap(),
        timestamp: table.instant("_timestamp", row),
        watermark: table.instant("_watermark", row),
    };
    (0..batch.num_rows()).map(row).collect()
}

/// The rows of a rejects batch.
pub fn reject_rows(batch: &RecordBatch) -> Vec<RejectRow> {
    let table = Table(batch);
    let row = |row: usize| {
        assert!(!table.text("detail", row).is_empty());
        let value = table.column("value").as_binary::<i32>();
        let rules = table.column("rules").as_list::<i32>().value(row);
        RejectRow {
            seq: table.long("seq", row).unwrap(),
            topic: table.text("topic", row),
            partition: table.int("partition", row).unwrap(),
            offset: table.long("offset", row).unwrap(),
            timestamp: table.instant("timestamp", row),
            value: value.is_valid(row).then(|| value.value(row).to_vec()),
            reason: table.text("reason", row),
            rules: rules
                .as_string::<i32>()
                .iter()
                .map(|rule| rule.unwrap().to_owned())
                .collect(),
            duplicate_of: table.long("duplicate_of", row),
            ingest_date: table.date("ingest_date", row),
        }
    };
    (0..batch.num_rows()).map(row).collect()
}

struct Table<'a>(&'a RecordBatch);

impl Table<'_> {
    fn column(&self, name: &str) -> &ArrayRef {
        self.0.column_by_name(name).unwrap()
    }

    fn text(&self, name: &str, row: usize) -> String {
        self.column(name).as_string::<i32>().value(row).to_owned()
    }

    fn int(&self, name: &str, row: usize) -> Option<i32> {
        let column = self.column(name).as_primitive::<Int32Type>();
        column.is_valid(row).then(|| column.value(row))
    }

    fn long(&self, name: &str, row: usize) -> Option<i64> {
        let column = self.column(name).as_primitive::<Int64Type>();
        column.is_valid(row).then(|| column.value(row))
    }

    fn instant(&self, name: &str, row: usize) -> Option<i64> {
        let column = self.column(name).as_primitive::<TimestampMicrosecondType>();
        column.is_valid(row).then(|| column.value(row))
    }

    fn date(&self, name: &str, row: usize) -> i32 {
        self.column(name).as_primitive::<Date32Type>().value(row)
    }
}
