//! Records that are still in the running for silver, as columns that grow to the right and shrink downwards.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter;
use arrow::datatypes::SchemaRef;

use crate::error::{Context, Kind, Result};

/// Decoded records, ascending by bronze row.
#[derive(Debug)]
pub(super) struct Candidates {
    /// The bronze row of each.
    rows: Vec<usize>,
    columns: Vec<ArrayRef>,
}

impl Candidates {
    pub(super) fn new(rows: Vec<usize>, columns: Vec<ArrayRef>) -> Self {
        Self { rows, columns }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The bronze rows, one per candidate.
    pub(super) fn rows(&self) -> &[usize] {
        &self.rows
    }

    pub(super) fn columns(&self) -> &[ArrayRef] {
        &self.columns
    }

    /// The columns at the given places, which exist since the definition was checked.
    pub(super) fn pick(&self, places: &[usize]) -> Vec<ArrayRef> {
        places
            .iter()
            .filter_map(|place| self.columns.get(*place).cloned())
            .collect()
    }

    pub(super) fn add(&mut self, columns: impl IntoIterator<Item = ArrayRef>) {
        self.columns.extend(columns);
    }

    /// Takes out the candidates that `keep` says false of.
    pub(super) fn retain(&mut self, keep: &[bool]) -> Result<()> {
        if keep.iter().all(|keep| *keep) {
            return Ok(());
        }
        let mask = BooleanArray::from(keep.to_vec());
        for column in &mut self.columns {
            *column = filter(column, &mask).or_fail(Kind::Bug, || "taking out rejected rows")?;
        }
        let mut kept = keep.iter();
        self.rows.retain(|_| kept.next().copied().unwrap_or(false));
        Ok(())
    }

    /// The columns so far as a batch; `schema` starts with them.
    pub(super) fn batch(&self, schema: &SchemaRef) -> Result<RecordBatch> {
        let fields: Vec<_> = schema.fields().iter().take(self.columns.len()).cloned().collect();
        let schema = if fields.len() == schema.fields().len() {
            Arc::clone(schema)
        } else {
            Arc::new(arrow::datatypes::Schema::new(fields))
        };
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows.len()));
        RecordBatch::try_new_with_options(schema, self.columns.clone(), &options)
            .or_fail(Kind::Bug, || "building a batch of candidates")
    }
}
