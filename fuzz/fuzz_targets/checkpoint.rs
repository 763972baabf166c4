//! Fuzzes a snapshot of silver's keys, which anything may have happened to: it is refused in words or is what was
//! written, never a panic, and never more heap than a multiple of its length.
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
#[path = "../../tests/it/faults/untrusted/snapshot.rs"]
mod snapshot;

#[global_allocator]
static ALLOCATOR: heap::Counting = heap::Counting;

libfuzzer_sys::fuzz_target!(|case: &[u8]| {
    snapshot::check(case, |work| heap::most_held(work).1);
});
