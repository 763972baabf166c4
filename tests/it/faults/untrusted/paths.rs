//! Names and values that would like to be paths: nothing is ever written outside of the lake, and what the operator
//! himself declares outside of the project is read and never shown.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use medallion::definition::{load, load_one};
use medallion::error::Kind;

use crate::support::command::{call, done};
use crate::support::project::{PIPELINE, Project};

const ONCE: [&str; 5] = ["run", "-p", PIPELINE, "--once", "--close-windows"];

/// Names that are something else to a file system or a URL.
fn hostile() -> Vec<String> {
    let mut names: Vec<String> = [
        ".",
        "..",
        "../x",
        "../../x",
        "/tmp/x",
        "a/b",
        "a/../../x",
        "a\\\\b",
        "%2e%2e%2fx",
        "..%2f..",
        "x y",
        "x:y",
        "x?y#z",
        "ü",
        "\u{202e}x",
        "日本",
        "-x",
        "_x",
        "X",
        "con ",
        "x.",
        "~",
        "$HOME",
        "*",
        "\\u0000",
        "",
    ]
    .map(str::to_owned)
    .into();
    names.push("n".repeat(300));
    names
}

/// Asserts that the project's declarations are refused.
fn refused(project: &Project, says: &str, case: &str) {
    let error = load_one(project.path(), PIPELINE, &|_| None).expect_err(case);
    assert_eq!(error.kind(), Kind::Definition, "{case}: {error}");
    assert!(
        error.to_string().contains(says),
        "{case} does not say {says:?}: {error}"
    );
}

#[test]
fn no_declared_name_can_be_a_path() {
    let mut cases = 0;
    let project = Project::new(60, 70);
    let (bronze, gold) = (
        project.read("layers/view_log/bronze.toml"),
        project.read("layers/view_log/gold.toml"),
    );
    for name in hostile() {
        let table = gold.replace("name = \"views_per_minute\"", &format!("name = \"{name}\""));
        project.write("layers/view_log/gold.toml", &table);
        refused(&project, "gold.toml", &format!("gold table {name:?}"));
        cases += 1;
    }
    project.write("layers/view_log/gold.toml", &gold);
    // Kafka's own rule allows a few more names than that of tables.
    let allowed = ["-x", "_x", "X", "x."];
    for name in hostile().iter().filter(|name| !allowed.contains(&name.as_str())) {
        let topic = format!("source = {{ kind = \"kafka\", brokers = \"localhost:1\", topic = \"{name}\" }}\n");
        project.write("layers/view_log/bronze.toml", &topic);
        refused(&project, "topic", &format!("topic {name:?}"));
        cases += 1;
    }
    project.write("layers/view_log/bronze.toml", &bronze);
    for name in ["X", "x y", "ü", "x.y", "%2e%2e", "x\\y", "-x"] {
        let folder = project.path().join("layers").join(name);
        fs::create_dir(&folder).unwrap();
        let loaded = load(project.path(), &|_| None);
        assert!(loaded.is_err_and(|error| error.kind() == Kind::Definition), "{name}");
        fs::remove_dir(&folder).unwrap();
        cases += 1;
    }
    for name in ["../view_log", "/etc", "view_log/../view_log", "."] {
        let said = call(project.path(), &["run", "-p", name, "--once"]);
        assert_eq!(said.code, Some(2), "{name}: {}", said.err);
        cases += 1;
    }
    project.write(
        "layers/view_log/gold.toml",
        &gold.replace("views_per_minute", "../../views"),
    );
    let run = call(project.path(), &ONCE);
    assert_eq!(run.code, Some(4), "{}", run.err);
    assert!(!project.lake_path().exists(), "nothing is made for a wrong name");
    println!("untrusted names: {cases} cases");
}

#[test]
fn text_from_events_cannot_name_a_partition() {
    let project = Project::new(60, 70);
    let gold = project.read("layers/view_log/gold.toml");
    let by_text = gold
        .replace(
            "group_by = [\"campaign_id\", \"network_id\"]",
            "group_by = [\"view_id\"]",
        )
        .replace(
            "partition_by = [\"network_id\", \"minute_timestamp\"]",
            "partition_by = [\"view_id\"]",
        )
        .lines()
        .filter(|line| !line.starts_with("order ="))
        .collect::<Vec<_>>()
        .join("\n");
    project.write("layers/view_log/gold.toml", &by_text);
    refused(&project, "is a string", "gold partitioned by text");
    project.write("layers/view_log/gold.toml", &gold);
    let silver = project.read("layers/view_log/silver.toml");
    let by_text = silver.replace("partition_by = [\"event_date\"]", "partition_by = [\"view_id\"]");
    project.write("layers/view_log/silver.toml", &by_text);
    refused(&project, "cannot be partitioned by", "silver partitioned by text");
}

/// All files under a directory.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn hostile_values_and_file_names_pass_through_every_layer_inside_the_lake() {
    // The project is a directory deeper, so that a step up would be seen.
    let project = Project::new(60, 70);
    // Groups by the hostile text itself.
    let gold = project
        .read("layers/view_log/gold.toml")
        .replace(
            "group_by = [\"campaign_id\", \"network_id\"]",
            "group_by = [\"view_id\", \"network_id\"]",
        )
        .replace("order = [\"campaign_id\",", "order = [\"view_id\",");
    project.write("layers/view_log/gold.toml", &gold);
    let mut values: Vec<String> = hostile();
    values.push("v".repeat(1 << 20));
    values.push("../".repeat(500));
    let times = "\"start_timestamp\":\"2024-01-01T00:00:00Z\",\"end_timestamp\":\"2024-01-01T00:00:01Z\"";
    let lines: Vec<String> = values
        .iter()
        .map(|value| format!("{{\"view_id\":\"{value}\",{times},\"banner_id\":1,\"campaign_id\":10}}\n"))
        .collect();
    let names = [
        "..%2f..%2fx.ndjson",
        "ü \u{202e}.ndjson",
        "a=b&c?d#e.ndjson",
        "..ndjson",
        "-rf.ndjson",
        "seq",
    ];
    for (name, part) in names.iter().zip(lines.chunks(lines.len().div_ceil(names.len()))) {
        project.write(&format!("input/{name}"), &part.concat());
    }
    let before = files(project.path());
    done(project.path(), &ONCE);
    done(project.path(), &["audit", "-p", PIPELINE]);
    let counted = done(
        project.path(),
        &["query", "select count(*) as n from silver", "--output", "json"],
    );
    // The empty one breaks the contract; all others are rows.
    assert!(
        counted.out.contains(&format!("{}", values.len() - 1)),
        "{}",
        counted.out
    );
    let lake = project.lake_path();
    let outside: Vec<PathBuf> = files(project.path())
        .into_iter()
        .filter(|file| !file.starts_with(&lake) && !file.starts_with(project.path().join("checkpoints")))
        .collect();
    assert_eq!(
        outside, before,
        "nothing was written outside of the lake and the checkpoints"
    );
}

#[test]
fn what_the_operator_declares_elsewhere_is_read_but_never_shown_or_written() {
    let shared = tempfile::tempdir().unwrap();
    let project = Project::new(60, 70);
    project.events("a.ndjson", 0..50);
    let elsewhere = |file: &str| shared.path().join(file);
    fs::write(elsewhere("view.json"), project.read("schemas/view_log.json")).unwrap();
    fs::write(elsewhere("campaigns.csv"), project.read("data/campaigns.csv")).unwrap();
    symlink(elsewhere("campaigns.csv"), project.path().join("data/linked.csv")).unwrap();
    let silver = project.read("layers/view_log/silver.toml");
    let up = format!("../../../../../../../..{}", elsewhere("view.json").display());
    let declared = silver.replace("view_log.json", &up);
    let before = files(shared.path());
    for file in [
        elsewhere("campaigns.csv").display().to_string(),
        "data/linked.csv".to_owned(),
        "data/../data/campaigns.csv".to_owned(),
    ] {
        project.write(
            "layers/view_log/silver.toml",
            &declared.replace("data/campaigns.csv", &file),
        );
        done(project.path(), &["check"]);
        done(
            project.path(),
            &[
                "run",
                "-p",
                PIPELINE,
                "--once",
                "--lake",
                &format!("lakes/{}", file.len()),
            ],
        );
    }
    assert_eq!(files(shared.path()), before);
    // What is no schema, no reference data and no plain file is refused without a word of its content.
    fs::write(elsewhere("private"), "root:x:0:0:hunter2\nsecond:line\n").unwrap();
    let private = elsewhere("private").display().to_string();
    for (from, to) in [
        ("view_log.json", private.as_str()),
        ("view_log.json", "/dev/zero"),
        ("view_log.json", "../../../../../../../../../dev/stdin"),
        ("view_log.json", ""),
        ("data/campaigns.csv", private.as_str()),
        ("data/campaigns.csv", "/dev/zero"),
        ("data/campaigns.csv", "/proc/self/mem"),
        ("data/campaigns.csv", "data"),
    ] {
        project.write("layers/view_log/silver.toml", &silver.replace(from, to));
        let said = call(project.path(), &["check"]);
        assert_eq!(said.code, Some(4), "{from} -> {to}: {}{}", said.out, said.err);
        assert!(
            !said.err.contains("hunter2") && said.err.len() < 5000,
            "{from} -> {to}: {}",
            said.err
        );
    }
    project.write("layers/view_log/silver.toml", &silver);
    done(project.path(), &["check"]);
    // A declaration that is a pipe would be waited for.
    fs::remove_file(project.path().join("layers/view_log/gold.toml")).unwrap();
    symlink("/dev/zero", project.path().join("layers/view_log/gold.toml")).unwrap();
    let said = call(project.path(), &["check"]);
    assert!(
        said.code == Some(4) && said.err.contains("not a plain file"),
        "{}",
        said.err
    );
}
