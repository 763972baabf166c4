//! Fuzzes the way of a payload into silver: never a panic, never more heap than a multiple of its length, and the fate
//! that the tests' reference model gives it. The model takes serde_json's word for what is JSON.
#![no_main]
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a finding is a panic; the modules are the tests', which use more of them"
)]

#[path = "../../tests/it/support/heap.rs"]
mod heap;
#[path = "../../tests/it/model/mod.rs"]
mod model;
#[path = "../../tests/it/faults/untrusted/payload.rs"]
mod payload;

#[global_allocator]
static ALLOCATOR: heap::Counting = heap::Counting;

libfuzzer_sys::fuzz_target!(|payload: &[u8]| {
    payload::check(payload, |work| heap::most_held(work).1);
});
