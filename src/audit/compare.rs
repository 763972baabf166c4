//! Comparing what is there with what should be, row by row.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::row::{RowConverter, Rows, SortField};
use arrow::util::pretty::pretty_format_batches;

use super::{Finding, Report};
use crate::error::{Context, Kind, Result};

/// Reports the first row where `actual` is not `expected`; both have the same columns, in the order to compare.
/// Returns whether they are the same.
pub(super) fn same(table: &str, expected: &RecordBatch, actual: &RecordBatch, report: &mut Report) -> Result<bool> {
    if expected == actual {
        return Ok(true);
    }
    let (wanted, found) = (rows(expected)?, rows(actual)?);
    let common = wanted.num_rows().min(found.num_rows());
    let at = (0..common)
        .find(|row| wanted.row(*row) != found.row(*row))
        .unwrap_or(common);
    if at == wanted.num_rows() && at == found.num_rows() {
        return Ok(true);
    }
    let shown = |batch: &RecordBatch, label: &str| -> Result<String> {
        let one = batch.slice(at.min(batch.num_rows()), usize::from(at < batch.num_rows()));
        let text = pretty_format_batches(&[one]).or_fail(Kind::Bug, || "formatting rows")?;
        Ok(format!("{label}\n{text}"))
    };
    let what = match (wanted.num_rows() > at, found.num_rows() > at) {
        (true, true) => "a row is not what it should be",
        (true, false) => "a row is missing",
        _ => "a row should not be there",
    };
    report.findings.push(Finding {
        table: table.to_owned(),
        what: what.to_owned(),
        rows: Some(format!("{}\n{}", shown(expected, "should be:")?, shown(actual, "is:")?)),
    });
    Ok(false)
}

/// The rows of the batches in the order of all their columns from the first.
pub(super) fn sorted(batches: &[RecordBatch], schema: &arrow::datatypes::SchemaRef) -> Result<RecordBatch> {
    let all = concat_batches(schema, batches).or_fail(Kind::Bug, || "joining batches")?;
    let rows = rows(&all)?;
    let mut order: Vec<u32> = (0..u32::try_from(all.num_rows()).or_fail(Kind::Bug, || "too many rows")?).collect();
    order.sort_by(|a, b| rows.row(*a as usize).cmp(&rows.row(*b as usize)));
    take_record_batch(&all, &UInt32Array::from(order)).or_fail(Kind::Bug, || "sorting rows")
}

fn rows(batch: &RecordBatch) -> Result<Rows> {
    let fields = batch
        .schema()
        .fields()
        .iter()
        .map(|field| SortField::new(field.data_type().clone()))
        .collect();
    let converter = RowConverter::new(fields).or_fail(Kind::Bug, || "comparing rows")?;
    converter
        .convert_columns(batch.columns())
        .or_fail(Kind::Bug, || "comparing rows")
}
