//! The real binary under strace: the order in which it writes, syncs and links, and what it does when a sync fails.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::command::done;
use crate::support::project::{PIPELINE, Project, memory_lake};
use crate::support::rows::{assert_same, rows};
use crate::support::tier::pick;
use crate::support::trace::{Call, traced};

const RUN: [&str; 5] = ["run", "-p", PIPELINE, "--once", "--close-windows"];
const CALLS: &str = "trace=fsync,fdatasync,sync_file_range,link,linkat,rename,renameat,renameat2,mkdir,mkdirat";

/// One commit of one table as it lies on disk.
struct Commit {
    entry: PathBuf,
    data: Vec<PathBuf>,
}

/// Every commit under `folder`.
fn commits(folder: &Path) -> Vec<Commit> {
    let mut found = Vec::new();
    for at in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if at.is_dir() {
            found.extend(commits(&at));
        } else if at.extension().is_some_and(|extension| extension == "json") && folder.ends_with("_delta_log") {
            let text = std::fs::read_to_string(&at).unwrap();
            let actions = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            let added = actions.filter_map(|action| Some(action["add"]["path"].as_str()?.replace("%25", "%")));
            let table = folder.parent().unwrap();
            let data = added.map(|path| table.join(path)).collect();
            found.push(Commit { entry: at, data });
        }
    }
    found
}

fn project(events: u64) -> Project {
    let project = Project::new(150, 160);
    project.events("a.ndjson", 0..events);
    project
}

/// The project's directory as the kernel names it.
fn folder(project: &Project) -> PathBuf {
    project.path().canonicalize().unwrap()
}

fn run_traced(project: &Project, durability: &str, options: &[&str]) -> (crate::support::command::Said, Vec<Call>) {
    let options: Vec<&str> = ["-e", CALLS].iter().chain(options).copied().collect();
    let args: Vec<&str> = RUN.iter().chain(&["--durability", durability]).copied().collect();
    traced(project.path(), &options, &args)
}

struct Trace<'a>(&'a [Call]);

impl Trace<'_> {
    fn syncs<'a>(&'a self, at: &'a Path) -> impl Iterator<Item = &'a Call> {
        self.0
            .iter()
            .filter(move |call| call.name == "fsync" && call.paths[0] == at)
    }

    /// Asserts that `at` was synced, all of it between the two lines.
    fn assert_synced(&self, at: &Path, after: usize, before: usize) {
        let synced = self.syncs(at).any(|call| call.began > after && call.ended < before);
        let found: Vec<_> = self.syncs(at).map(|call| (call.began, call.ended)).collect();
        assert!(
            synced,
            "{} synced at {found:?}, not between {after} and {before}",
            at.display()
        );
    }

    /// The call that gave a file this name, whole paths or relative to `folder`.
    fn named(&self, folder: &Path, at: &Path) -> &Call {
        let gives = |call: &&Call| {
            (call.name.starts_with("link") || call.name.starts_with("rename"))
                && call.paths.last().is_some_and(|to| folder.join(to) == at)
        };
        let mut found = self.0.iter().filter(gives);
        let named = found.next().unwrap_or_else(|| panic!("nobody named {}", at.display()));
        assert!(found.next().is_none(), "{} was named twice", at.display());
        named
    }

    /// Asserts that every directory above `at` that was made is a name on disk before the line. Returns how many were.
    fn assert_directories_synced(&self, folder: &Path, at: &Path, before: usize) -> usize {
        let mut count = 0;
        for directory in at.ancestors().skip(1).take_while(|directory| *directory != folder) {
            let makes = |call: &&Call| {
                call.name.starts_with("mkdir") && call.paths.last().is_some_and(|made| folder.join(made) == directory)
            };
            let Some(made) = self.0.iter().find(makes) else {
                assert_eq!(directory, folder.join("data"), "nobody made it");
                continue;
            };
            self.assert_synced(directory.parent().unwrap(), made.ended, before);
            count += 1;
        }
        count
    }
}

#[test]
fn under_power_every_commit_is_written_synced_and_linked_in_this_order() {
    let project = project(600);
    let (said, calls) = run_traced(&project, "power", &[]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("durability=\"power\""), "{}", said.err);
    let (folder, trace) = (folder(&project), Trace(&calls));
    let commits = commits(&folder.join("data/lake"));
    let tables: BTreeSet<_> = commits.iter().map(|commit| commit.entry.parent().unwrap()).collect();
    assert_eq!(tables.len(), 6, "{tables:?}");
    let (mut files, mut directories) = (0, 0);
    for Commit { entry, data } in &commits {
        let link = trace.named(&folder, entry);
        assert!(link.name.starts_with("link"), "put if absent is a link: {}", link.text);
        for file in data {
            files += 1;
            let written = trace.named(&folder, file).ended;
            trace.assert_synced(file, written, link.began);
            trace.assert_synced(file.parent().unwrap(), written, link.began);
            directories += trace.assert_directories_synced(&folder, file, link.began);
        }
        let staged = folder.join(&link.paths[0]);
        trace.assert_synced(&staged, 0, link.began);
        let log = entry.parent().unwrap();
        let told = trace.syncs(log).find(|call| call.began > link.ended);
        let told = told.unwrap_or_else(|| panic!("{} was not synced after {}", log.display(), link.text));
        let version: u64 = entry.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        let next = log.join(format!("{:020}.json", version + 1));
        // The next version is put only after this one is on disk.
        let end = if next.exists() {
            trace.named(&folder, &next).began
        } else {
            usize::MAX
        };
        assert!(told.ended < end, "{} was put before {}", next.display(), told.text);
        directories += trace.assert_directories_synced(&folder, entry, end);
    }
    assert!(directories > 50, "{directories} directories");
    assert!(
        files > 10 && commits.len() > 12,
        "{files} files in {} commits",
        commits.len()
    );
    let reference = calls.iter().find(|call| {
        call.name.starts_with("rename") && call.paths[1].extension().is_some_and(|extension| extension == "csv")
    });
    let reference = reference.expect("reference data is kept");
    trace.assert_synced(&folder.join(&reference.paths[0]), 0, reference.began);
    let syncs = calls.iter().filter(|call| call.name == "fsync").count();
    println!(
        "traced: {} commits, {files} data files, {syncs} syncs in order",
        commits.len()
    );
}

#[test]
fn under_process_nothing_is_synced() {
    let project = project(300);
    let (said, calls) = run_traced(&project, "process", &[]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("durability=\"process\""), "{}", said.err);
    assert!(commits(&folder(&project).join("data/lake")).len() > 8);
    let synced: Vec<_> = calls.iter().filter(|call| call.name.contains("sync")).collect();
    assert!(synced.is_empty(), "{synced:?}");
}

#[test]
fn when_the_disk_fails_to_sync_the_run_ends_with_the_reason_and_the_next_one_finishes() {
    let (wanted, _) = memory_lake();
    let reference = project(300);
    reference.run(&wanted).unwrap();
    let wanted = rows(&wanted);
    let cases = pick(2, 8, 40);
    for case in 1..=cases {
        let project = project(300);
        // strace counts the calls of each thread for itself.
        let inject = format!("inject=fsync:error=EIO:when={case}");
        let (said, _) = run_traced(&project, "power", &["-e", &inject]);
        if said.code == Some(0) {
            assert!(case > 8, "no thread made {case} syncs");
            continue;
        }
        assert_eq!(said.code, Some(1), "sync {case}: {}", said.err);
        assert!(
            said.err.contains("not synced to disk: /") && said.err.contains("os error 5"),
            "sync {case}: {}",
            said.err
        );
        done(project.path(), &RUN);
        done(project.path(), &["audit", "-p", PIPELINE]);
        assert_same(&rows(&project.lake()), &wanted, &format!("after sync {case} failed"));
    }
    println!("traced: {cases} runs with failing syncs");
}
