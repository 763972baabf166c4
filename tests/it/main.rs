//! Tests of the whole program and of rooms together, in one binary so that it is linked once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking; clippy.toml excuses the tests themselves, not their helpers"
)]

mod archive_properties;
mod bronze_ticks;
mod faults;
mod gold_properties;
mod kafka;
mod metrics;
mod model;
#[cfg(feature = "otel")]
mod otel;
mod pipeline;
mod s3;
mod silver_properties;
mod source_kafka;
mod source_real_kafka;
mod state_properties;
mod status_page;
mod support;
mod textfile;
mod tidy;

/// Counts what each thread holds, for the tests that ask.
#[global_allocator]
static ALLOCATOR: support::heap::Counting = support::heap::Counting;
