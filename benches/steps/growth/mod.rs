//! What commits cost on tables with a long history and with many files, and what many tiny files cost.
//!
//! History is not made commit by commit: the log is written at once, entry by entry what the writer would have written.

mod commits;
mod files;
mod history;

/// Measures all and prints each figure with what it should be.
pub fn run() {
    commits::run();
    files::run();
}

/// One line of the report.
fn report(what: &str, target: &str, measured: impl std::fmt::Display) {
    println!("{what:<58} {target:<22} {measured}");
}
