//! Fuzzes an entry of a commit log, which someone else may have written: it is read or refused in words, never a panic.
#![no_main]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a finding is a panic"
)]

#[path = "../../tests/it/faults/untrusted/log.rs"]
mod log;

libfuzzer_sys::fuzz_target!(|entry: &[u8]| log::check(entry));
