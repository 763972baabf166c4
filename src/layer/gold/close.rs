//! Closing windows: each is evaluated once, and gone.

use std::sync::Arc;

use arrow::array::{ArrayRef, PrimitiveArray, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::compute::{concat, take};
use arrow::datatypes::{Date32Type, TimestampMicrosecondType};
use datafusion::common::DataFusionError;
use datafusion::logical_expr::EmitTo;

use super::columns::cast;
use super::plan::{Plan, Source};
use super::state::{State, WindowState};
use super::window::Tumbling;
use crate::error::{Context, Error, Kind, Result};

/// The rows of closed windows: windows by start, groups by value.
#[derive(Default)]
struct Closed {
    /// The window's start, per row.
    starts: Vec<i64>,
    /// The encoded group values, per row.
    keys: Vec<Box<[u8]>>,
    /// Where the results of the row are in the joined arrays of `results`.
    places: Vec<u64>,
    /// Per aggregate call: one array per window, by group number.
    results: Vec<Vec<ArrayRef>>,
}

impl Plan {
    /// Closes all windows that are over at `watermark` (none: no event yet) and gives back their rows, each window and
    /// group once, by window start, then group values; none where no such window has rows.
    ///
    /// `state.closed` moves on even when there are no rows, and never back.
    pub fn close(&self, watermark: Option<i64>, state: &mut State) -> Result<Option<RecordBatch>> {
        let Some(watermark) = watermark else {
            return Ok(None);
        };
        state.closed = state.closed.max(self.window.closed(watermark));
        let mut closed = Closed {
            results: vec![Vec::new(); self.calls.len()],
            ..Closed::default()
        };
        let mut offset = 0;
        while let Some(window) = state.windows.first_entry() {
            if self.window.end(*window.key()) > state.closed {
                break;
            }
            let (start, window) = window.remove_entry();
            offset = closed
                .take(start, window, offset)
                .map_err(|error| self.not_computed(&error))?;
        }
        if closed.starts.is_empty() {
            return Ok(None);
        }
        self.rows_of(closed).map(Some)
    }

    fn rows_of(&self, closed: Closed) -> Result<RecordBatch> {
        let rows = closed.starts.len();
        let starts: ArrayRef =
            Arc::new(PrimitiveArray::<TimestampMicrosecondType>::from(closed.starts.clone()).with_timezone("UTC"));
        let dates = closed.starts.iter().map(|start| Tumbling::date(*start));
        let dates: ArrayRef = Arc::new(PrimitiveArray::<Date32Type>::from_iter_values(dates));
        let (groups, values) = self.evaluate(closed, rows).map_err(|error| self.not_computed(&error))?;

        let schema = self.schema();
        let mut columns = Vec::with_capacity(self.sources.len());
        for (source, field) in self.sources.iter().zip(schema.fields()) {
            let values = match source {
                Source::Start => Some(&starts),
                Source::Date => Some(&dates),
                Source::Group(number) => groups.get(*number),
                Source::Value(number) => values.get(*number),
            };
            let values = values.ok_or_else(|| Error::new(Kind::Bug, format!("column '{field}' has no source")))?;
            columns.push(cast(values, field.data_type(), field.name())?);
        }
        RecordBatch::try_new(schema, columns).or_fail(Kind::Damaged, || self.failed())
    }

    /// The group columns and the aggregate columns of closed windows.
    fn evaluate(&self, closed: Closed, rows: usize) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>), DataFusionError> {
        let parser = self.keys.parser();
        let groups = match self.groups.fields().is_empty() {
            true => Vec::new(),
            false => self
                .keys
                .convert_rows(closed.keys.iter().map(|key| parser.parse(key)))?,
        };
        let places = UInt64Array::from(closed.places);
        let mut columns = groups.clone();
        for windows in &closed.results {
            let windows: Vec<_> = windows.iter().map(AsRef::as_ref).collect();
            columns.push(take(&concat(&windows)?, &places, None)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let results = RecordBatch::try_new_with_options(Arc::clone(&self.results), columns, &options)?;
        let mut values = Vec::with_capacity(self.values.len());
        for value in &self.values {
            values.push(value.evaluate(&results)?.into_array(rows)?);
        }
        Ok((groups, values))
    }
}

impl Closed {
    /// Adds a window whose results begin at `offset`; gives back where the next one's begin.
    fn take(&mut self, start: i64, window: WindowState, offset: u64) -> Result<u64, DataFusionError> {
        for (mut accumulator, results) in window.accumulators.into_iter().zip(&mut self.results) {
            results.push(accumulator.evaluate(EmitTo::All)?);
        }
        let mut next = offset;
        for (key, number) in window.groups.into_sorted() {
            self.starts.push(start);
            self.keys.push(key);
            self.places.push(offset + number as u64);
            next += 1;
        }
        Ok(next)
    }
}
