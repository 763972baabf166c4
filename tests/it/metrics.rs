//! What Prometheus reads from a running pipeline, and how that pipeline ends.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::live::{free_address, get, sample};
use crate::support::view_log::Project;

const PATIENCE: Duration = Duration::from_secs(60);

/// A running medallion; killed if the test ends before it does.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn are_described(body: &str) {
    for (name, kind) in [
        ("medallion_build_info", "gauge"),
        ("medallion_input_rows_total", "counter"),
        ("medallion_output_rows_total", "counter"),
        ("medallion_rejected_rows_total", "counter"),
        ("medallion_late_rows_total", "counter"),
        ("medallion_state_restores_total", "counter"),
        ("medallion_snapshot_failures_total", "counter"),
        ("medallion_source_rebuilds_total", "counter"),
        ("medallion_source_stalled", "gauge"),
        ("medallion_position_seq", "gauge"),
        ("medallion_last_commit_timestamp_seconds", "gauge"),
        ("medallion_layer_up", "gauge"),
        ("medallion_layer_trouble_timestamp_seconds", "gauge"),
        ("medallion_definition_broken", "gauge"),
        ("medallion_definition_changed", "gauge"),
        ("medallion_reference_broken", "gauge"),
        ("medallion_step_duration_seconds", "histogram"),
    ] {
        assert!(body.contains(&format!("# HELP {name} ")), "{name} has no HELP:\n{body}");
        assert!(
            body.contains(&format!("# TYPE {name} {kind}\n")),
            "{name} is no {kind}:\n{body}"
        );
    }
}

#[test]
fn a_running_pipeline_shows_its_counters_and_ends_cleanly_on_sigterm() {
    let project = Project::new();
    let lines = project.add_events("a", 0..3_000) as f64;
    let address = free_address();
    let child = Command::new(env!("CARGO_BIN_EXE_medallion"))
        .args(["--project".as_ref(), project.path().as_os_str()])
        .args(["--metrics", &address.to_string(), "run"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut running = Running(child);

    let of = |layer: &str| ["pipeline=\"view_log\"".to_owned(), format!("layer=\"{layer}\"")];
    let began = Instant::now();
    let body = loop {
        let body = get(address, "/metrics").unwrap_or_default();
        let at = |layer: &str| {
            let labels = of(layer);
            sample(&body, "medallion_position_seq", &[&labels[0], &labels[1]])
        };
        if at("bronze").is_some_and(|position| position >= lines) && at("bronze") == at("gold") {
            break body;
        }
        assert_eq!(running.0.try_wait().unwrap(), None, "medallion ended by itself");
        assert!(began.elapsed() < PATIENCE, "gold does not get there:\n{body}");
        std::thread::sleep(Duration::from_millis(100));
    };

    are_described(&body);
    let value = |name: &str, layer: &str| {
        let labels = of(layer);
        sample(&body, name, &[&labels[0], &labels[1]]).unwrap_or_else(|| panic!("no {name} of {layer}:\n{body}"))
    };
    assert!(value("medallion_output_rows_total", "bronze") >= lines);
    let silver = value("medallion_output_rows_total", "silver");
    assert!(silver > 0.0 && silver < lines, "{silver} of {lines}");
    assert!(value("medallion_output_rows_total", "gold") > 0.0);
    assert!(value("medallion_step_duration_seconds_count", "gold") > 0.0);
    let duplicates = sample(&body, "medallion_rejected_rows_total", &["reason=\"duplicate\""]);
    assert!(duplicates.is_some_and(|rows| rows > 0.0), "{body}");

    // The standard library can only kill; the shell's own `kill` can ask.
    let asked = Command::new("sh")
        .args(["-c", &format!("kill -TERM {}", running.0.id())])
        .status()
        .unwrap();
    assert!(asked.success());
    let stdout = BufReader::new(running.0.stdout.take().unwrap());
    let last = stdout.lines().map(Result::unwrap).last().expect("a summary");
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
    let summary: serde_json::Value = serde_json::from_str(&last).unwrap();
    assert_eq!(summary["pipelines"][0]["pipeline"], "view_log", "{summary}");
    assert_eq!(
        summary["pipelines"][0]["layers"].as_array().unwrap().len(),
        3,
        "{summary}"
    );
}

/// Polls a run of the project that saves silver's state at `checkpoints` until `done` likes what it shows.
fn watched(project: &Project, checkpoints: &str, done: impl Fn(&str) -> bool) {
    let address = free_address();
    let child = Command::new(env!("CARGO_BIN_EXE_medallion"))
        .args(["--project".as_ref(), project.path().as_os_str()])
        .args(["--metrics", &address.to_string(), "--checkpoints", checkpoints, "run"])
        .env("MEDALLION_CHECKPOINT_ROWS", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let began = Instant::now();
    loop {
        let body = get(address, "/metrics").unwrap_or_default();
        if done(&body) {
            return;
        }
        assert_eq!(running.0.try_wait().unwrap(), None, "medallion ended by itself");
        assert!(began.elapsed() < PATIENCE, "not counted:\n{body}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn how_a_start_had_silvers_state_and_what_could_not_be_saved_is_counted() {
    let project = Project::new();
    project.add_events("a", 0..300);
    project.write("in-the-way", b"a file");
    let restored = |body: &str, how: &str| sample(body, "medallion_state_restores_total", &[&format!("how=\"{how}\"")]);
    let failures = |body: &str| sample(body, "medallion_snapshot_failures_total", &["pipeline=\"view_log\""]);
    watched(&project, "in-the-way", |body| failures(body) >= Some(1.0));
    watched(&project, "kept", |body| {
        let saved = project.path().join("kept/view_log");
        let saved = std::fs::read_dir(saved).is_ok_and(|mut found| {
            found.any(|entry| entry.unwrap().file_name().to_string_lossy().ends_with(".snapshot"))
        });
        saved && restored(body, "tables") == Some(1.0) && failures(body) == Some(0.0)
    });
    watched(&project, "kept", |body| {
        restored(body, "snapshot") == Some(1.0) && restored(body, "previous") == Some(0.0)
    });
}
