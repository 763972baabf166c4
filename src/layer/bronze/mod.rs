//! The bronze layer: every record as it came, and the ticks, each with its `seq`.

mod batch;
mod tick;

pub use batch::{BronzeBuilder, schema};
pub use tick::{Gap, Reason, Tick};
