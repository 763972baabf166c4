//! What an OpenTelemetry collector is told of a run, and that a run does not depend on it.

mod collector;

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::support::command::{Said, ended, medallion, said, terminate};
use crate::support::project::{PIPELINE, Project};
use collector::{Collector, LogRecord, Span, Taken, text};

/// How long something may take that is sure to come.
const PATIENCE: Duration = Duration::from_secs(60);
/// What an end of the process may wait for a collector (`otel::FLUSH`), and what a loaded machine needs besides.
const FLUSH_AND_SLACK: Duration = Duration::from_secs(2 + 4);
const LAYERS: [&str; 3] = ["bronze", "silver", "gold"];

/// Parts of a step, which is the order of its child spans.
const PHASES: [&str; 3] = ["read", "compute", "commit"];

fn project() -> Project {
    let project = Project::new(60, 70);
    project.events("a.ndjson", 0..300);
    project
}

/// `medallion run` that sends to `endpoint` and logs as JSON.
fn run(project: &Project, endpoint: &str) -> Command {
    let mut command = medallion(project.path());
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .env("OTEL_SERVICE_NAME", "views")
        .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        // Only the end of the process sends, so that whatever is missing was lost there.
        .env("OTEL_BSP_SCHEDULE_DELAY", "600000")
        .env("OTEL_BLRP_SCHEDULE_DELAY", "600000")
        .env("NO_PROXY", "127.0.0.1")
        .args(["--log-format", "json", "run", "-p", PIPELINE]);
    command
}

fn once(project: &Project, endpoint: &str) -> Said {
    said(run(project, endpoint).arg("--once").output().unwrap())
}

/// The spans of steps, without those of their phases.
fn steps(taken: &Taken) -> Vec<&Span> {
    let spans = taken.spans.iter().map(|(_, span)| span);
    spans.filter(|span| span.parent_span_id.is_empty()).collect()
}

/// The log lines on stderr with this message.
fn logged(said: &Said, message: &str) -> Vec<Value> {
    let lines = said
        .err
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["fields"]["message"] == message).collect()
}

/// Commits in the log of a table, without the one that made it.
fn commits(project: &Project, table: &str) -> usize {
    let log = project.lake_path().join(PIPELINE).join(table).join("_delta_log");
    let entries = std::fs::read_dir(log).into_iter().flatten();
    let entries = entries.filter(|entry| {
        let path = entry.as_ref().unwrap().path();
        path.extension().is_some_and(|extension| extension == "json")
    });
    entries.count().saturating_sub(1)
}

fn body(line: &LogRecord) -> String {
    line.body.clone().and_then(|body| body.string).unwrap_or_default()
}

/// Asserts that the step's phases are its children, one after the other up to its end.
fn assert_phases(taken: &Taken, step: &Span) {
    let spans = taken.spans.iter().map(|(_, span)| span);
    let mut phases: Vec<&Span> = spans.filter(|span| span.parent_span_id == step.span_id).collect();
    phases.sort_by_key(|span| (span.start_nanos, span.end_nanos));
    let names: Vec<&str> = phases.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, PHASES, "of {}", step.name);
    assert!(phases.iter().all(|span| span.trace_id == step.trace_id));
    // Each time is rounded on its own.
    let near = |one: u64, other: u64| one.abs_diff(other) < 1_000;
    assert!(phases[0].start_nanos + 1_000 >= step.start_nanos, "{step:?} {phases:?}");
    assert!(
        phases
            .windows(2)
            .all(|pair| near(pair[0].end_nanos, pair[1].start_nanos))
    );
    assert!(near(phases[2].end_nanos, step.end_nanos), "{step:?} {phases:?}");
}

#[test]
fn every_committed_step_is_a_span_with_its_figures_and_its_phases() {
    let (project, collector) = (project(), Collector::start());
    let began = SystemTime::now();
    let said = once(&project, &collector.endpoint());
    assert_eq!(said.code, Some(0), "{}", said.err);
    let taken = collector.taken();

    for (resource, _) in &taken.spans {
        assert_eq!(text(resource, "service.name"), "views");
        assert_eq!(text(resource, "service.version"), env!("CARGO_PKG_VERSION"));
        assert_eq!(text(resource, "deployment.environment.name"), "test");
    }
    for (layer, table) in LAYERS.into_iter().zip(["bronze", "silver", "gold/views_per_minute"]) {
        let of_layer = |span: &&Span| span.name == format!("{layer} step");
        let steps: Vec<&Span> = steps(&taken).into_iter().filter(of_layer).collect();
        assert!(!steps.is_empty());
        assert_eq!(steps.len(), commits(&project, table), "a span per commit of {table}");
        for step in steps {
            assert_eq!(text(&step.attributes, "medallion.pipeline"), PIPELINE);
            assert_eq!(text(&step.attributes, "medallion.layer"), layer);
            assert_eq!(text(&step.attributes, "medallion.table"), table);
            assert!(step.status.as_ref().is_none_or(|status| status.code != 2), "{step:?}");
            assert!(step.start_nanos < step.end_nanos, "{step:?}");
            assert!(began <= step.ended() && step.ended() <= SystemTime::now(), "{step:?}");
            assert_phases(&taken, step);
        }
    }
    assert_eq!(
        taken.spans.len(),
        steps(&taken).len() * (1 + PHASES.len()),
        "nothing else"
    );

    // The same figures as in the log on stderr, whose line of the step is in the collector, too, with the span's id.
    let committed = logged(&said, "committed");
    assert_eq!(committed.len(), steps(&taken).len());
    for line in committed {
        let of = |field: &str| line["fields"][field].to_string().replace('"', "");
        let step = steps(&taken).into_iter().find(|step| {
            ["layer", "position", "rows_in", "rows_out"]
                .iter()
                .all(|field| text(&step.attributes, &format!("medallion.{field}")) == of(field))
        });
        let step = step.unwrap_or_else(|| panic!("no span of {line}"));
        let sent = taken.lines.iter().find(|sent| sent.span_id == step.span_id).unwrap();
        assert_eq!((body(sent).as_str(), sent.severity.as_str()), ("committed", "INFO"));
        assert_eq!(sent.trace_id, step.trace_id);
        assert_eq!(text(&sent.attributes, "position"), of("position"));
    }
}

#[test]
fn a_turn_that_fails_is_a_span_with_its_error_and_is_sent_before_the_process_ends() {
    let (project, collector) = (project(), Collector::start());
    assert_eq!(once(&project, &collector.endpoint()).code, Some(0));
    collector.taken();
    project.append(
        "layers/view_log/silver.toml",
        "[[expect]]\nname = \"more\"\ncheck = \"view_id is not null\"\non_fail = \"reject\"\n",
    );
    let said = once(&project, &collector.endpoint());
    assert_eq!(said.code, Some(4), "{}", said.err);
    let taken = collector.taken();
    let failed: Vec<&Span> = steps(&taken)
        .into_iter()
        .filter(|span| text(&span.attributes, "medallion.layer") == "silver")
        .collect();
    let [failed] = failed[..] else {
        panic!("{taken:?}");
    };
    let status = failed.status.clone().unwrap();
    assert_eq!(status.code, 2);
    assert!(status.message.contains("another definition wrote"), "{status:?}");
    assert_eq!(text(&failed.attributes, "error.type"), "definition");
    assert_eq!(failed.events[0].name, "exception");
    assert_eq!(text(&failed.events[0].attributes, "exception.message"), status.message);

    let line = taken.lines.iter().find(|line| line.span_id == failed.span_id).unwrap();
    assert_eq!((body(line).as_str(), line.severity.as_str()), ("the run ends", "ERROR"));
    let mut told = logged(&said, "the run ends");
    told.retain(|line| line["fields"]["layer"] == "silver" && line["level"] == "ERROR");
    assert_eq!(told.len(), 1, "{}", said.err);
}

#[test]
fn what_was_committed_before_sigterm_is_sent() {
    let (project, collector) = (project(), Collector::start());
    let child = run(&project, &collector.endpoint())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while commits(&project, "gold/views_per_minute") == 0 {
        assert!(began.elapsed() < PATIENCE, "gold has no commit");
        std::thread::sleep(Duration::from_millis(50));
    }
    terminate(&child);
    let said = ended(child);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let taken = collector.taken();
    for (layer, table) in LAYERS.into_iter().zip(["bronze", "silver", "gold/views_per_minute"]) {
        let steps = steps(&taken);
        let of_layer = steps.iter().filter(|span| span.name == format!("{layer} step"));
        assert_eq!(of_layer.count(), commits(&project, table), "{layer}: {}", said.err);
    }
}

/// The last line of a one-shot run to an end that is as without a collector, with how long it took.
fn ends_well(endpoint: &str) -> (String, Duration, Said) {
    let project = project();
    let began = Instant::now();
    let said = once(&project, endpoint);
    assert_eq!(said.code, Some(0), "{}", said.err);
    (said.out.clone(), began.elapsed(), said)
}

#[test]
fn a_collector_that_is_away_or_never_answers_changes_nothing_and_delays_the_end_by_a_bounded_time() {
    let (summary, alone, said) = ends_well("");
    assert!(!said.err.contains("collector"), "{}", said.err);
    // A port that nobody listens on, and one whose connections are taken in by the kernel and by nobody else.
    let refusing = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [refusing, silent.local_addr().unwrap()] {
        let (same, took, said) = ends_well(&format!("http://{address}"));
        assert_eq!(same, summary);
        assert!(
            took < alone + FLUSH_AND_SLACK,
            "{took:?}, without a collector {alone:?}"
        );
        let told = logged(&said, "the collector does not take them; the run goes on without it");
        // Once of spans and once of lines where it is refused; where nobody answers the process ends before that is known.
        let times = if address == refusing { 2 } else { 0 };
        assert_eq!(told.len(), times, "{}", said.err);
    }
}

#[test]
fn an_endpoint_that_is_none_is_refused_before_anything_is_read() {
    let project = project();
    let said = once(&project, "not a url");
    assert_eq!(said.code, Some(2), "{}", said.err);
    assert!(said.err.contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{}", said.err);
    assert_eq!(commits(&project, "bronze"), 0);
}
