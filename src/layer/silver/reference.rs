//! Reference data: a CSV file as a map from key to row, and its columns to take.
//!
//! The first line names the columns, in any order; others may be there. Keys are unique and never empty; an empty
//! value is null. Nothing is trimmed but the names.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use csv::{ByteRecord, ReaderBuilder, Trim};
use twox_hash::XxHash3_128;

use super::decode::{Column, Value, parse_date, parse_instant, shorten};
use super::key::{BuildUnhashed, Key, keys};
use crate::definition::{Contract, FieldKind, Lookup, Problem};
use crate::error::{Context, Error, Kind, Result};

/// Problems reported of one file; a file in the wrong format has one per line.
const PROBLEMS_SHOWN: usize = 20;

/// The reference data of one lookup, as it stood when it was read.
#[derive(Debug, Clone)]
pub struct Reference {
    /// Shared, so that handing a version to a step copies no data.
    rows: Arc<HashMap<Key, u32, BuildUnhashed>>,
    /// One per column of `Lookup::take`.
    columns: Vec<ArrayRef>,
    hash: String,
}

impl Reference {
    /// Reads the bytes of the lookup's file; key columns have the types that the contract gives them.
    ///
    /// # Errors
    /// `Kind::Definition` with every problem found (up to a screenful), each with file and line: a missing column, a
    /// value of another type, an empty or repeated key, bytes that are not CSV in UTF-8.
    pub fn parse(lookup: &Lookup, contract: &Contract, bytes: &[u8]) -> Result<Self> {
        let hash = Self::hash_of(bytes);
        let mut file = File::new(lookup, contract);
        // Spreadsheets write a byte order mark, which is no part of the first column's name.
        let loaded = file.load(bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes));
        if loaded.is_none() || !file.problems.is_empty() {
            return Err(Error::definition(file.problems));
        }
        let key_columns: Vec<ArrayRef> = file.keys.iter_mut().map(Column::finish).collect::<Result<_>>()?;
        let columns = file.taken.iter_mut().map(Column::finish).collect::<Result<_>>()?;
        let mut rows = HashMap::with_capacity_and_hasher(file.lines.len(), BuildUnhashed::default());
        for (row, key) in (0_u32..).zip(keys(&key_columns, file.lines.len())?) {
            match rows.entry(key) {
                Entry::Vacant(place) => {
                    place.insert(row);
                }
                Entry::Occupied(first) => {
                    let line_of = |row: u32| file.lines.get(row as usize).copied().unwrap_or(0);
                    let message = format!("the key of line {} is there again", line_of(*first.get()));
                    let line = line_of(row);
                    file.problem(line, lookup.on.join(", "), message);
                }
            }
        }
        if !file.problems.is_empty() {
            return Err(Error::definition(file.problems));
        }
        Ok(Self {
            rows: Arc::new(rows),
            columns,
            hash,
        })
    }

    /// The hash that [`Reference::hash`] gives of a file with these bytes.
    pub fn hash_of(bytes: &[u8]) -> String {
        format!("{:032x}", XxHash3_128::oneshot(bytes))
    }

    /// A hash of the file's bytes, in hex: what a commit records of it.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Rows of the file.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether the file has no rows, so that every lookup misses.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The matching row of each of the `rows` keys in `on`, the key columns in declared order.
    ///
    /// # Errors
    /// `Kind::Bug` where a key column has a type that no table of ours stores.
    pub fn find(&self, on: &[ArrayRef], rows: usize) -> Result<Vec<Option<u32>>> {
        let keys = keys(on, rows)?;
        Ok(keys.iter().map(|key| self.rows.get(key).copied()).collect())
    }

    /// The taken columns for rows found, null where none was.
    ///
    /// # Errors
    /// `Kind::Bug` for a row that [`Reference::find`] did not give.
    pub fn columns(&self, found: &[Option<u32>]) -> Result<Vec<ArrayRef>> {
        let indices = UInt32Array::from(found.to_vec());
        let column = |column: &ArrayRef| take(column, &indices, None);
        self.columns
            .iter()
            .map(|it| column(it).or_fail(Kind::Bug, || "taking looked-up values"))
            .collect()
    }
}

/// The file being read.
struct File<'a> {
    lookup: &'a Lookup,
    kinds: Vec<(&'a str, FieldKind)>,
    keys: Vec<Column>,
    taken: Vec<Column>,
    /// Line of each row.
    lines: Vec<usize>,
    problems: Vec<Problem>,
}

impl<'a> File<'a> {
    fn new(lookup: &'a Lookup, contract: &'a Contract) -> Self {
        let kind_of = |name: &str| {
            contract
                .fields
                .iter()
                .find(|field| field.name == name)
                .map(|field| field.kind)
        };
        // A definition that loaded has no lookup on an unknown column.
        let on = lookup
            .on
            .iter()
            .map(|name| (name.as_str(), kind_of(name).unwrap_or(FieldKind::String)));
        let taken = lookup.take.iter().map(|(name, kind)| (name.as_str(), *kind));
        let kinds: Vec<(&str, FieldKind)> = on.chain(taken).collect();
        let column = |(_, kind): &(&str, FieldKind)| Column::new(*kind);
        let (on, taken) = kinds.split_at_checked(lookup.on.len()).unwrap_or((&kinds, &[]));
        Self {
            lookup,
            keys: on.iter().map(column).collect(),
            taken: taken.iter().map(column).collect(),
            kinds,
            lines: Vec::new(),
            problems: Vec::new(),
        }
    }

    fn problem(&mut self, line: usize, key: String, message: String) {
        if self.problems.len() < PROBLEMS_SHOWN {
            self.problems.push(Problem {
                file: self.lookup.file.clone(),
                line,
                key,
                message,
                suggestion: None,
            });
        }
    }

    /// Reads all rows; none where the file cannot be read on.
    fn load(&mut self, bytes: &[u8]) -> Option<()> {
        let mut reader = ReaderBuilder::new().trim(Trim::Headers).from_reader(bytes);
        let places = match reader.byte_headers() {
            Ok(header) => self.places(&header.clone())?,
            Err(error) => {
                self.problem(1, String::new(), error.to_string());
                return None;
            }
        };
        let mut record = ByteRecord::new();
        loop {
            match reader.read_byte_record(&mut record) {
                Ok(false) => return Some(()),
                Ok(true) => self.row(&record, &places),
                Err(error) => {
                    let line = error.position().map_or(0, csv::Position::line);
                    self.problem(to_line(line), String::new(), error.to_string());
                    return None;
                }
            }
        }
    }

    /// Where each wanted column stands in the file.
    fn places(&mut self, header: &ByteRecord) -> Option<Vec<usize>> {
        let mut places = Vec::new();
        for (name, _) in self.kinds.clone() {
            let found: Vec<usize> = (0..header.len())
                .filter(|at| header.get(*at) == Some(name.as_bytes()))
                .collect();
            match found.as_slice() {
                [place] => places.push(*place),
                [] => self.problem(1, name.to_owned(), "the file has no such column".to_owned()),
                _ => self.problem(1, name.to_owned(), "the file has this column twice".to_owned()),
            }
        }
        self.problems.is_empty().then_some(places)
    }

    fn row(&mut self, record: &ByteRecord, places: &[usize]) {
        let line = to_line(record.position().map_or(0, csv::Position::line));
        self.lines.push(line);
        let keys = self.keys.len();
        for (at, (place, (name, kind))) in places.iter().zip(self.kinds.clone()).enumerate() {
            let bytes = record.get(*place).unwrap_or_default();
            let column = if at < keys {
                self.keys.get_mut(at)
            } else {
                self.taken.get_mut(at - keys)
            };
            let Some(column) = column else { continue };
            let written = std::str::from_utf8(bytes);
            let message = match written {
                Ok("") if at < keys => "the key is empty".to_owned(),
                Ok("") => {
                    column.push_null();
                    continue;
                }
                Ok(text) => match value(text, kind) {
                    Some(value) => {
                        column.push(value);
                        continue;
                    }
                    None => format!("{:?} is not {}", shorten(text), expected(kind)),
                },
                Err(_) => format!("{:?} is not UTF-8", shorten(&String::from_utf8_lossy(bytes))),
            };
            column.push_null();
            self.problem(line, name.to_owned(), message);
        }
    }
}

fn to_line(line: u64) -> usize {
    usize::try_from(line).unwrap_or(usize::MAX)
}

fn value(text: &str, kind: FieldKind) -> Option<Value<'_>> {
    Some(match kind {
        FieldKind::String => Value::Text(text),
        FieldKind::Boolean => Value::Boolean(text.parse().ok()?),
        FieldKind::Int32 => Value::Int32(text.parse().ok()?),
        FieldKind::Int64 => Value::Int64(text.parse().ok()?),
        FieldKind::Float64 => Value::Float64(text.parse().ok().filter(|value: &f64| value.is_finite())?),
        FieldKind::Timestamp => Value::Timestamp(parse_instant(text).ok()?),
        FieldKind::Date => Value::Date(parse_date(text).ok()?),
    })
}

fn expected(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::String => "a string",
        FieldKind::Boolean => "true or false",
        FieldKind::Int32 => "an integer of 32 bits",
        FieldKind::Int64 => "an integer of 64 bits",
        FieldKind::Float64 => "a number",
        FieldKind::Timestamp => "a date-time (RFC 3339)",
        FieldKind::Date => "a date (YYYY-MM-DD)",
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use arrow::array::{AsArray, Int32Array};
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::definition::{Field, OnMissing};

    fn lookup() -> (Lookup, Contract) {
        let lookup = Lookup {
            file: PathBuf::from("data/campaigns.csv"),
            on: vec!["campaign_id".to_owned()],
            take: vec![
                ("network_id".to_owned(), FieldKind::Int64),
                ("since".to_owned(), FieldKind::Date),
            ],
            on_missing: OnMissing::Reject,
        };
        let contract = Contract {
            description: String::new(),
            fields: vec![Field {
                name: "campaign_id".to_owned(),
                kind: FieldKind::Int32,
                required: true,
                nullable: false,
                description: String::new(),
                checks: Vec::new(),
            }],
            closed: false,
        };
        (lookup, contract)
    }

    fn parse(csv: &[u8]) -> Result<Reference> {
        let (lookup, contract) = lookup();
        Reference::parse(&lookup, &contract, csv)
    }

    fn problems(csv: &[u8]) -> Vec<String> {
        let error = parse(csv).unwrap_err();
        assert_eq!(error.kind(), Kind::Definition);
        error.problems().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn rows_are_found_by_key_and_an_empty_value_is_null() {
        let csv = b"\xEF\xBB\xBFname,since, network_id,campaign_id\r\na,2026-01-01,7,1\r\n\"b,\n\",,8,-2\r\n";
        let reference = parse(csv).unwrap();
        let on: ArrayRef = Arc::new(Int32Array::from(vec![Some(-2), Some(3), None, Some(1)]));
        let found = reference.find(&[on], 4).unwrap();
        assert_eq!(found, [Some(1), None, None, Some(0)]);
        let columns = reference.columns(&found).unwrap();
        let networks: Vec<Option<i64>> = columns[0].as_primitive::<Int64Type>().iter().collect();
        assert_eq!(networks, [Some(8), None, None, Some(7)]);
        assert_eq!(columns[1].null_count(), 3);
        assert_eq!(reference.len(), 2);
    }

    #[test]
    fn every_problem_is_named_with_its_line() {
        assert_eq!(
            problems(b"campaign_id,network_id,since\nx,1,\n,1,\n1,one,\n1,1,01.02.2026\n\xff,1,\n"),
            [
                "data/campaigns.csv:2:campaign_id: \"x\" is not an integer of 32 bits",
                "data/campaigns.csv:3:campaign_id: the key is empty",
                "data/campaigns.csv:4:network_id: \"one\" is not an integer of 64 bits",
                "data/campaigns.csv:5:since: \"01.02.2026\" is not a date (YYYY-MM-DD)",
                "data/campaigns.csv:6:campaign_id: \"\u{fffd}\" is not UTF-8",
            ]
        );
        assert_eq!(
            problems(b"campaign_id,network_id,since\n1,1,\n2,2,\n1,1,\n"),
            ["data/campaigns.csv:4:campaign_id: the key of line 2 is there again"]
        );
    }

    #[test]
    fn a_file_of_another_shape_is_refused() {
        assert_eq!(problems(b"").len(), 3);
        assert_eq!(
            problems(b"campaign_id,network_id\n"),
            ["data/campaigns.csv:1:since: the file has no such column"]
        );
        assert!(problems(b"campaign_id,network_id,since\n1,2\n")[0].starts_with("data/campaigns.csv:2"));
    }

    #[test]
    fn the_hash_is_of_the_bytes() {
        let one = parse(b"campaign_id,network_id,since\n1,1,\n").unwrap();
        let other = parse(b"campaign_id,network_id,since\n1,2,\n").unwrap();
        assert_ne!(one.hash(), other.hash());
        assert_eq!(one.hash().len(), 32);
    }
}
