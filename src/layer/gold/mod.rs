//! The gold layer: windows of silver rows, each closed once.
//!
//! A [`Plan`] is one gold table's definition compiled against silver's schema; a [`State`] holds its open windows.
//! Which window a row belongs to, whether it is late and when a window closes are decided by data alone: the row's
//! event time, its `_watermark`, and the watermark at the position reached.
//!
//! Invariant: what a window holds depends only on the silver rows and their order. How they are cut into batches, when
//! windows are closed, and restarts (a fresh [`State`] at `closed`, [`Plan::restore`] over the rows so far) change no
//! bit of it. So every aggregate sees the rows of its group one after the other, in `_seq` order.

mod accumulate;
mod assign;
mod close;
mod columns;
mod expression;
mod fold;
mod plan;
mod state;
mod window;

#[cfg(test)]
mod tests;

pub use plan::Plan;
pub use state::State;
pub use window::Tumbling;
