//! Fuzzes what an operator declares: any file of a project and any SQL is accepted or refused in words, never a panic,
//! and never for long (`-timeout`).
#![no_main]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a finding is a panic"
)]

#[path = "../../tests/it/faults/untrusted/declared.rs"]
mod declared;

libfuzzer_sys::fuzz_target!(|case: &[u8]| declared::check(case));
