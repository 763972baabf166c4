//! tests

mod source_kafka;
