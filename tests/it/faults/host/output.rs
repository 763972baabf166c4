//! Readers of stdout and stderr that go away: the work goes on, and the exit code tells of the work.

use std::process::Stdio;

use super::rig::tool;
use crate::support::command::{done, medallion};
use crate::support::project::{PIPELINE, Project};

/// Runs the command with its descriptors as the shell's `redirection` says. Returns the exit code and stderr, if there
/// is one.
fn redirected(project: &Project, args: &str, redirection: &str) -> (Option<i32>, String) {
    let ours = medallion(project.path());
    let script = format!("\"$0\" {args} {redirection}");
    let output = tool("bash")
        .args(["-c", &script])
        .arg(ours.get_program())
        .current_dir(project.path())
        .env("MEDALLION_METRICS", "off")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn project() -> Project {
    let project = Project::new(60, 70);
    project.events("a.ndjson", 0..200);
    project
}

#[test]
fn a_closed_stdout_or_stderr_panics_nowhere_and_the_work_is_done() {
    // Of a pipe whose reader is gone `true` has ended before the first line comes.
    let gone = "> >(exec true)";
    let both = "> >(exec true) 2>&1";
    let mut cases = 0;
    for redirection in [">&-", "2>&-", ">&- 2>&-", gone, "2> >(exec true)", both] {
        let project = project();
        for args in [
            "run -p view_log --once --close-windows",
            "audit -p view_log",
            "maintain",
        ] {
            let (code, err) = redirected(&project, args, redirection);
            assert_eq!(code, Some(0), "{args} {redirection}: {err}");
            assert!(!err.contains("panicked"), "{args} {redirection}: {err}");
            cases += 1;
        }
        done(project.path(), &["audit", "-p", PIPELINE]);
    }
    println!("closed output: {cases} commands");
}

#[test]
fn a_stdout_that_is_full_is_no_success_and_costs_no_row() {
    let project = project();
    let (code, err) = redirected(
        &project,
        "run -p view_log --once --close-windows --log error",
        "> /dev/full",
    );
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("stdout") && err.contains("No space left"), "{err}");
    done(project.path(), &["audit", "-p", PIPELINE]);
}

#[test]
fn the_exit_code_of_a_failure_is_kept_where_nobody_reads_its_words() {
    let project = Project::new(60, 70);
    for redirection in ["2>&-", "2> >(exec true)", "2> /dev/full", ">&- 2>&-"] {
        let (code, _) = redirected(&project, "run -p view_log --once", redirection);
        assert_eq!(code, Some(1), "no input, {redirection}");
        let (code, _) = redirected(&project, "run -p nothing --once", redirection);
        assert_eq!(code, Some(2), "no pipeline, {redirection}");
    }
}
