//! What a run leaves of its metrics for node-exporter: what it said over HTTP, and the last word of it.

use std::collections::BTreeMap;
use std::time::Duration;

use medallion::metrics::CATALOGUE;
use regex::Regex;

use crate::support::command::{ended, medallion, terminate};
use crate::support::live::{free_address, get, sample};
use crate::support::project::{PIPELINE, Project};

/// Every sample of a text: name and labels, and value. Each line is a comment or a sample, and none is there twice.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let shape = Regex::new(r#"^([a-z_]+(?:\{(?:[a-z_]+="(?:[^"\\]|\\.)*",?)*\})?) (\S+)$"#).unwrap();
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with("# ")) {
        let parts = shape.captures(line).unwrap_or_else(|| panic!("no sample: {line}"));
        let value: f64 = parts[2].parse().unwrap_or_else(|_| panic!("no number: {line}"));
        assert_eq!(found.insert(parts[1].to_owned(), value), None, "twice: {line}");
    }
    found
}

/// What does not change any more once every layer has done its work: counts of rows and where the layers are. What is told
/// of the table of events is not known before the end.
fn settled(samples: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let counts = |name: &str| {
        [
            "_rows_total{",
            "_records_total{",
            "_bytes_total{",
            "medallion_position_seq{",
        ]
        .iter()
        .any(|part| name.contains(part))
    };
    let kept = samples.iter().filter(|(name, _)| counts(name));
    kept.map(|(name, value)| (name.clone(), *value)).collect()
}

#[test]
fn a_run_leaves_what_it_said_over_http() {
    let project = Project::new(60, 70);
    project.events("a.ndjson", 0..300);
    let address = free_address();
    let mut command = medallion(project.path());
    command
        .env("MEDALLION_METRICS", address.to_string())
        .env("MEDALLION_METRICS_FILE", "left.prom")
        .args(["run", "-p", PIPELINE]);
    let child = command.spawn().unwrap();
    let mut body = String::new();
    for _ in 0..900 {
        body = get(address, "/metrics").unwrap_or_default();
        let at = |layer: &str| sample(&body, "medallion_position_seq", &[&format!("layer=\"{layer}\"")]);
        if at("gold") >= Some(270.0) && at("gold") == at("bronze") {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    terminate(&child);
    let said = ended(child);
    assert_eq!(said.code, Some(0), "{}\n{body}", said.err);

    let text = project.read("left.prom");
    let (left, shown) = (samples(&text), samples(&body));
    assert_eq!(settled(&left), settled(&shown));
    assert!(settled(&left).len() > 15, "{text}");
    // What both say has the file's name, by which node-exporter's samples of several files differ.
    for samples in [&left, &shown] {
        let unnamed = |name: &&String| name.starts_with("medallion_") && !name.contains("textfile=\"left\"");
        assert_eq!(samples.keys().find(unnamed), None);
    }
    assert!(body.contains("process_cpu_seconds_total"), "{body}");
    assert!(!text.contains("process_"), "{text}");
    for metric in CATALOGUE
        .iter()
        .filter(|metric| body.contains(&format!("# TYPE {} ", metric.name)))
    {
        assert!(
            text.contains(&format!("# HELP {} {}\n", metric.name, metric.help)),
            "{}",
            metric.name
        );
    }
    let events = sample(&text, "medallion_table_rows", &["table=\"events\""]);
    assert!(events >= Some(10.0), "{events:?}: {text}");
}

#[test]
fn a_run_that_failed_leaves_its_numbers_and_a_missing_directory_is_told_first() {
    let project = Project::new(60, 70);
    let run = |file: &str| {
        let mut command = medallion(project.path());
        command
            .env("MEDALLION_METRICS_FILE", file)
            .args(["run", "silver", "-p", PIPELINE, "--once"])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        ended(command.spawn().unwrap())
    };
    let said = run("left.prom");
    assert_eq!(said.code, Some(1), "{}", said.err);
    let text = project.read("left.prom");
    samples(&text);
    let errors = sample(
        &text,
        "medallion_errors_total",
        &["layer=\"silver\"", "kind=\"unavailable\""],
    );
    assert_eq!(errors, Some(1.0), "{text}");
    assert_eq!(sample(&text, "medallion_layer_up", &["layer=\"silver\""]), Some(0.0));

    let said = run("nowhere/left.prom");
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(said.err.contains("there is no directory"), "{}", said.err);
    assert!(!project.path().join("nowhere").exists());
    let said = run("left.txt");
    assert_eq!(said.code, Some(4), "{}", said.err);
}
