//! Processes that are stopped in the middle and go on later.

use std::process::Command;
use std::time::{Duration, Instant};

/// What no step of these tests takes, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Stops the process where it stands, and returns when it does.
pub fn stop(pid: u32) {
    signal("-STOP", pid);
    until("the process stops", || state(pid) == 'T');
}

/// Lets it go on.
pub fn go_on(pid: u32) {
    signal("-CONT", pid);
}

/// Sends a signal.
pub fn signal(signal: &str, pid: u32) {
    let sent = Command::new("kill").args([signal, &pid.to_string()]).status().unwrap();
    assert!(sent.success(), "kill {signal} {pid}");
}

/// Waits until `done`.
#[track_caller]
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "waiting in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Linux' letter for what the process is doing; `-` where there is none.
fn state(pid: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in brackets may hold anything; the state follows it.
    let after = stat.rsplit_once(") ").map_or("-", |(_, after)| after);
    after.chars().next().unwrap_or('-')
}
