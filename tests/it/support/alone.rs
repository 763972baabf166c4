//! Tests that need a process to themselves.
//!
//! Where a test takes a broker of librdkafka's down, librdkafka closes the broker's port and binds it again at once, and
//! aborts the process where it cannot. It cannot while a child that another test is starting has not let go of the port
//! yet, between its fork and its exec. And peak memory is a process' own only where nobody else is in it.

use std::ffi::OsStr;
use std::process::Command;

/// Runs the ignored test `name` in a new process of this binary, with `variables`. Returns what it printed.
///
/// # Panics
/// Where it fails, with all that it said.
pub fn alone(name: &str, variables: &[(&str, &OsStr)]) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.contains("test result: ok. 1 passed"),
        "{name}: {:?}: {said}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    said
}
