//! What goes wrong before anything is consumed: the exit code, the reason, and the next step.

use std::io::Write;
use std::net::TcpListener;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::command::{call, done};
use crate::support::project::{PIPELINE, Project, lines};
use crate::support::tamper::Raw;

const ONCE: [&str; 4] = ["run", "-p", PIPELINE, "--once"];

fn project() -> Project {
    let project = Project::new(60, 70);
    project.events("a.ndjson", 0..100);
    project
}

/// Runs the command and asserts its exit code, what it says on stderr, and that it says nothing on stdout.
fn refused(project: &Project, args: &[&str], code: i32, says: &[&str]) {
    let said = call(project.path(), args);
    assert_eq!(said.code, Some(code), "{args:?}: {}{}", said.out, said.err);
    assert_eq!(said.out, "", "{args:?}");
    for words in says {
        assert!(
            said.err.contains(words),
            "{args:?} does not say {words:?}: {}",
            said.err
        );
    }
    assert!(!said.err.contains("panicked"), "{args:?}: {}", said.err);
}

#[test]
fn wrong_usage_is_exit_code_2_and_says_what_is_right() {
    let project = project();
    for (args, says) in [
        (&["sing"][..], "unrecognized subcommand"),
        (&["run", "platinum"], "bronze, silver, gold"),
        (&["run", "--close-windows"], "--once"),
        (&["replay", "bronze"], "silver, gold"),
        (&["run", "-p", "view_logs", "--once"], "view_log"),
        (&["audit", "-p", "nothing"], "declared are: view_log"),
        (&["status", "--lake", "ftp://somewhere/lake"], "s3://"),
        (&["query", "select * from nothing"], "nothing"),
        (&["query", "selekt 1"], "the query"),
        (&["produce"], "--topic"),
        (&["check", "--output", "yaml"], "json"),
        (&["check", "--log", "a=b=c=d"], "log filter"),
    ] {
        refused(&project, args, 2, &[says]);
    }
}

#[test]
fn looking_makes_nothing_and_a_wrong_lake_is_never_called_sound() {
    let project = project();
    let lake = project.path().join("no/such/lake");
    let at = ["--lake", lake.to_str().unwrap()];
    let status = done(project.path(), &[&["status"][..], &at].concat());
    assert!(status.out.contains("not run yet"), "{}", status.out);
    refused(&project, &[&["audit"][..], &at].concat(), 2, &["no table to audit"]);
    let query = ["query", "select 1 from view_log.silver"];
    refused(&project, &[&query[..], &at].concat(), 2, &["PIPELINE.bronze"]);
    assert!(!lake.exists());
}

#[test]
fn every_problem_of_broken_definitions_is_told_at_once_with_its_place() {
    let project = project();
    project.append(
        "layers/view_log/silver.toml",
        "\n[[expect]]\nname = \"x\"\ncheck = \"no_such_column > 1\"\non_fail = \"explode\"\n",
    );
    let gold = project
        .read("layers/view_log/gold.toml")
        .replace("watermark = \"10s\"", "watermark = \"soon\"");
    project.write("layers/view_log/gold.toml", &gold);
    project.append("layers/view_log/bronze.toml", "colour = \"red\"\n");
    for args in [&["check"][..], &ONCE, &["replay", "silver", "--yes"], &["status"]] {
        let says = [
            "layers/view_log/bronze.toml:3",
            "colour",
            "layers/view_log/silver.toml:",
            "no_such_column",
            "explode",
            "layers/view_log/gold.toml:",
            "watermark",
        ];
        refused(&project, args, 4, &says);
    }
    assert!(
        !project.lake_path().join(PIPELINE).exists(),
        "nothing is made for a broken definition"
    );
}

#[test]
fn broken_settings_are_exit_code_4() {
    let project = project();
    project.write("medallion.toml", "lakes = \"here\"\nmetrics = \"nowhere\"\n");
    refused(
        &project,
        &["check"],
        4,
        &["medallion.toml:1", "lakes", "medallion.toml:2", "nowhere"],
    );
}

#[test]
fn a_lake_that_cannot_be_written_is_told_before_anything_is_read() {
    let project = project();
    project.write("data/lake", "a file where a directory should be");
    refused(&project, &ONCE, 1, &["lake"]);
    project.write("other/view_log", "a file where the pipeline's directory should be");
    refused(
        &project,
        &["run", "-p", PIPELINE, "--once", "--lake", "other"],
        1,
        &["view_log"],
    );
}

#[test]
fn a_table_of_someone_else_at_our_path_stays_as_it_is() {
    let project = project();
    done(project.path(), &ONCE);
    // The table as another tool would have made it: no mark of medallion's.
    let log = project
        .lake_path()
        .join("view_log/silver/_delta_log/00000000000000000000.json");
    let entry = std::fs::read_to_string(&log).unwrap();
    std::fs::write(&log, entry.replace("medallion.table", "someone.elses")).unwrap();
    let version = Raw::new(&project.lake(), "view_log/silver").version();
    refused_while_running(&project, &["was not made by medallion", "next:"]);
    assert_eq!(Raw::new(&project.lake(), "view_log/silver").version(), version);

    let elsewhere = Project::new(60, 70);
    elsewhere.events("a.ndjson", 0..10);
    elsewhere.write("data/lake/view_log/bronze/part-0.parquet", "not a table");
    refused_while_running(&elsewhere, &["part-0.parquet", "next:"]);
}

/// As `refused` with exit code 1.
fn refused_while_running(project: &Project, says: &[&str]) {
    refused(project, &["run", "-p", PIPELINE, "--once", "--log", "error"], 1, says);
}

#[test]
fn a_metrics_port_that_is_taken_stops_the_run_before_it_reads() {
    let project = project();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let args = ["run", "-p", PIPELINE, "--once", "--metrics", &address];
    refused(&project, &args, 1, &[&address, "--metrics"]);
    assert!(
        !project.lake_path().join("view_log/bronze").exists(),
        "nothing was consumed"
    );
}

#[test]
fn input_that_is_not_there_is_told_and_leaves_no_table() {
    let project = Project::new(60, 70);
    refused(
        &project,
        &["run", "-p", PIPELINE, "--once", "--log", "error"],
        1,
        &["input/*", "next:"],
    );
    assert!(!project.lake_path().join("view_log/bronze").exists());
}

#[test]
fn a_half_written_gzip_file_is_read_to_its_break_and_on_once_it_is_whole() {
    let project = Project::new(60, 70);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&lines(0..2_000)).unwrap();
    let whole = encoder.finish().unwrap();
    std::fs::create_dir(project.path().join("input")).unwrap();
    let file = project.path().join("input/a.ndjson.gz");
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    refused_while_running(&project, &["a.ndjson.gz breaks off in line", "next:"]);
    std::fs::write(&file, &whole).unwrap();
    done(project.path(), &["run", "-p", PIPELINE, "--once", "--close-windows"]);
    let audit = done(project.path(), &["audit", "-p", PIPELINE, "--output", "json"]);
    let report: serde_json::Value = serde_json::from_str(&audit.out).unwrap();
    let expected = lines(0..2_000).iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(report[0]["records"], expected);
}

#[test]
fn input_that_shrank_stays_refused_until_the_loss_is_accepted() {
    let project = project();
    done(project.path(), &ONCE);
    let file = project.path().join("input/a.ndjson");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    for _ in 0..2 {
        refused_while_running(&project, &["accept-gap"]);
    }
    std::fs::write(&file, &whole).unwrap();
    done(project.path(), &ONCE);
    done(project.path(), &["audit", "-p", PIPELINE]);
}
