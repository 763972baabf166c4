//! What each layer does to rows: pure functions of (definition, reference data, state, rows). No I/O, no clock.

pub mod bronze;
pub mod gold;
pub mod silver;
