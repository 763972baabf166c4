//! A table with more commits since its log checkpoint than a process may have open files.

use std::process::Command;

use medallion::clock::Clock;
use medallion::run::{names, tables};
use medallion::table::{Append, Lake, Table};

use crate::support::command::{done, medallion};
use crate::support::project::{PIPELINE, Project, block};

const COMMITS: u64 = 400;
/// An eighth of the usual limit; three layers open their tables at the same time.
const OPEN_FILES_MAX: u32 = 128;

/// Runs the command with a limit on its open files; it must succeed.
fn limited(project: &Project, args: &[&str]) {
    let mut shell = Command::new("sh");
    let binary = medallion(project.path());
    let script = format!("ulimit -n {OPEN_FILES_MAX}; exec \"$0\" \"$@\"");
    shell.args(["-c", &script]).arg(binary.get_program()).args(args);
    for (name, value) in binary.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let output = shell.current_dir(project.path()).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?} with {OPEN_FILES_MAX} files: {err}");
}

#[test]
fn a_table_of_many_commits_opens_with_few_open_files() {
    let project = Project::new(60, 70);
    project.events("a.ndjson", 0..200);
    done(project.path(), &["run", "-p", PIPELINE, "--once"]);
    let path = project.lake_path();
    let lake = block(Lake::open(path.to_str().unwrap(), Clock::system())).unwrap();
    let mut bronze = block(Table::open(&lake, tables::bronze(PIPELINE))).unwrap().unwrap();
    let app = names::bronze_seq(PIPELINE);
    let position = bronze.txn(&app).unwrap();
    let info = bronze.info().cloned().unwrap();
    // Commits that move nothing, as a quiet topic with a short delay makes them.
    for _ in 0..COMMITS {
        let append = Append {
            rows: None,
            txns: vec![(app.clone(), position)],
            info: info.clone(),
        };
        block(bronze.append(append)).unwrap();
    }
    project.events("a.ndjson", 200..300);
    limited(&project, &["run", "-p", PIPELINE, "--once", "--close-windows"]);
    limited(&project, &["audit", "-p", PIPELINE]);
    limited(&project, &["maintain", "-p", PIPELINE]);
    project.assert_sound(&project.lake());
    println!("few files: {COMMITS} commits, {OPEN_FILES_MAX} open files, 3 commands");
}
