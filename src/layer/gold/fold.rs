//! Taking silver rows into the open windows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::row::Rows;
use datafusion::common::DataFusionError;

use super::assign::{Assigned, assign};
use super::columns::{SEQ, cast, find, micros, micros_of_all, select};
use super::plan::Plan;
use super::state::{Groups, State, WindowState};
use crate::error::{Context, Error, Kind, Result};

/// What a batch's aggregate calls read, computed once for all windows.
struct Inputs {
    /// Per call: its arguments and its filter.
    calls: Vec<(Vec<ArrayRef>, Option<ArrayRef>)>,
    /// Encoded group values; none where there are no group columns.
    keys: Option<Rows>,
}

impl Plan {
    /// Takes silver rows, sorted by `_seq` and following those folded before, into the open windows; gives back the
    /// late ones as rows of [`Plan::late_schema`].
    ///
    /// `silver` has the [`Plan::input_columns`] in any order, and maybe others. Fails where a row is damaged, where an
    /// expression fails on its values (a division by zero, an overflow), and where a row that is not late belongs to a
    /// window already closed, which silver's watermark rules out.
    pub fn fold(&self, silver: &RecordBatch, state: &mut State) -> Result<RecordBatch> {
        let assigned = self.assign(silver, state)?;
        if let Some(row) = assigned.shut {
            return Err(self.shut(silver, row, state.closed));
        }
        self.accumulate(silver, &assigned, state)?;
        self.late_rows(silver, &assigned)
    }

    /// Takes the silver rows of before a restart into a fresh state, in `_seq` order: as [`Plan::fold`], but rows of
    /// closed windows and late rows, whose results are already written, are skipped.
    pub fn restore(&self, silver: &RecordBatch, state: &mut State) -> Result<()> {
        let assigned = self.assign(silver, state)?;
        self.accumulate(silver, &assigned, state)
    }

    fn assign(&self, silver: &RecordBatch, state: &State) -> Result<Assigned> {
        if u32::try_from(silver.num_rows()).is_err() {
            let message = format!("a batch of {} rows is too large for gold", silver.num_rows());
            return Err(Error::new(Kind::Bug, message));
        }
        let events = micros_of_all(silver, &self.event_time)?;
        let watermarks = micros(silver, super::columns::WATERMARK)?;
        Ok(assign(self.window, events.values(), &watermarks, state.closed))
    }

    fn accumulate(&self, silver: &RecordBatch, assigned: &Assigned, state: &mut State) -> Result<()> {
        if assigned.rows.is_empty() {
            return Ok(());
        }
        let work = self.work_rows(silver, assigned)?;
        let inputs = self.inputs(&work).map_err(|error| self.not_computed(&error))?;
        let mut numbers = Vec::new();
        for (start, span) in &assigned.windows {
            let window = match state.windows.entry(*start) {
                std::collections::btree_map::Entry::Occupied(window) => window.into_mut(),
                std::collections::btree_map::Entry::Vacant(place) => {
                    place.insert(self.open().or_fail(Kind::Bug, || self.failed())?)
                }
            };
            let rows = span.len();
            match &inputs.keys {
                Some(keys) => window
                    .groups
                    .number(span.clone().map(|row| keys.row(row)), &mut numbers),
                None => window.groups.number_all(rows, &mut numbers),
            }
            let groups = window.groups.len();
            for ((arguments, filter), accumulator) in inputs.calls.iter().zip(&mut window.accumulators) {
                let arguments: Vec<_> = arguments.iter().map(|values| values.slice(span.start, rows)).collect();
                let filter = filter.as_ref().map(|filter| filter.slice(span.start, rows));
                let filter = filter.as_ref().and_then(|filter| filter.as_boolean_opt());
                accumulator
                    .update_batch(&arguments, &numbers, filter, groups)
                    .map_err(|error| self.not_computed(&error))?;
            }
        }
        Ok(())
    }

    /// The columns that groups and aggregates read, of the rows for open windows, those of a window side by side.
    fn work_rows(&self, silver: &RecordBatch, assigned: &Assigned) -> Result<RecordBatch> {
        let mut columns = select(silver, &self.work)?;
        if !assigned.is_whole(silver.num_rows()) {
            columns = taken(&columns, &assigned.rows)?;
        }
        let options = RecordBatchOptions::new().with_row_count(Some(assigned.rows.len()));
        RecordBatch::try_new_with_options(Arc::clone(&self.work), columns, &options)
            .or_fail(Kind::Bug, || self.failed())
    }

    fn inputs(&self, work: &RecordBatch) -> Result<Inputs, DataFusionError> {
        let rows = work.num_rows();
        let mut calls = Vec::with_capacity(self.calls.len());
        for call in &self.calls {
            let mut arguments = Vec::with_capacity(call.arguments.len());
            for argument in &call.arguments {
                arguments.push(argument.evaluate(work)?.into_array(rows)?);
            }
            let filter = match &call.filter {
                Some(filter) => Some(filter.evaluate(work)?.into_array(rows)?),
                None => None,
            };
            calls.push((arguments, filter));
        }
        let mut values = Vec::new();
        for field in self.groups.fields() {
            values.extend(work.column_by_name(field.name()).map(Arc::clone));
        }
        let keys = match values.is_empty() {
            true => None,
            false => Some(self.keys.convert_columns(&values)?),
        };
        Ok(Inputs { calls, keys })
    }

    fn open(&self) -> Result<WindowState, DataFusionError> {
        let accumulators = self.calls.iter().map(|call| call.accumulator());
        Ok(WindowState {
            groups: Groups::default(),
            accumulators: accumulators.collect::<Result<_, _>>()?,
        })
    }

    fn late_rows(&self, silver: &RecordBatch, assigned: &Assigned) -> Result<RecordBatch> {
        let schema = self.late_schema();
        if assigned.late.is_empty() {
            return Ok(RecordBatch::new_empty(schema));
        }
        let starts =
            PrimitiveArray::<TimestampMicrosecondType>::from(assigned.late_starts.clone()).with_timezone("UTC");
        let starts: ArrayRef = Arc::new(starts);
        let mut columns = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            if *field.name() == self.start {
                columns.push(Arc::clone(&starts));
                continue;
            }
            let values = taken(std::slice::from_ref(find(silver, field.name())?), &assigned.late)?;
            for values in &values {
                columns.push(cast(values, field.data_type(), field.name())?);
            }
        }
        RecordBatch::try_new(schema, columns).or_fail(Kind::Damaged, || self.failed())
    }

    /// What the message of an error begins with.
    pub(super) fn failed(&self) -> String {
        format!("gold table '{}'", self.table)
    }

    /// An expression failed on values that silver rightly holds.
    pub(super) fn not_computed(&self, error: &DataFusionError) -> Error {
        let message = format!("gold table '{}': an aggregate cannot be computed: {error}", self.table);
        let next = "make the expression hold for all rows (nullif, try_cast, filter), then `medallion replay gold`";
        Error::new(Kind::Definition, message).with_next(next)
    }

    fn shut(&self, silver: &RecordBatch, row: u32, closed: i64) -> Error {
        let seq = find(silver, SEQ).ok().and_then(|seqs| {
            let seqs = seqs.as_primitive_opt::<arrow::datatypes::Int64Type>()?;
            let row = row as usize;
            (row < seqs.len() && seqs.is_valid(row)).then(|| seqs.value(row))
        });
        let seq = seq.map_or_else(|| "unknown".to_owned(), |seq| seq.to_string());
        let message = format!(
            "gold table '{}': the silver row with seq {seq} is in time, but windows up to {} are closed",
            self.table,
            crate::clock::rfc3339(closed),
        );
        let next = "silver's watermark went back: run `medallion audit`, then `medallion replay gold`";
        Error::new(Kind::Damaged, message).with_next(next)
    }
}

/// The rows with these numbers out of each column.
fn taken(columns: &[ArrayRef], rows: &[u32]) -> Result<Vec<ArrayRef>> {
    let rows = UInt32Array::from(rows.to_vec());
    columns
        .iter()
        .map(|values| take(values, &rows, None).or_fail(Kind::Bug, || "taking rows of a window"))
        .collect()
}
