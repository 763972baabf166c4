//! Does upstream still hold the row that this layer was computed from?
//!
//! A position is a number: where upstream lost its newest commits (a power cut, a RESTORE) and took in other rows under
//! the same seqs, the number still fits and the rows do not. So each commit remembers the newest upstream row below its
//! position, and the next opening looks whether that row is still the same.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimestampMicrosecondType};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Kind, Result};
use crate::table::Reader;

/// The key of a [`Witness`] in a commit's state.
pub const KEY: &str = "upstream";

/// What tells one bronze row from another: the instant at which it was taken in is never the same twice.
pub const BRONZE: [&str; 5] = ["kind", "topic", "partition", "offset", "ingested_at"];

/// What tells one silver row from another at the same seq.
pub fn silver(event_time: &str) -> [&str; 2] {
    [event_time, "_watermark"]
}

/// An upstream row that was processed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// Its seq.
    pub seq: i64,
    /// Its values: integers and instants as numbers, instants in UTC microseconds.
    pub row: Vec<Option<String>>,
}

impl Witness {
    /// The last of `rows`; none where there is no row.
    ///
    /// Errors: [`Kind::Bug`] for rows without the columns, or with columns of types that witnesses are not made of.
    pub fn last(rows: &RecordBatch, seq: &str, columns: &[&str]) -> Result<Option<Self>> {
        let Some(last) = rows.num_rows().checked_sub(1) else {
            return Ok(None);
        };
        let value = |name: &str| value(rows, name, last);
        let seq = value(seq)?.and_then(|seq| seq.parse().ok()).unwrap_or(-1);
        let row = columns.iter().map(|name| value(name)).collect::<Result<_>>()?;
        Ok(Some(Self { seq, row }))
    }

    /// The witness in a commit's state; none where the commit has none.
    pub fn in_info(info: Option<&Value>) -> Option<Self> {
        serde_json::from_value(info?.get(KEY)?.clone()).ok()
    }

    /// Asserts that `upstream` still holds this row; `of` names both tables for the message.
    ///
    /// Errors: [`Kind::Damaged`] where it does not.
    pub async fn require(&self, upstream: &Reader, seq: &str, columns: &[&str], of: (&str, &str)) -> Result<()> {
        let wanted: Vec<String> = [seq].iter().chain(columns).map(|name| (*name).to_owned()).collect();
        let rows = upstream.read(self.seq, self.seq + 1, &wanted).await?;
        if Self::last(&rows, seq, columns)?.as_ref() == Some(self) {
            return Ok(());
        }
        let (table, upstream) = of;
        Err(Error::new(
            Kind::Damaged,
            format!(
                "{table} was computed from a row of {upstream} at seq {} that is not there any more: {upstream} was set \
                 back and has gone on with other rows",
                self.seq
            ),
        )
        .with_next(format!("run `medallion replay` to rebuild {table} from {upstream} as it is now")))
    }
}

fn value(rows: &RecordBatch, name: &str, at: usize) -> Result<Option<String>> {
    let lacking = || Error::new(Kind::Bug, format!("a witness cannot be made of column {name}"));
    let column = rows.column_by_name(name).ok_or_else(lacking)?;
    if column.is_null(at) {
        return Ok(None);
    }
    Ok(Some(match column.data_type() {
        DataType::Int32 => column.as_primitive::<Int32Type>().value(at).to_string(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(at).to_string(),
        DataType::Timestamp(..) => match column.as_primitive_opt::<TimestampMicrosecondType>() {
            Some(instants) => instants.value(at).to_string(),
            None => return Err(lacking()),
        },
        DataType::Utf8 => column.as_string::<i32>().value(at).to_owned(),
        _ => return Err(lacking()),
    }))
}
