//! A disk that breaks at a single system call.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::rig::{assert_as_undisturbed, begun, once, tool};
use crate::support::command::medallion;
use crate::support::project::Project;
use crate::support::tier;

const INJECTED: &str = "(INJECTED)";

/// Runs once by `command`, in which a fault is laid. Returns whether it happened, and the exit code.
fn run_with_fault(project: &Project, command: Command, when: &str) -> (bool, Option<i32>) {
    let trace = project.path().join("trace");
    let output = once(project, command);
    let err = String::from_utf8_lossy(&output.stderr);
    let happened = err.contains(INJECTED) || std::fs::read_to_string(trace).is_ok_and(|text| text.contains(INJECTED));
    assert!(!err.contains("panicked"), "{when}: {err}");
    let code = output.status.code();
    assert!(matches!(code, Some(0..=4)), "{when}: {:?}: {err}", output.status);
    if code != Some(0) {
        assert!(err.contains("error:"), "{when}: no reason is told");
    }
    (happened, code)
}

/// The program under strace, the `at`-th call of `syscall` in each thread failing.
fn traced(project: &Project, syscall: &str, at: u32) -> Command {
    tool("strace");
    let mut command = tool("timeout");
    command
        .args(["-s", "KILL", "60", "strace", "-f", "-qq"])
        .args(["-e", &format!("trace={syscall}")])
        .args(["-e", &format!("inject={syscall}:error=EIO:when={at}"), "-o"])
        .arg(project.path().join("trace"))
        .arg(medallion(project.path()).get_program());
    command
}

/// The shim of `failing_write.c`, which lives as long as its directory.
fn shim() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let shim = directory.path().join("failing_write.so");
    let built = tool("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&shim)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults/host/failing_write.c"))
        .arg("-ldl")
        .output()
        .unwrap();
    assert!(built.status.success(), "cc: {}", String::from_utf8_lossy(&built.stderr));
    (directory, shim)
}

#[test]
fn whatever_call_the_disk_breaks_at_the_run_says_so_and_the_next_one_finishes() {
    let project = begun();
    let per_call = tier::pick(2, 12, 24);
    let (mut cases, mut failed, mut begin) = (0, 0, 200);
    // What reads files, and what puts data files and entries of the log into place. Calls are counted per thread, and the
    // first ones are the loader's.
    for (syscall, first, step) in [("pread64", 6, 5), ("read", 40, 12), ("linkat", 1, 1), ("rename", 1, 1)] {
        for number in 0..per_call {
            project.events("a.ndjson", begin..begin + 10);
            begin += 10;
            let at = first + number * step;
            let command = traced(&project, syscall, at);
            let (happened, code) = run_with_fault(&project, command, &format!("EIO at call {at} of {syscall}"));
            cases += u64::from(happened);
            failed += u64::from(happened && code != Some(0));
        }
    }
    assert!(cases >= 4 && failed >= 2, "{cases} faults, {failed} of them told");
    assert_as_undisturbed(&project, "after broken calls");
    println!("broken calls: {cases} faults happened, {failed} ended the run with a reason");
}

#[test]
fn whatever_write_the_disk_breaks_at_the_run_says_so_and_the_next_one_finishes() {
    let project = begun();
    let (_directory, shim) = shim();
    let step = tier::pick(7, 1, 1);
    let (mut cases, mut failed, mut begin) = (0, 0, 200);
    // Until a run makes fewer writes than that.
    for at in (1..).step_by(step) {
        project.events("a.ndjson", begin..begin + 10);
        begin += 10;
        let mut command = medallion(project.path());
        command.env("LD_PRELOAD", &shim).env("MEDALLION_EIO_AT", at.to_string());
        let (happened, code) = run_with_fault(&project, command, &format!("EIO at write {at}"));
        if !happened {
            break;
        }
        cases += 1;
        failed += u64::from(code != Some(0));
    }
    assert!(cases >= 3 && failed >= 2, "{cases} faults, {failed} of them told");
    assert_as_undisturbed(&project, "after broken writes");
    println!("broken writes: {cases} faults happened, {failed} ended the run with a reason");
}
