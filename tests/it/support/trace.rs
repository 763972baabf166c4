//! The real binary under `strace`: which calls it made on which paths, in what order.

use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;

use super::command::{Said, medallion, said};

/// One system call that succeeded.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its name, `fsync`.
    pub name: String,
    /// The paths in its arguments; for a sync, the path behind the descriptor.
    pub paths: Vec<PathBuf>,
    /// The line of the trace at which it began.
    pub began: usize,
    /// The line of the trace at which it had returned.
    pub ended: usize,
    /// That line, without the thread's number.
    pub text: String,
}

/// Runs the binary in `project` under strace with `options` of it. Returns what it said and its calls in their order.
pub fn traced(project: &Path, options: &[&str], args: &[&str]) -> (Said, Vec<Call>) {
    let trace = project.join("trace.txt");
    let inner = medallion(project);
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-qq", "-o"]).arg(&trace).args(options);
    command.arg(inner.get_program()).args(args).current_dir(project);
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let output = command.output().unwrap_or_else(|error| {
        panic!("strace cannot be started ({error}); this test needs it: apt-get install strace")
    });
    let said = said(output);
    let text = std::fs::read_to_string(&trace).unwrap_or_default();
    assert!(!text.is_empty(), "strace traced nothing: {}", said.err);
    (said, calls(&text))
}

/// The calls of a trace; one that other threads interrupted is in two lines.
pub fn calls(text: &str) -> Vec<Call> {
    let whole = Regex::new(r"^(\d+) +(\w+)\((.*)\) += (-?\d+)").unwrap();
    let first = Regex::new(r"^(\d+) +(\w+)\((.*) <unfinished \.\.\.>$").unwrap();
    let rest = Regex::new(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (-?\d+)").unwrap();
    let mut open: Vec<(String, String, String, usize)> = Vec::new();
    let mut found = Vec::new();
    for (line, text) in text.lines().enumerate() {
        let text_only = text.split_once(' ').map_or(text, |(_, call)| call.trim_start());
        if let Some(parts) = first.captures(text) {
            open.push((parts[1].into(), parts[2].into(), parts[3].into(), line));
        } else if let Some(parts) = rest.captures(text) {
            let index = open
                .iter()
                .position(|(pid, name, ..)| *pid == parts[1] && *name == parts[2]);
            let (_, name, arguments, began) = open.remove(index.unwrap());
            if !parts[4].starts_with('-') {
                let arguments = format!("{arguments}{}", &parts[3]);
                let text = format!("{name}({arguments}) = {}", &parts[4]);
                found.push(call(&name, &arguments, began, line, text));
            }
        } else if let Some(parts) = whole.captures(text)
            && !parts[4].starts_with('-')
        {
            found.push(call(&parts[2], &parts[3], line, line, text_only.to_owned()));
        }
    }
    found
}

fn call(name: &str, arguments: &str, began: usize, ended: usize, text: String) -> Call {
    let shape = if name.ends_with("sync") {
        r"<([^>]*)>"
    } else {
        r#""([^"]*)""#
    };
    let paths = Regex::new(shape).unwrap();
    Call {
        name: name.to_owned(),
        paths: paths
            .captures_iter(arguments)
            .map(|path| PathBuf::from(&path[1]))
            .collect(),
        began,
        ended,
        text,
    }
}
