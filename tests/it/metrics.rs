//! What Prometheus reads from a running pipeline, and how that pipeline ends.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use medallion::metrics::{CATALOGUE, Metric};

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

/// What only a run over Kafka can know.
const OF_KAFKA: &str = "medallion_kafka_";

fn are_described(body: &str) {
    for Metric { name, shape, help } in CATALOGUE.iter().filter(|metric| !metric.name.starts_with(OF_KAFKA)) {
        let kind = format!("{shape:?}").to_lowercase();
        assert!(
            body.contains(&format!("# HELP {name} {help}\n")),
            "{name} has no HELP:\n{body}"
        );
        assert!(
            body.contains(&format!("# TYPE {name} {kind}\n")),
            "{name} is no {kind}:\n{body}"
        );
    }
    for name in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        assert!(body.contains(&format!("# TYPE {name} ")), "no {name}:\n{body}");
    }
    // What is told and in no catalogue has no help, and nobody knows it.
    let told = body
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    for name in told.filter(|name| name.starts_with("medallion_")) {
        assert!(
            CATALOGUE.iter().any(|metric| metric.name == name),
            "{name} is in no catalogue"
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
    fates_are_told(&body, lines, silver);
    costs_are_shown(&body, &project, lines);
    sizes_are_those_of_the_disk(address, &project);

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

/// Every record has a fate, and every layer is where its upstream is.
fn fates_are_told(body: &str, lines: f64, silver: f64) {
    let at = |name: &str| sample(body, name, &["pipeline=\"view_log\""]);
    assert_eq!(at("medallion_unaccounted_rows"), Some(0.0));
    assert_eq!(at("medallion_records_total"), Some(lines));
    assert_eq!(at("medallion_dedupe_keys"), Some(silver));
    for layer in ["silver", "gold"] {
        let of = |name: &str| sample(body, name, &[&format!("layer=\"{layer}\"")]);
        assert_eq!(of("medallion_head_seq"), of("medallion_position_seq"), "{layer}");
        assert!(of("medallion_caught_up_timestamp_seconds") > Some(1.7e9), "{layer}");
    }
    let duplicates = sample(body, "medallion_rejected_rows_total", &["reason=\"duplicate\""]);
    assert!(duplicates.is_some_and(|rows| rows > 0.0), "{body}");
}

/// What the layers read, wrote and worked: all of it something, and none of it more than there was.
fn costs_are_shown(body: &str, project: &Project, lines: f64) {
    let process = body
        .lines()
        .find_map(|line| line.strip_prefix("process_cpu_seconds_total ")?.parse::<f64>().ok());
    let mut worked = 0.0;
    for layer in ["bronze", "silver", "gold"] {
        let value = |name: &str| sample(body, name, &[&format!("layer=\"{layer}\"")]);
        let cpu = value("medallion_step_cpu_seconds_sum").unwrap();
        assert!(cpu > 0.0, "{layer} did its steps without any work:\n{body}");
        worked += cpu;
        let [read, written] =
            ["medallion_input_bytes_total", "medallion_output_bytes_total"].map(|name| value(name).unwrap());
        assert!(read > 0.0 && written > 0.0, "{layer}: {read} bytes in, {written} out");
        if layer == "bronze" {
            // The payloads are the lines; ticks are small, and there are few.
            let file = std::fs::metadata(project.path().join("in/a.ndjson")).unwrap().len() as f64;
            let payloads = file - lines;
            assert!((payloads..payloads + 4096.0).contains(&read), "{read} of {payloads}");
        }
    }
    assert!(
        // The whole process' time is told in whole seconds.
        process.is_some_and(|process| worked <= process + 1.0),
        "{worked} of {process:?}"
    );
}

/// Waits until what is told of bronze's size is what lies on disk.
fn sizes_are_those_of_the_disk(address: std::net::SocketAddr, project: &Project) {
    let table = project.path().join("data/lake/view_log/bronze");
    let began = Instant::now();
    loop {
        let body = get(address, "/metrics").unwrap_or_default();
        let told = ["files", "bytes", "log_bytes"].map(|what| {
            sample(&body, &format!("medallion_table_{what}"), &["table=\"bronze\""]).unwrap_or(-1.0) as i64
        });
        let data = sizes(&table.join("*/*.parquet"));
        let log = sizes(&table.join("_delta_log/*"));
        let found = [data.len() as i64, data.iter().sum(), log.iter().sum()];
        if told == found {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "told {told:?}, found {found:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn sizes(pattern: &std::path::Path) -> Vec<i64> {
    let files = glob::glob(pattern.to_str().unwrap()).unwrap().map(Result::unwrap);
    files
        .map(|file| std::fs::metadata(file).unwrap().len() as i64)
        .collect()
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
