//! What the commands print: data on stdout, for people or as JSON, and no way to write through a query.

use std::io::Read;
use std::process::Stdio;

use serde_json::Value;

use crate::support::command::{call, done, ended, medallion, start};
use crate::support::project::{PIPELINE, Project};

/// A project whose pipeline has run.
fn project() -> Project {
    let project = Project::new(60, 70);
    project.events("a.ndjson", 0..200);
    done(project.path(), &["run", "-p", PIPELINE, "--once", "--close-windows"]);
    project
}

#[test]
fn a_query_reads_the_tables_and_nothing_else() {
    let project = project();
    let select = "select count(*) as views from views_per_minute";
    let said = done(project.path(), &["query", select]);
    assert!(said.out.contains("views"), "{}", said.out);
    let outside = project.path().join("out.parquet");
    let outside = outside.display();
    let csv = project.path().join("data/campaigns.csv");
    for sql in [
        &format!("create external table t stored as csv location '{}'", csv.display()),
        &format!("copy (select * from silver) to '{outside}'"),
        "insert into silver select * from silver",
        "create table t as select 1",
        "create view v as select 1",
        "drop table silver",
        "set datafusion.execution.batch_size = 1",
        "delete from silver",
        "update silver set banner_id = 1",
        &format!("select * from '{}'", csv.display()),
    ] {
        let said = call(project.path(), &["query", sql]);
        assert_eq!(said.code, Some(2), "{sql}: {}{}", said.out, said.err);
        assert_eq!(said.out, "", "{sql}");
    }
    assert!(!project.path().join("out.parquet").exists());
    done(project.path(), &["audit", "-p", PIPELINE]);
}

#[test]
fn output_json_is_json_and_nothing_else() {
    let project = project();
    for args in [
        &["status"][..],
        &["audit", "-p", PIPELINE],
        &[
            "query",
            "select * from views_per_minute order by minute_timestamp limit 3",
        ],
        &["query", "select count(*) as n from view_log.late_views_per_minute"],
        &["maintain", "-p", PIPELINE],
        &["replay", "gold", "--yes"],
        &["check"],
    ] {
        let said = done(project.path(), &[args, &["--output", "json"]].concat());
        for line in said.out.lines() {
            serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{args:?}: {error}: {line}"));
        }
        assert!(!said.out.is_empty(), "{args:?}");
    }
    let said = done(project.path(), &["run", "-p", PIPELINE, "--once"]);
    let summary: Value = serde_json::from_str(said.out.lines().last().unwrap()).unwrap();
    assert_eq!(summary["pipelines"][0]["pipeline"], PIPELINE);
    let logged = done(
        project.path(),
        &["run", "-p", PIPELINE, "--once", "--log-format", "json"],
    );
    for line in logged.err.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let project = project();
    for args in [
        &["query", "select * from bronze", "--limit", "100000"][..],
        &["query", "select * from bronze", "--output", "json"],
        &["status"],
        &["completions", "bash"],
        &["check"],
    ] {
        let mut child = start(project.path(), args);
        // Closed before anything is written, as by a `head` that has seen enough.
        drop(child.stdout.take());
        let said = ended(child);
        assert!(!said.err.contains("panicked"), "{args:?}: {}", said.err);
        assert_eq!(said.code, Some(0), "{args:?}: {}", said.err);
    }
}

#[test]
fn completions_and_help_tell_what_there_is() {
    let project = Project::new(60, 70);
    let completions = done(project.path(), &["completions", "bash"]);
    assert!(
        completions.out.contains("complete -F _medallion"),
        "{}",
        completions.out
    );
    let help = done(project.path(), &["--help"]);
    assert!(
        help.out.contains("Examples:") && help.out.contains("Exit codes:"),
        "{}",
        help.out
    );
    for command in ["run", "replay", "query", "produce"] {
        let help = done(project.path(), &[command, "--help"]);
        assert!(help.out.contains("Example"), "{command}: {}", help.out);
    }
    assert!(done(project.path(), &["--version"]).out.starts_with("medallion "));
}

#[test]
fn flags_win_over_variables_and_the_lake_is_where_they_say() {
    let project = Project::new(60, 70);
    project.events("a.ndjson", 0..20);
    let run = |flags: &[&str]| {
        let mut command = medallion(project.path());
        command
            .env("MEDALLION_LAKE", "from_variable")
            .args(["run", "-p", PIPELINE, "--once"])
            .args(flags);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(child.wait().unwrap().success(), "{said}");
    };
    run(&[]);
    assert!(project.path().join("from_variable/view_log/bronze").is_dir());
    run(&["--lake", "from_flag"]);
    assert!(project.path().join("from_flag/view_log/bronze").is_dir());
    assert!(!project.lake_path().exists());
}
