//! The silver layer: every record of bronze has exactly one fate, a row of silver or a row of rejects.
//!
//! Invariant: the tables are a function of (definition, reference data, bronze rows in seq order). How the rows are
//! cut into steps, when the process stops and when memory is cleared out changes no row.
//!
//! The path of a batch: [`Plan::process`] decodes each payload, looks up, derives and judges by rules, all by column;
//! then one pass in seq order guards event time, recognises duplicates and moves the watermark. [`State`] is all that
//! is carried from step to step, and all of it can be had again from the silver table and its last commit.

mod candidates;
mod decode;
mod dedupe;
mod evaluate;
mod fates;
mod input;
mod key;
mod plan;
mod reference;
mod reject;
mod rule;
mod settle;
#[cfg(test)]
mod tests;
mod watermarks;

use arrow::array::RecordBatch;

pub use decode::{Decoder, Defect, MAX_DEPTH, MAX_PAYLOAD};
pub use dedupe::{Archive, Dedupe, First, Horizon};
pub use fates::Fates;
pub use key::Key;
pub use plan::Plan;
pub use reference::Reference;
pub use reject::{Reason, Rejection, rejects_schema};
pub use rule::{Judgement, Rule, judge};
pub use watermarks::{Partition, Watermarks};

/// What one step gives to the two tables. Rows are in seq order in both.
#[derive(Debug, Clone)]
pub struct Step {
    /// Rows of the silver table.
    pub silver: RecordBatch,
    /// Rows of the rejects table, of [`rejects_schema`].
    pub rejects: RecordBatch,
    /// How many records had which fate.
    pub fates: Fates,
}

/// What silver carries from step to step.
#[derive(Debug, Default)]
pub struct State {
    /// Event time per partition; its JSON rides in each silver commit.
    pub watermarks: Watermarks,
    /// Accepted keys; rebuilt by [`Plan::remember`], or from a snapshot.
    pub dedupe: Dedupe,
}
