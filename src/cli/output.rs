//! Printing results: tables for people, JSON for programs, and no panic when the reader goes away.

use std::io::{ErrorKind, Write};

use arrow::array::RecordBatch;
use arrow::util::display::FormatOptions;
use arrow::util::pretty::pretty_format_batches_with_options;
use serde::Serialize;

use crate::error::{Context, Kind, Result};

/// Prints a line to stdout. A reader that went away ends the output, not the command.
pub fn line(text: impl std::fmt::Display) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).or_fail(Kind::Unavailable, || "writing to stdout")
        }
        _ => Ok(()),
    }
}

/// Prints a value as one line of JSON.
pub fn json(value: &impl Serialize) -> Result<()> {
    line(serde_json::to_string(value).or_fail(Kind::Bug, || "writing JSON")?)
}

/// Prints rows as a table.
pub fn rows(batches: &[RecordBatch]) -> Result<()> {
    let options = FormatOptions::default().with_display_error(true).with_null("");
    line(pretty_format_batches_with_options(batches, &options).or_fail(Kind::Bug, || "formatting rows")?)
}

/// Prints rows as JSON, one object a line.
pub fn rows_as_json(batches: &[RecordBatch]) -> Result<()> {
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    let batches: Vec<&RecordBatch> = batches.iter().collect();
    let write = || "writing rows as JSON";
    writer.write_batches(&batches).or_fail(Kind::Bug, write)?;
    writer.finish().or_fail(Kind::Bug, write)?;
    let text = String::from_utf8(writer.into_inner()).or_fail(Kind::Bug, write)?;
    line(text.trim_end())
}

/// A table of aligned columns; the first row is the header.
pub fn columns(table: &[Vec<String>]) -> Result<()> {
    let width = |column: usize| {
        table
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    for row in table {
        let cells: Vec<String> = row
            .iter()
            .enumerate()
            .map(|(column, cell)| format!("{cell:<width$}", width = width(column).unwrap_or(0)))
            .collect();
        line(cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// A number with thousands separated, as people read it.
pub fn grouped(number: impl TryInto<i128>) -> String {
    let Ok(number) = number.try_into() else {
        return String::new();
    };
    let digits = number.unsigned_abs().to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if number < 0 { format!("-{grouped}") } else { grouped }
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_separated() {
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(-1000), "-1,000");
        assert_eq!(grouped(12), "12");
    }
}
