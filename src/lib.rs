//! medallion: from a Kafka topic of JSON events to three Delta tables, each row exactly once.
//!
//! Bronze is the log of everything that happened; silver and gold are pure functions of a prefix of that log.
//! `ARCHITECTURE.md` has the map of the rooms and their invariants.

pub mod audit;
pub mod checkpoint;
pub mod cli;
pub mod clock;
pub mod definition;
pub mod error;
#[cfg(debug_assertions)]
pub mod failpoint;
pub mod layer;
pub mod metrics;
#[cfg(feature = "otel")]
pub mod otel;
pub mod run;
pub mod serve;
pub mod source;
pub mod table;
