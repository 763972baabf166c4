//! The `medallion` binary: parse the command line, run it, turn an error into words and an exit code.

use std::process::ExitCode;

/// For Rust, librdkafka and zstd alike. What a layer frees is soon taken by another: they share two arenas, large
/// buffers among them, and memory that nobody takes for a second goes back on a thread of the allocator's own.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[expect(unsafe_code, reason = "jemalloc reads its settings from a symbol of this name")]
// SAFETY: jemalloc defines it weakly, as a pointer to a string that ends with a zero, which is what this begins with.
#[unsafe(export_name = "malloc_conf")]
static MALLOC_CONF: &[u8] =
    b"background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0,narenas:2,oversize_threshold:0\0";

fn main() -> ExitCode {
    medallion::cli::main()
}
