//! The reference model: what silver and gold of a small pipeline must be, computed slowly, row by row, by other means
//! than the program's: parsed JSON trees, ordered maps, the calendar of chrono, rules as Rust closures.
//!
//! The pipeline is [`view_log`]. Its rows are plain structs here; [`tables`] turns the program's batches into them.

pub mod decode;
pub mod generate;
pub mod gold;
pub mod silver;
pub mod tables;
pub mod view_log;

use medallion::layer::bronze::Tick;

/// Microseconds in a second.
pub const SECOND: i64 = 1_000_000;

/// One row of bronze.
#[derive(Debug, Clone, PartialEq)]
pub enum BronzeRow {
    Record(Record),
    Tick(Tick),
}

/// One record of bronze; its seq is its place in the list of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub timestamp: Option<i64>,
    pub value: Option<Vec<u8>>,
    pub ingested_at: i64,
}

/// One row of silver.
#[derive(Debug, Clone, PartialEq)]
pub struct SilverRow {
    pub view_id: String,
    pub start_timestamp: i64,
    pub end_timestamp: i64,
    pub banner_id: i64,
    pub campaign_id: i32,
    pub network_id: Option<i32>,
    pub duration_ms: i64,
    pub event_date: i32,
    pub seq: i64,
    pub partition: i32,
    pub offset: i64,
    pub timestamp: Option<i64>,
    pub watermark: Option<i64>,
}

/// One row of rejects, without the words.
#[derive(Debug, Clone, PartialEq)]
pub struct RejectRow {
    pub seq: i64,
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub timestamp: Option<i64>,
    pub value: Option<Vec<u8>>,
    pub reason: String,
    pub rules: Vec<String>,
    pub duplicate_of: Option<i64>,
    pub ingest_date: i32,
}

/// One row of `views_per_minute`.
#[derive(Debug, Clone, PartialEq)]
pub struct GoldRow {
    pub campaign_id: i32,
    pub network_id: Option<i32>,
    pub minute_timestamp: i64,
    pub avg_duration: f64,
    pub total_count: i32,
}

/// A silver row that came after its window had closed.
#[derive(Debug, Clone, PartialEq)]
pub struct LateRow {
    pub seq: i64,
    pub minute_timestamp: i64,
    pub campaign_id: i32,
    pub network_id: Option<i32>,
}
