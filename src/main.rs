//! The `medallion` binary: parse the command line, run it, turn an error into words and an exit code.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    medallion::cli::main()
}
