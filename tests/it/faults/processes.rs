//! The program as processes on a lake of the test's own, local or on S3.

use std::process::{Child, Command, Stdio};

use medallion::table::Lake;

use super::invariants::{Stage, check, same};
use super::scenario::once;
use crate::support::command::{Said, ended, medallion};
use crate::support::project::{PIPELINE, Project, block, memory_lake};
use crate::support::s3::{SECRET_KEY, Server};

const SECRET: &str = "LAKE_SECRET";

/// How to call the program, and where it keeps its lake.
pub struct Program {
    folder: std::path::PathBuf,
    lake: String,
    opened: Lake,
}

impl Program {
    /// On the bucket of `server` under `prefix`.
    pub fn on_s3(project: &Project, server: &Server, prefix: &str) -> Self {
        soon(project);
        project.write("medallion.toml", &server.settings(SECRET));
        Self {
            folder: project.path().to_owned(),
            lake: format!("s3://{}/{prefix}", crate::support::s3::BUCKET),
            opened: block(server.lake(prefix)).unwrap(),
        }
    }

    /// In the project's own directory.
    pub fn on_disk(project: &Project) -> Self {
        soon(project);
        Self {
            folder: project.path().to_owned(),
            lake: project.lake_path().to_str().unwrap().to_owned(),
            opened: project.lake(),
        }
    }

    /// The lake as this process sees it.
    pub fn lake(&self) -> &Lake {
        &self.opened
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = medallion(&self.folder);
        // What this machine says of its own S3 is not meant for the test's.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        command
            .args(args)
            .args(["-p", PIPELINE, "--lake", &self.lake, "--log", "warn"])
            .env(SECRET, SECRET_KEY)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts the program and leaves it running.
    pub fn start(&self, args: &[&str]) -> Child {
        self.command(args).spawn().unwrap()
    }

    /// Runs the program to its end, which must be a good one. Returns its process id and what it said.
    pub fn done(&self, args: &[&str]) -> (u32, Said) {
        let child = self.start(args);
        let pid = child.id();
        let said = ended(child);
        assert_eq!(said.code, Some(0), "{args:?}: {}", said.err);
        (pid, said)
    }
}

/// Nothing waits long for its commit.
fn soon(project: &Project) {
    let bronze = project.read("layers/view_log/bronze.toml");
    let bronze = bronze.replace("commit = { ", "commit = { max_delay = \"200ms\", ");
    project.write("layers/view_log/bronze.toml", &bronze);
}

/// One more run, alone, and then: the audit finds nothing, and every table has the rows of a lake that never had more
/// than one writer.
pub fn finished_as_by_one(program: &Program, project: &Project, when: &str) {
    program.done(&["run", "--once", "--close-windows"]);
    program.done(&["audit"]);
    let (wanted_lake, wanted) = memory_lake();
    once(project, &wanted_lake, None, true).unwrap();
    let wanted = block(check(wanted.as_ref(), Stage::Done, false)).unwrap();
    let store = program.lake().store();
    let found = block(check(store.as_ref(), Stage::Done, false)).unwrap_or_else(|why| panic!("{when}: {why}"));
    same(&found.rows, &wanted.rows).unwrap_or_else(|why| panic!("{when}: {why}"));
}
