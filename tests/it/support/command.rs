//! The real binary, as a person would call it.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// The binary in `project`, without the settings of whoever runs the tests, and without a metrics port.
pub fn medallion(project: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medallion"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MEDALLION_")) {
        command.env_remove(name);
    }
    command
        .current_dir(project)
        .env("MEDALLION_METRICS", "off")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    command
}

/// What a finished command said.
pub struct Said {
    /// The exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs the binary in `project` to its end.
pub fn call(project: &Path, args: &[&str]) -> Said {
    said(medallion(project).args(args).output().unwrap())
}

/// As [`call`], and it must succeed.
pub fn done(project: &Path, args: &[&str]) -> Said {
    let said = call(project, args);
    assert_eq!(said.code, Some(0), "{args:?}: {}", said.err);
    said
}

/// Starts the binary in `project` and leaves it running.
pub fn start(project: &Path, args: &[&str]) -> Child {
    medallion(project)
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What a process said, once it has ended.
pub fn ended(child: Child) -> Said {
    said(child.wait_with_output().unwrap())
}

/// Asks a process to end, as a person or an init system would; the standard library can only kill.
pub fn terminate(child: &Child) {
    let asked = Command::new("sh")
        .args(["-c", &format!("kill -TERM {}", child.id())])
        .status()
        .unwrap();
    assert!(asked.success());
}

/// The most memory a process has had resident, in KiB.
pub fn peak_rss(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The processor time that a process has used so far.
pub fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name of the program is in brackets and may have blanks; user and system time are the 12th and 13th after it.
    let (_, after) = stat.rsplit_once(')').unwrap();
    let ticks: u64 = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum();
    // Linux counts it in hundredths of a second.
    Duration::from_millis(ticks * 10)
}

/// What a process said.
pub fn said(output: Output) -> Said {
    Said {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
