//! What Prometheus reads from a running pipeline, and how that pipeline ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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

/// An address that was free a moment ago.
fn free_address() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
}

/// The body of `GET path`, or none while nobody answers.
pub fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    Some(body.to_owned())
}

/// The value of the sample of `name` that has all `labels`.
pub fn sample(body: &str, name: &str, labels: &[&str]) -> Option<f64> {
    body.lines()
        .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')))
        .find(|line| labels.iter().all(|label| line.contains(label)))
        .and_then(|line| line.rsplit(' ').next()?.parse().ok())
}

fn are_described(body: &str) {
    for (name, kind) in [
        ("medallion_build_info", "gauge"),
        ("medallion_input_rows_total", "counter"),
        ("medallion_output_rows_total", "counter"),
        ("medallion_rejected_rows_total", "counter"),
        ("medallion_late_rows_total", "counter"),
        ("medallion_source_rebuilds_total", "counter"),
        ("medallion_source_stalled", "gauge"),
        ("medallion_position_seq", "gauge"),
        ("medallion_last_commit_timestamp_seconds", "gauge"),
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
