//! Where the tables of a layer stand, for people who look with `cat`. Nothing of medallion reads it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Folder;
use crate::clock::{Micros, rfc3339};
use crate::error::{Context, Kind, Result};

/// Where one table stands.
#[derive(Debug, Clone, Serialize)]
pub struct TablePosition {
    /// Its path in the lake.
    pub table: String,
    /// Its version.
    pub version: u64,
    /// The next bronze seq; for bronze the seq that its next row gets.
    pub position: i64,
    /// For bronze: the next offset of every partition.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub offsets: BTreeMap<String, i64>,
    /// For silver: the event-time watermark, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark: Option<String>,
    /// For gold: the end of the last closed window, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed: Option<String>,
}

#[derive(Serialize)]
struct Mirror<'a> {
    note: &'static str,
    pipeline: &'a str,
    layer: &'a str,
    written_at: String,
    tables: &'a [TablePosition],
}

impl Folder {
    /// Writes `positions-<layer>.json`. Each layer has its own, because each may be a process of its own.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] where it cannot be written.
    pub fn write_positions(&self, pipeline: &str, layer: &str, tables: &[TablePosition], now: Micros) -> Result<()> {
        let mirror = Mirror {
            note: "a copy for people; the positions that count are in the tables",
            pipeline,
            layer,
            written_at: rfc3339(now),
            tables,
        };
        let mut text = serde_json::to_vec_pretty(&mirror).or_fail(Kind::Bug, || "writing positions")?;
        text.push(b'\n');
        self.write_for_people(&format!("positions-{layer}.json"), &text)
    }
}
