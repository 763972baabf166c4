//! The columns of the table of events. Words are those of Spark's `StreamingQueryProgress` and of Databricks' event log
//! where these have one.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Float64Array, Int64Array, Int64Builder, ListBuilder, RecordBatch, StringArray,
    StringBuilder, StructBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use super::event::Event;
use crate::clock::Micros;
use crate::error::{Context, Kind, Result};
use crate::layer::silver::Fates;

/// The partition column.
pub(crate) const DATE: &str = "event_date";
const MICROS_PER_DAY: Micros = 86_400_000_000;

/// A column: its name, where its value comes from, and its comment.
type Column = (&'static str, From, &'static str);

/// Where the value of a column comes from, and so its type.
enum From {
    Text(fn(&Event) -> &str),
    Long(fn(&Event) -> Option<i64>),
    Double(fn(&Event) -> Option<f64>),
    Instant(fn(&Event) -> Option<Micros>),
    Date(fn(&Event) -> Option<Micros>),
    Rules(fn(&Event) -> Option<&Fates>),
}

use From::{Date, Double, Instant, Long, Rules, Text};

const COLUMNS: [Column; 35] = [
    ("timestamp", Instant(|it| it.entry.at), "when it was committed, UTC"),
    (
        "event_type",
        Text(|it| it.kind.word()),
        "flow_progress: a step of a layer; replay: all rows swapped; dataset_definition: the table made; \
         flow_definition: a changed definition taken into force; maintenance_progress: rows left as they are; \
         foreign: rows changed by someone else",
    ),
    ("layer", Text(|it| it.layer), "bronze, silver or gold"),
    (
        "dataset_name",
        Text(|it| &it.dataset),
        "the table committed to: bronze, silver, gold/NAME",
    ),
    (
        "batch_id",
        Long(|it| i64::try_from(it.entry.version).ok()),
        "version of that table, from 0",
    ),
    (
        "run_id",
        Text(|it| &it.entry.writer),
        "who committed: process and run, or the name of another engine",
    ),
    (
        "operation",
        Text(|it| &it.entry.operation),
        "Delta's word for what was done",
    ),
    (
        "start_position",
        Long(Event::start),
        "first bronze seq that the step passed",
    ),
    (
        "end_position",
        Long(|it| it.state("position")),
        "next bronze seq after it",
    ),
    (
        "num_input_rows",
        Long(|it| it.progress(|progress| Some(progress.rows))),
        "rows read: records and ticks for bronze, bronze rows for silver, silver rows for gold",
    ),
    (
        "num_output_rows",
        Long(|it| it.entry.rows_added),
        "rows that it added to the table; of a replay all that the table then has",
    ),
    (
        "num_input_bytes",
        Long(|it| it.state("bytes")),
        "bytes read: payloads, keys and headers for bronze, else the rows in memory",
    ),
    (
        "num_output_bytes",
        Long(Event::bytes_out),
        "bytes of the data files added, those of rejects and late rows included",
    ),
    (
        "num_added_files",
        Long(|it| Some(it.entry.files_added)),
        "data files added to the table",
    ),
    (
        "num_removed_files",
        Long(|it| Some(it.entry.files_removed)),
        "data files removed from the table",
    ),
    (
        "duration_ms_read",
        Double(|it| it.millis(|progress| Some(progress.read_us))),
        "milliseconds of reading; for bronze since the first record came",
    ),
    (
        "duration_ms_compute",
        Double(|it| it.millis(|progress| Some(progress.compute_us))),
        "milliseconds from there to the commit",
    ),
    (
        "duration_ms_previous_commit",
        Double(|it| it.millis(|progress| progress.previous_commit_us)),
        "milliseconds of writing and committing the step before, as none can tell its own; null for the first of a run",
    ),
    (
        "cpu_time_ms",
        Double(|it| Some(it.state("cpu_us")? as f64 / 1e3)),
        "milliseconds of CPU time of the layer's thread",
    ),
    (
        "backlog_records",
        Long(|it| it.progress.as_ref()?.backlog),
        "what upstream had beyond the step: Kafka records for bronze, else bronze seqs; null where it was not told",
    ),
    (
        "event_time_watermark",
        Instant(Event::watermark),
        "event-time watermark after it, UTC; the end of 9999 once the input was declared ended",
    ),
    (
        "state_num_rows_total",
        Long(|it| it.progress(|progress| progress.state_rows)),
        "keys that silver knows duplicates by, or groups in gold's open windows",
    ),
    (
        "state_memory_used_bytes",
        Long(|it| it.progress(|progress| progress.state_bytes)),
        "bytes of memory that these take, about",
    ),
    (
        "num_open_windows",
        Long(|it| it.state("open_windows")),
        "gold's windows not yet closed",
    ),
    (
        "num_rows_dropped_by_watermark",
        Long(|it| it.state("late").filter(|_| it.layer == "gold")),
        "rows that came after their window had closed; each is a row of the table of late rows",
    ),
    (
        "num_ticks",
        Long(|it| it.fate(|fates| fates.ticks)),
        "ticks among silver's input rows",
    ),
    (
        "num_rejected_malformed",
        Long(|it| it.fate(|fates| fates.malformed)),
        "records rejected as no JSON of one event",
    ),
    (
        "num_rejected_schema",
        Long(|it| it.fate(|fates| fates.schema)),
        "records rejected as not what the contract says",
    ),
    (
        "num_rejected_lookup",
        Long(|it| it.fate(|fates| fates.lookup)),
        "records rejected as without a match in reference data",
    ),
    (
        "num_rejected_expectation",
        Long(|it| it.fate(|fates| fates.expectation)),
        "records rejected by a rule",
    ),
    (
        "num_rejected_event_time",
        Long(|it| it.fate(|fates| fates.event_time)),
        "records rejected as too far ahead of their own timestamp",
    ),
    (
        "num_rejected_duplicate",
        Long(|it| it.fate(|fates| fates.duplicate)),
        "records that repeat an accepted row",
    ),
    (
        "num_rejected_dropped",
        Long(|it| it.fate(|fates| fates.dropped)),
        "records that a rule said to drop",
    ),
    (
        "expectations",
        Rules(|it| it.fates.as_ref()),
        "of each rule: records that passed and that failed it, among those it was asked about",
    ),
    (DATE, Date(|it| it.entry.at), "UTC date of timestamp"),
];

/// The columns; comments ride in the field metadata under `comment`.
pub(crate) fn schema() -> SchemaRef {
    let field = |(name, from, comment): &Column| {
        let metadata = [("comment".to_owned(), (*comment).to_owned())];
        Field::new(*name, from.kind(), !matches!(from, Text(_))).with_metadata(metadata.into())
    };
    Arc::new(Schema::new(COLUMNS.iter().map(field).collect::<Vec<_>>()))
}

/// A row per event.
pub(super) fn batch(events: &[Event]) -> Result<RecordBatch> {
    let columns = COLUMNS.iter().map(|(_, from, _)| from.array(events)).collect();
    RecordBatch::try_new(schema(), columns).or_fail(Kind::Bug, || "the rows of events")
}

impl From {
    fn kind(&self) -> DataType {
        match self {
            Text(_) => DataType::Utf8,
            Long(_) => DataType::Int64,
            Double(_) => DataType::Float64,
            Instant(_) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Date(_) => DataType::Date32,
            Rules(_) => DataType::List(Arc::new(rule())),
        }
    }

    fn array(&self, events: &[Event]) -> ArrayRef {
        let events = events.iter();
        match self {
            Text(of) => Arc::new(StringArray::from_iter_values(events.map(of))),
            Long(of) => Arc::new(events.map(of).collect::<Int64Array>()),
            Double(of) => Arc::new(events.map(of).collect::<Float64Array>()),
            Instant(of) => Arc::new(
                events
                    .map(of)
                    .collect::<TimestampMicrosecondArray>()
                    .with_timezone("UTC"),
            ),
            Date(of) => Arc::new(events.map(|event| of(event).and_then(day)).collect::<Date32Array>()),
            Rules(of) => rules(events.map(of)),
        }
    }
}

fn day(at: Micros) -> Option<i32> {
    i32::try_from(at.div_euclid(MICROS_PER_DAY)).ok()
}

fn rule_fields() -> Fields {
    Fields::from(vec![
        Field::new("name", DataType::Utf8, false),
        Field::new("passed_records", DataType::Int64, false),
        Field::new("failed_records", DataType::Int64, false),
    ])
}

fn rule() -> Field {
    Field::new("element", DataType::Struct(rule_fields()), false)
}

/// Of each step the rules it asked; none of what asked none.
fn rules<'a>(steps: impl Iterator<Item = Option<&'a Fates>>) -> ArrayRef {
    let mut lists = ListBuilder::new(StructBuilder::from_fields(rule_fields(), 0)).with_field(rule());
    for fates in steps {
        for (name, failed) in fates.into_iter().flat_map(|fates| &fates.failed_rules) {
            let judged = fates.map_or(0, |fates| fates.judged);
            let rule = lists.values();
            if let Some(names) = rule.field_builder::<StringBuilder>(0) {
                names.append_value(name);
            }
            for (column, records) in [(1, judged.saturating_sub(*failed)), (2, *failed)] {
                if let Some(counts) = rule.field_builder::<Int64Builder>(column) {
                    counts.append_value(i64::try_from(records).unwrap_or(i64::MAX));
                }
            }
            rule.append(true);
        }
        lists.append(fates.is_some());
    }
    Arc::new(lists.finish())
}
