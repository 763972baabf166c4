//! The real binary, as a person would call it.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

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

/// What a process said.
pub fn said(output: Output) -> Said {
    Said {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
