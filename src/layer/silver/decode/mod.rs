//! From payload bytes to typed columns, one message at a time.
//!
//! Invariant: a message either adds exactly one value to every column or leaves no trace. Values go straight into
//! the columns; a message that turns out bad is cut off again, so its neighbours never notice it.
//!
//! What is what: `malformed` is whatever no JSON parser should take for one event (not JSON, bytes behind it, not
//! UTF-8, a member twice, nested too deep, too long, no payload); `schema` is JSON that is not what the contract says.
//! A message that is both is malformed. The limits hold for members the contract does not name as well.

mod column;
mod datum;
mod event;
mod instant;
mod plain;
#[cfg(test)]
mod tests;

use arrow::array::ArrayRef;

pub(super) use column::{Column, Value};
pub(super) use datum::{shorten, shorten_to};
pub(super) use instant::{parse_date, parse_instant};

use self::event::Event;
use self::plain::Plain;
use super::reject::Reason;
use crate::definition::Contract;

/// Longest payload that is parsed, in bytes.
pub const MAX_PAYLOAD: usize = 16 * 1024 * 1024;

/// Deepest nesting of objects and arrays, the event itself included.
pub const MAX_DEPTH: usize = 64;

/// Why a message is no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defect {
    /// [`Reason::Malformed`] or [`Reason::Schema`].
    pub reason: Reason,
    /// For people: the member and its value, or where parsing stopped.
    pub detail: String,
}

/// Turns payloads into the columns of a contract.
#[derive(Debug)]
pub struct Decoder {
    plain: Plain,
    event: Event,
    columns: Vec<Column>,
    rows: usize,
}

impl Decoder {
    /// A decoder of the events of `contract`, without rows.
    pub fn new(contract: &Contract) -> Self {
        Self {
            plain: Plain::new(contract),
            event: Event::new(contract),
            columns: contract.fields.iter().map(|field| Column::new(field.kind)).collect(),
            rows: 0,
        }
    }

    /// Adds one row.
    ///
    /// # Errors
    /// The payload's defect; the columns are as before.
    pub fn decode(&mut self, payload: Option<&[u8]>) -> Result<(), Defect> {
        let text = text(payload)?;
        if self.plain.read(text, &mut self.columns, self.rows).is_none() {
            self.take_back();
            let judged = self.event.read(text, &mut self.columns, self.rows);
            judged.inspect_err(|_| self.take_back())?;
        }
        self.rows += 1;
        Ok(())
    }

    /// Leaves whole rows in the columns.
    fn take_back(&mut self) {
        self.columns.iter_mut().for_each(|column| column.truncate(self.rows));
    }

    /// The columns of all rows since the last call, in the contract's order.
    pub fn finish(&mut self) -> crate::error::Result<Vec<ArrayRef>> {
        self.rows = 0;
        self.columns.iter_mut().map(Column::finish).collect()
    }
}

fn text(payload: Option<&[u8]>) -> Result<&str, Defect> {
    let malformed = |detail: String| Defect {
        reason: Reason::Malformed,
        detail,
    };
    let bytes = payload.ok_or_else(|| malformed("no payload: the record is a tombstone".to_owned()))?;
    if bytes.is_empty() {
        return Err(malformed("the payload is empty".to_owned()));
    }
    if bytes.len() > MAX_PAYLOAD {
        return Err(malformed(format!(
            "the payload has {} bytes, more than the {MAX_PAYLOAD} that are parsed",
            bytes.len()
        )));
    }
    std::str::from_utf8(bytes).map_err(|error| malformed(format!("not UTF-8 from byte {}", error.valid_up_to())))
}
