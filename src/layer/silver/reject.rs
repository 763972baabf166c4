//! Records that are no row of silver: why, and their table.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, BinaryBuilder, Date32Builder, Int32Builder, Int64Builder, ListBuilder, RecordBatch, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::input::Row;
use crate::definition::expression::instant;
use crate::error::{Context, Kind, Result};

/// Why a record is no row of silver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It is not the JSON of one event.
    Malformed,
    /// It is JSON, but not what the contract says.
    Schema,
    /// Reference data has no match for it.
    Lookup,
    /// A rule did not pass, or an expression failed on it.
    Expectation,
    /// It is too far ahead of its record's timestamp.
    EventTime,
    /// It repeats an accepted row.
    Duplicate,
    /// A rule said to drop it.
    Dropped,
}

impl Reason {
    /// All reasons, in the order of the steps that give them.
    pub const ALL: [Self; 7] = [
        Self::Malformed,
        Self::Schema,
        Self::Lookup,
        Self::Expectation,
        Self::Dropped,
        Self::EventTime,
        Self::Duplicate,
    ];

    /// The word in the `reason` column.
    pub fn word(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Schema => "schema",
            Self::Lookup => "lookup",
            Self::Expectation => "expectation",
            Self::EventTime => "event_time",
            Self::Duplicate => "duplicate",
            Self::Dropped => "dropped",
        }
    }

    /// Whether the payload goes into the rejects table: it is of use there, and not in silver already.
    fn keeps_value(self) -> bool {
        !matches!(self, Self::Duplicate | Self::Dropped)
    }
}

/// The judgement on one record that is no row of silver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The first step that refused it.
    pub reason: Reason,
    /// Rules that did not pass, in declared order, those that only warn left out.
    pub rules: Vec<String>,
    /// For people: what was expected, and what was found.
    pub detail: String,
    /// The seq of the accepted row that it repeats.
    pub duplicate_of: Option<i64>,
}

impl Rejection {
    pub(super) fn new(reason: Reason, detail: String) -> Self {
        Self {
            reason,
            rules: Vec::new(),
            detail,
            duplicate_of: None,
        }
    }
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let column = |name: &str, kind: DataType, nullable: bool, comment: &str| {
        Field::new(name, kind, nullable).with_metadata([("comment".to_owned(), comment.to_owned())].into())
    };
    Arc::new(Schema::new(vec![
        column("seq", DataType::Int64, false, "position of the record in bronze"),
        column("topic", DataType::Utf8, false, "Kafka topic, or the path of the file"),
        column("partition", DataType::Int32, false, "Kafka partition, 0 for a file"),
        column(
            "offset",
            DataType::Int64,
            false,
            "Kafka offset, or line number of the file from 0",
        ),
        column("timestamp", instant(), true, "the record's own timestamp, UTC"),
        column(
            "value",
            DataType::Binary,
            true,
            "the payload, untouched; null for duplicates and drops, and for a tombstone",
        ),
        column(
            "reason",
            DataType::Utf8,
            false,
            "malformed, schema, lookup, expectation, event_time, duplicate or dropped",
        ),
        column(
            "rules",
            DataType::List(Arc::new(rule_item())),
            false,
            "rules that did not pass, those that only warn left out",
        ),
        column("detail", DataType::Utf8, false, "what is wrong, with member and value"),
        column(
            "duplicate_of",
            DataType::Int64,
            true,
            "seq of the accepted row that the record repeats",
        ),
        column(
            "ingest_date",
            DataType::Date32,
            false,
            "UTC date on which medallion took the record in",
        ),
    ]))
});

fn rule_item() -> Field {
    Field::new("element", DataType::Utf8, false)
}

/// The columns of every rejects table, in order; comments ride in the field metadata under `comment`.
pub fn rejects_schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// Collects rejected records into one batch of [`rejects_schema`].
pub(super) struct RejectsBuilder {
    seq: Int64Builder,
    topic: StringBuilder,
    partition: Int32Builder,
    offset: Int64Builder,
    timestamp: TimestampMicrosecondBuilder,
    value: BinaryBuilder,
    reason: StringBuilder,
    rules: ListBuilder<StringBuilder>,
    detail: StringBuilder,
    duplicate_of: Int64Builder,
    ingest_date: Date32Builder,
}

impl RejectsBuilder {
    pub(super) fn new() -> Self {
        Self {
            seq: Int64Builder::new(),
            topic: StringBuilder::new(),
            partition: Int32Builder::new(),
            offset: Int64Builder::new(),
            timestamp: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            value: BinaryBuilder::new(),
            reason: StringBuilder::new(),
            rules: ListBuilder::new(StringBuilder::new()).with_field(rule_item()),
            detail: StringBuilder::new(),
            duplicate_of: Int64Builder::new(),
            ingest_date: Date32Builder::new(),
        }
    }

    pub(super) fn push(&mut self, row: &Row<'_>, rejection: &Rejection) {
        self.seq.append_value(row.seq);
        self.topic.append_value(row.topic);
        self.partition.append_value(row.partition);
        self.offset.append_value(row.offset);
        self.timestamp.append_option(row.timestamp);
        self.value
            .append_option(row.value.filter(|_| rejection.reason.keeps_value()));
        self.reason.append_value(rejection.reason.word());
        for rule in &rejection.rules {
            self.rules.values().append_value(rule);
        }
        self.rules.append(true);
        self.detail.append_value(&rejection.detail);
        self.duplicate_of.append_option(rejection.duplicate_of);
        self.ingest_date.append_value(row.ingest_date);
    }

    pub(super) fn finish(mut self) -> Result<RecordBatch> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.seq.finish()),
            Arc::new(self.topic.finish()),
            Arc::new(self.partition.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.timestamp.finish()),
            Arc::new(self.value.finish()),
            Arc::new(self.reason.finish()),
            Arc::new(self.rules.finish()),
            Arc::new(self.detail.finish()),
            Arc::new(self.duplicate_of.finish()),
            Arc::new(self.ingest_date.finish()),
        ];
        RecordBatch::try_new(rejects_schema(), columns).or_fail(Kind::Bug, || "building a rejects batch")
    }
}
