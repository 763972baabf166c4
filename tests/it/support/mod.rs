//! What several tests need.

pub mod real_kafka;
