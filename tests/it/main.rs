//! tests

mod gold_properties;
mod model;
mod silver_properties;
mod source_kafka;
mod source_real_kafka;
mod support;
