//! Limits of the process: files, memory, threads.

use std::os::unix::process::ExitStatusExt;

use super::rig::{assert_as_undisturbed, lively, once, tool};
use crate::support::command::medallion;
use crate::support::project::Project;

/// Runs once under a limit of `prlimit`. Returns the exit code, none where a signal ended it, and what it said.
fn limited(project: &Project, limit: &str) -> (Option<i32>, String) {
    let ours = medallion(project.path());
    let mut command = tool("timeout");
    command
        .args(["-s", "KILL", "60", "prlimit", limit])
        .arg(ours.get_program());
    let output = once(project, command);
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_ne!(output.status.signal(), Some(9), "{limit}: it hung: {err}");
    (output.status.code(), err)
}

#[test]
fn too_few_files_are_told_and_cost_no_row() {
    tool("prlimit");
    let project = lively(60, 70);
    let (mut told, mut finished) = (0, 0);
    for (round, files) in [8, 12, 14, 16, 18, 20, 24, 64].into_iter().enumerate() {
        project.events("a.ndjson", 60 * round as u64..60 * (round as u64 + 1));
        let (code, err) = limited(&project, &format!("--nofile={files}"));
        assert!(!err.contains("panicked"), "{files} files: {err}");
        match code {
            Some(0) => finished += 1,
            Some(1) => {
                assert!(err.contains("Too many open files"), "{files} files: {err}");
                told += 1;
            }
            other => panic!("{files} files: {other:?}: {err}"),
        }
    }
    assert!(told >= 2 && finished >= 1, "told {told}, finished {finished}");
    assert_as_undisturbed(&project, "after too few files");
    println!("open files: {told} runs told, {finished} finished");
}

#[test]
fn too_little_memory_ends_the_run_and_the_next_one_resumes() {
    tool("prlimit");
    let project = lively(2_000, 2_000);
    let (mut died, mut finished) = (0, 0);
    for (round, mib) in [150_u64, 250, 400, 600, 800, 1_600].into_iter().enumerate() {
        project.events("a.ndjson", 4_000 * round as u64..4_000 * (round as u64 + 1));
        let (code, err) = limited(&project, &format!("--as={}", mib << 20));
        match code {
            Some(0) => finished += 1,
            // Out of memory is an abort, or a reason where a thread could not be started; never a wrong table.
            Some(1) | None => died += 1,
            other => panic!("{mib} MiB: {other:?}: {err}"),
        }
    }
    assert!(died >= 1 && finished >= 1, "died {died}, finished {finished}");
    assert_as_undisturbed(&project, "after too little memory");
    println!("memory: {died} runs died, {finished} finished");
}
