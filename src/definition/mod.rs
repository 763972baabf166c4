//! What the user declared, made valid: a pipeline's three layers, its event contract and its reference data.
//!
//! What is written in a file and what it means are two types: the room parses TOML and JSON Schema into raw forms,
//! checks them all, and either returns [`Pipeline`]s in which every name resolves and every expression has a type,
//! or every [`Problem`] it found at once. Checking reads the declared files and nothing else.

mod bronze;
mod columns;
mod commit;
mod contract;
pub mod expression;
mod fingerprint;
mod gold;
mod keep;
mod load;
pub mod maintenance;
pub mod memory;
mod model;
mod names;
mod near;
mod problem;
mod raw;
mod reference;
#[cfg(test)]
mod samples;
mod secret;
pub mod settings;
mod silver;
#[cfg(test)]
mod tests;

pub use columns::{EVENT_DATE, LINEAGE, gold_columns, gold_schema, row_schema, silver_schema};
pub use fingerprint::{Meaning, changes, describe_gold, describe_silver};
pub use load::{load, load_one};
pub use model::*;
pub use problem::Problem;
pub use secret::{is_secret, secret_in_file};
