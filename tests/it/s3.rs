//! A lake on an object store: the same pipeline, the same proofs, and no lock but the conditional put.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use medallion::audit;
use medallion::clock::Clock;
use medallion::definition::{Pipeline, Secret};
use medallion::error::Kind;
use medallion::run::wake::Stop;
use medallion::run::{self, Components, Layer, Options, Summary, names, replay, tables};
use medallion::table::maintain::{Policy, maintain};
use medallion::table::{Lake, Reader};
use tokio::runtime::Runtime;

use crate::support::s3::{ConditionalPut, SECRET_KEY, Server};
use crate::support::view_log::Project;

const PATIENCE: Duration = Duration::from_secs(60);

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// One process' worth of medallion on a lake.
struct Process<'a> {
    runtime: &'a Runtime,
    project: &'a Project,
    lake: Lake,
    stop: Stop,
}

impl<'a> Process<'a> {
    fn start(runtime: &'a Runtime, project: &'a Project, server: &Server) -> Self {
        Self {
            runtime,
            project,
            lake: runtime.block_on(server.lake("some/prefix")).unwrap(),
            stop: Stop::default(),
        }
    }

    fn run(&self, pipeline: &Pipeline, options: &Options) -> medallion::error::Result<Vec<Summary>> {
        let project = self.project.path().to_owned();
        let runtime = self.runtime.handle().clone();
        let components = Components::new(self.lake.clone(), project, runtime, self.stop.clone());
        run::run(&components, std::slice::from_ref(pipeline), options)
    }

    fn audited(&self, pipeline: &Pipeline) -> audit::Report {
        let audit = audit::audit(&self.lake, self.project.path(), pipeline, &|_, _, _| {});
        let report = self.runtime.block_on(audit).unwrap();
        assert_eq!(report.findings, []);
        report
    }

    /// The next seq of bronze; 0 where there is no table yet.
    fn head(&self) -> i64 {
        let bronze = tables::bronze("view_log");
        let open = Reader::open(&self.lake, &bronze.path, bronze.schema, "seq");
        let reader = self.runtime.block_on(open).unwrap();
        reader
            .and_then(|reader| reader.txn(&names::bronze_seq("view_log")))
            .unwrap_or(0)
    }
}

fn once(close_windows: bool) -> Options {
    Options {
        layer: None,
        once: true,
        close_windows,
        adopt: false,
    }
}

#[test]
fn a_pipeline_on_s3_runs_goes_on_replays_and_is_maintained_without_a_row_changing() {
    let (runtime, project) = (runtime(), Project::new());
    let server = Server::start(ConditionalPut::Kept);
    let pipeline = project.pipeline();

    let first = project.add_events("a", 0..2_000);
    let process = Process::start(&runtime, &project, &server);
    process.run(&pipeline, &once(false)).unwrap();
    let half = process.audited(&pipeline);
    assert_eq!(half.records, first as i64);
    assert!(half.gold > 0, "the windows before the last one are closed");

    let second = project.add_events("b", 2_000..4_000);
    let process = Process::start(&runtime, &project, &server);
    process.run(&pipeline, &once(true)).unwrap();
    let whole = process.audited(&pipeline);
    assert_eq!(whole.records, (first + second) as i64);
    assert!(whole.gold > half.gold && whole.rejects > half.rejects);

    let work = replay::silver(
        &process.lake,
        project.path(),
        &pipeline,
        replay::Extent::All,
        &|_, _, _| {},
    );
    let replayed = runtime.block_on(work).unwrap();
    assert!(
        replayed.iter().any(|done| done.rows == whole.silver as u64),
        "{replayed:?}"
    );
    same_counts(&process.audited(&pipeline), &whole);

    let policy = Policy {
        target_bytes: 128 << 20,
        log_retention: Duration::ZERO,
        vacuum_age: Duration::from_secs(3600),
    };
    for spec in tables::all(&pipeline).unwrap() {
        let report = runtime
            .block_on(maintain(&process.lake, &spec, policy))
            .unwrap()
            .unwrap();
        assert!(report.files_after <= report.files_before, "{report:?}");
    }
    let process = Process::start(&runtime, &project, &server);
    same_counts(&process.audited(&pipeline), &whole);
    process.run(&pipeline, &once(false)).unwrap();
    let after = process.audited(&pipeline);
    assert_eq!(
        (after.records, after.silver, after.gold),
        (whole.records, whole.silver, whole.gold)
    );
}

fn same_counts(found: &audit::Report, expected: &audit::Report) {
    let counts = |it: &audit::Report| [it.records, it.ticks, it.silver, it.rejects, it.gold, it.late];
    assert_eq!(counts(found), counts(expected));
}

#[test]
fn of_two_writers_on_one_s3_lake_the_one_that_was_overtaken_is_fenced_and_no_row_is_doubled() {
    let (runtime, project) = (runtime(), Project::new());
    let server = Server::start(ConditionalPut::Kept);
    let pipeline = project.pipeline();
    let bronze = |once| Options {
        layer: Some(Layer::Bronze),
        once,
        close_windows: false,
        adopt: false,
    };
    let first = project.add_events("a", 0..300);
    let (one, other) = (
        Process::start(&runtime, &project, &server),
        Process::start(&runtime, &project, &server),
    );
    let lost = thread::scope(|scope| {
        // Whatever fails here, the writer that runs on must end.
        let _ending = Ending(&one.stop);
        let running = scope.spawn(|| one.run(&pipeline, &bronze(false)));
        let began = Instant::now();
        while other.head() < first as i64 {
            assert!(
                began.elapsed() < PATIENCE && !running.is_finished(),
                "nothing is committed"
            );
            thread::sleep(Duration::from_millis(50));
        }
        // A run begins with a tick, so this one commits whether there are new records or not.
        let before = other.head();
        other.run(&pipeline, &bronze(true)).unwrap();
        assert!(other.head() > before);
        project.add_events("a", 0..600);
        while !running.is_finished() {
            assert!(began.elapsed() < 2 * PATIENCE, "the overtaken writer goes on");
            thread::sleep(Duration::from_millis(50));
        }
        running.join().unwrap().unwrap_err()
    });
    assert_eq!(lost.kind(), Kind::Fenced, "{lost}");
    assert!(
        lost.to_string().contains(&format!("pid {}", std::process::id())),
        "{lost}"
    );

    let third = Process::start(&runtime, &project, &server);
    third.run(&pipeline, &once(true)).unwrap();
    let lines = project.add_events("a", 0..600);
    assert_eq!(third.audited(&pipeline).records, lines as i64);
}

/// Asks a run to end when a test is done with it, or has failed.
struct Ending<'a>(&'a Stop);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.ask();
    }
}

#[test]
fn a_store_that_ignores_if_none_match_is_refused_at_the_start() {
    let server = Server::start(ConditionalPut::Ignored);
    let error = runtime().block_on(server.lake("some/prefix")).err().unwrap();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("ignores If-None-Match"), "{error}");
    assert!(error.next().unwrap().contains("conditional put"), "{error}");
}

#[test]
fn a_refused_secret_is_named_in_no_error() {
    let server = Server::start(ConditionalPut::Kept);
    let mut options = server.options();
    let wrong = "a-wrong-secret-key";
    options.insert("aws_secret_access_key".to_owned(), Secret(wrong.to_owned()));
    let open = Lake::open_with("s3://bucket/lake", &options, Clock::system());
    let error = runtime().block_on(open).err().unwrap();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(!format!("{error} {error:?}").contains(wrong), "{error}");
}

#[test]
fn an_unknown_option_of_the_store_is_a_problem_of_the_settings() {
    let options = [("aws_regoin".to_owned(), Secret("eu-central-1".to_owned()))].into();
    let open = Lake::open_with("s3://bucket/lake", &options, Clock::system());
    let error = runtime().block_on(open).err().unwrap();
    assert_eq!(error.kind(), Kind::Definition);
    assert!(error.to_string().contains("\"aws_regoin\""), "{error}");
}

#[test]
fn the_program_takes_the_store_from_its_settings_and_shows_the_secret_nowhere() {
    let project = Project::new();
    let server = Server::start(ConditionalPut::Kept);
    let variable = "LAKE_SECRET";
    project.write("medallion.toml", server.settings(variable).as_bytes());
    project.add_events("a", 0..200);
    let medallion = |command: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_medallion"));
        // What this machine says of its own S3 is not meant for this server.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AWS_") {
                program.env_remove(name);
            }
        }
        let done = program
            .args(["--project".as_ref(), project.path().as_os_str()])
            .args(["--lake", "s3://bucket/program", "--metrics", "off", "--log", "debug"])
            .args(command)
            .env(variable, SECRET_KEY)
            .output()
            .unwrap();
        let told = [done.stdout, done.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert!(done.status.success(), "{told:?}");
        assert!(told.iter().all(|text| !text.contains(SECRET_KEY)), "{told:?}");
        told
    };
    let [_, log] = medallion(&["run", "--once", "--close-windows"]);
    assert!(log.contains("DEBUG"), "a log at this level would show it: {log}");
    let [report, _] = medallion(&["audit"]);
    assert!(report.starts_with("audit: ok"), "{report}");
}
