//! What several tests need.

pub mod alone;
pub mod bucket;
pub mod command;
pub mod disk;
pub mod faulty;
pub mod heap;
pub mod image;
pub mod interposed;
pub mod live;
pub mod own_kafka;
pub mod plain;
pub mod project;
pub mod proxy;
pub mod real_kafka;
pub mod rows;
pub mod s3;
pub mod stopped;
pub mod tamper;
pub mod tier;
pub mod trace;
pub mod view_log;
