//! tests

mod gold_properties;
