//! tests

mod source_kafka;
mod source_real_kafka;
mod support;
