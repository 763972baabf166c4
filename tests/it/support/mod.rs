//! What several tests need.

pub mod real_kafka;
pub mod s3;
pub mod view_log;
