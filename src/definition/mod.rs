//! What the user declared, made valid: a pipeline's three layers, its event contract and its reference data.
//!
//! What is written in a file and what it means are two types: the room parses TOML and JSON Schema into raw forms,
//! checks them all, and either returns [`Pipeline`]s in which every name resolves and every expression has a type,
//! or every [`Problem`] it found at once. Checking reads the declared files and nothing else.

mod columns;
mod contract;
pub mod expression;
mod model;
mod names;
mod near;
mod problem;
mod raw;
#[cfg(test)]
mod samples;

pub use columns::{EVENT_DATE, LINEAGE, gold_columns, gold_schema, row_schema, silver_schema};
pub use model::*;
pub use problem::Problem;
