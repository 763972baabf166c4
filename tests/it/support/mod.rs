//! What several tests need.

pub mod command;
pub mod faulty;
pub mod interposed;
pub mod project;
pub mod real_kafka;
pub mod rows;
pub mod s3;
pub mod tamper;
pub mod tier;
pub mod view_log;
