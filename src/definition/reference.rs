//! Reference data: a CSV file with a header, read whole and checked.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDate, NaiveDateTime};

use super::raw::{Report, Spot};
use super::{FieldKind, Problem};

/// Problems of one file that are named; one wrong export has the same one on every line.
const NAMED: usize = 20;

/// A CSV file in memory.
#[derive(Debug)]
pub(super) struct Table {
    file: PathBuf,
    /// Column names, as the file has them.
    pub(super) header: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    line: usize,
    values: Vec<String>,
}

impl Table {
    /// Reads the file; lines that are no CSV, and a repeated column, are problems.
    pub(super) fn read(file: &Path) -> Result<Self, Vec<Problem>> {
        let mut report = Report::new(file);
        let Some(text) = report.read_data() else {
            return Err(report.into_problems());
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_reader(text.as_bytes());
        let header: Vec<String> = match reader.headers() {
            Ok(header) => header.iter().map(str::to_owned).collect(),
            Err(error) => {
                report.add(&Spot::line(1), error.to_string(), None);
                return Err(report.into_problems());
            }
        };
        if header.iter().all(String::is_empty) {
            report.add(&Spot::line(1), "has no header", None);
        }
        for (place, name) in header.iter().enumerate() {
            if header.iter().take(place).any(|earlier| earlier == name) {
                report.add(&Spot::new(1, name.as_str()), "is there twice", None);
            }
        }
        let mut rows = Vec::new();
        for record in reader.records() {
            match record {
                Ok(record) => rows.push(Row {
                    line: record
                        .position()
                        .map_or(0, |position| usize::try_from(position.line()).unwrap_or(0)),
                    values: record.iter().map(str::to_owned).collect(),
                }),
                Err(error) => {
                    let line = error
                        .position()
                        .map_or(0, |position| usize::try_from(position.line()).unwrap_or(0));
                    report.add(&Spot::line(line), reason(&error), None);
                    break;
                }
            }
        }
        if report.is_clean() {
            Ok(Self {
                file: file.to_owned(),
                header,
                rows,
            })
        } else {
            Err(report.into_problems())
        }
    }

    /// The narrowest type that holds all values of a column: int32, int64, else string. Empty values say nothing.
    pub(super) fn infer(&self, column: &str) -> FieldKind {
        let fits = |kind| {
            self.values(column)
                .all(|value| value.is_empty() || canonical(kind, value).is_some())
        };
        let empty = self.values(column).all(str::is_empty);
        match () {
            () if empty => FieldKind::String,
            () if fits(FieldKind::Int32) => FieldKind::Int32,
            () if fits(FieldKind::Int64) => FieldKind::Int64,
            () => FieldKind::String,
        }
    }

    /// Problems of the values: a key that is empty, mistyped or repeated, a taken value that does not fit its type.
    pub(super) fn check(&self, on: &[(String, FieldKind)], take: &[(String, FieldKind)]) -> Vec<Problem> {
        let mut report = Report::new(&self.file);
        let mut seen: HashMap<Vec<String>, usize> = HashMap::new();
        for row in &self.rows {
            for (name, kind) in take {
                let value = self.value(row, name);
                if !value.is_empty() && canonical(*kind, value).is_none() {
                    report.add(
                        &Spot::new(row.line, name.as_str()),
                        format!("{value:?} is not {}", noun(*kind)),
                        None,
                    );
                }
            }
            let Some(key) = self.key(row, on, &mut report) else {
                continue;
            };
            if let Some(first) = seen.get(&key) {
                let names: Vec<&str> = on.iter().map(|(name, _)| name.as_str()).collect();
                let message = format!("the key {} is already on line {first}", key.join(", "));
                report.add(&Spot::new(row.line, names.join(", ")), message, None);
            } else {
                seen.insert(key, row.line);
            }
        }
        let mut problems = report.into_problems();
        if problems.len() > NAMED {
            let more = problems.len() - NAMED;
            problems.truncate(NAMED);
            let mut rest = Report::new(&self.file);
            rest.add(&Spot::file(), format!("{more} more problems of this kind"), None);
            problems.extend(rest.into_problems());
        }
        problems
    }

    fn key(&self, row: &Row, on: &[(String, FieldKind)], report: &mut Report) -> Option<Vec<String>> {
        let mut key = Vec::with_capacity(on.len());
        for (name, kind) in on {
            let value = self.value(row, name);
            match canonical(*kind, value) {
                Some(value) if !value.is_empty() => key.push(value),
                _ => {
                    let message = format!("{value:?} is not {}, as the column of the event is", noun(*kind));
                    report.add(&Spot::new(row.line, name.as_str()), message, None);
                    return None;
                }
            }
        }
        Some(key)
    }

    fn value<'a>(&self, row: &'a Row, column: &str) -> &'a str {
        let place = self.header.iter().position(|name| name == column);
        place.and_then(|place| row.values.get(place)).map_or("", String::as_str)
    }

    fn values<'a>(&'a self, column: &'a str) -> impl Iterator<Item = &'a str> {
        self.rows.iter().map(move |row| self.value(row, column))
    }
}

/// The value in one spelling, so that equal values are equal text; none where it is not of the type.
fn canonical(kind: FieldKind, value: &str) -> Option<String> {
    match kind {
        FieldKind::String => Some(value.to_owned()),
        FieldKind::Boolean => value.parse::<bool>().ok().map(|value| value.to_string()),
        FieldKind::Int32 => value.parse::<i32>().ok().map(|value| value.to_string()),
        FieldKind::Int64 => value.parse::<i64>().ok().map(|value| value.to_string()),
        FieldKind::Float64 => value.parse::<f64>().ok().map(|value| value.to_string()),
        FieldKind::Date => value.parse::<NaiveDate>().ok().map(|value| value.to_string()),
        FieldKind::Timestamp => {
            let zoned = DateTime::parse_from_rfc3339(value).map(|time| time.timestamp_micros());
            let plain = || {
                value
                    .replace(' ', "T")
                    .parse::<NaiveDateTime>()
                    .map(|time| time.and_utc().timestamp_micros())
            };
            zoned.or_else(|_| plain()).ok().map(|micros| micros.to_string())
        }
    }
}

fn noun(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::String => "text",
        FieldKind::Boolean => "true or false",
        FieldKind::Int32 => "an int32",
        FieldKind::Int64 => "an int64",
        FieldKind::Float64 => "a number",
        FieldKind::Timestamp => "a timestamp",
        FieldKind::Date => "a date",
    }
}

fn reason(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("has {len} values, but the header has {expected_len} columns")
        }
        _ => error.to_string(),
    }
}
