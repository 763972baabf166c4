//! Compaction, log cleanup and vacuum under readers and writers.

use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use medallion::clock::Clock;
use medallion::error::Kind;
use medallion::layer::bronze;
use medallion::run::{Options, names, run, tables};
use medallion::table::maintain::{Policy, Report, last, maintain};
use medallion::table::{Followed, Lake, Reader, TableSpec};

use crate::support::command::done;
use crate::support::project::{PIPELINE, Project, block, memory_lake};
use crate::support::rows::{assert_same, rows};

const EVERYTHING: Policy = Policy {
    target_bytes: 16 << 20,
    log_retention: Duration::ZERO,
    vacuum_age: Duration::ZERO,
};

fn tidy(project: &Project, lake: &Lake) -> Vec<Report> {
    let specs = tables::all(&project.pipeline()).unwrap();
    specs
        .iter()
        .filter_map(|spec| block(maintain(lake, spec, EVERYTHING)).unwrap())
        .collect()
}

#[test]
fn compaction_makes_few_files_of_many_and_keeps_every_row() {
    let project = Project::new(20, 25);
    project.events("a.ndjson", 0..300);
    let (lake, _) = memory_lake();
    project.run(&lake).unwrap();
    let before = rows(&lake);
    let reports = tidy(&project, &lake);
    let bronze = &reports[0];
    assert!(bronze.files_before > 10 && bronze.files_after == 1, "{bronze:?}");
    assert_same(&rows(&lake), &before, "after maintenance");
    project.assert_sound(&lake);
    // Layers go on over the compacted tables, and a second round finds little to do.
    project.events("a.ndjson", 300..400);
    project.run(&lake).unwrap();
    project.assert_sound(&lake);
    tidy(&project, &lake);
    project.assert_sound(&lake);
    project.run(&lake).unwrap();
    project.assert_sound(&lake);
}

#[test]
fn a_reader_in_the_middle_goes_on_over_compaction_and_log_cleanup() {
    let project = Project::new(20, 25);
    project.events("a.ndjson", 0..200);
    let (lake, _) = memory_lake();
    project.run(&lake).unwrap();
    let open = || {
        block(Reader::open(
            &lake,
            &names::bronze_path(PIPELINE),
            bronze::schema(),
            "seq",
        ))
    };
    let mut reader = open().unwrap().unwrap();
    let columns = ["topic", "value"].map(str::to_owned);
    let head = reader.txn(&names::bronze_seq(PIPELINE)).unwrap();
    let first = block(reader.read(0, head / 2, &columns)).unwrap();
    reader.forget_below(head / 2);
    assert_eq!(first.num_rows() as i64, head / 2);

    project.events("a.ndjson", 200..300);
    project.run(&lake).unwrap();
    let bronze_log = tidy(&project, &lake);
    assert!(bronze_log[0].files_after < bronze_log[0].files_before, "{bronze_log:?}");
    assert_ne!(block(reader.follow()).unwrap(), Followed::Rewritten);
    let end = reader.txn(&names::bronze_seq(PIPELINE)).unwrap();
    assert!(end > head);
    let rest = block(reader.read(head / 2, end, &columns)).unwrap();
    let seqs: Vec<i64> = rest
        .column_by_name("seq")
        .unwrap()
        .as_primitive::<Int64Type>()
        .values()
        .to_vec();
    assert_eq!(seqs, (head / 2..end).collect::<Vec<_>>());
    assert_eq!(
        rest,
        block(open().unwrap().unwrap().read(head / 2, end, &columns)).unwrap()
    );
}

#[test]
fn two_compactions_at_once_double_no_row() {
    let project = Project::new(10, 15);
    project.events("a.ndjson", 0..200);
    let (lake, _) = memory_lake();
    project.run(&lake).unwrap();
    let before = rows(&lake);
    let specs = tables::all(&project.pipeline()).unwrap();
    for spec in &specs {
        std::thread::scope(|scope| {
            let one = || block(maintain(&lake, spec, EVERYTHING));
            let running = [scope.spawn(one), scope.spawn(one), scope.spawn(one)];
            for thread in running {
                if let Err(error) = thread.join().unwrap() {
                    assert!(
                        matches!(error.kind(), Kind::Fenced | Kind::Damaged | Kind::Unavailable),
                        "{error}"
                    );
                }
            }
        });
    }
    assert_same(&rows(&lake), &before, "after compactions at once");
    project.assert_sound(&lake);
}

#[test]
fn writers_go_on_while_their_tables_are_compacted() {
    let project = Project::new(10, 15);
    project.events("a.ndjson", 0..300);
    let (wanted, _) = memory_lake();
    project.run(&wanted).unwrap();
    let (lake, _) = memory_lake();
    std::thread::scope(|scope| {
        // A log checkpoint past the version that a writer stands on is no obstacle to it.
        let running = scope.spawn(|| project.run(&lake));
        while !running.is_finished() {
            for spec in tables::all(&project.pipeline()).unwrap() {
                // Log entries are kept, as with any sensible policy: a writer stands on the newest.
                let policy = Policy {
                    log_retention: Duration::from_secs(3600),
                    ..EVERYTHING
                };
                if let Err(error) = block(maintain(&lake, &spec, policy)) {
                    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
                }
            }
        }
        running.join().unwrap().unwrap();
    });
    assert_same(&rows(&lake), &rows(&wanted), "compacted while written");
    project.assert_sound(&lake);
}

#[test]
fn maintain_reports_each_table_and_leaves_the_audit_content() {
    let project = Project::new(20, 25);
    project.events("a.ndjson", 0..100);
    done(project.path(), &["run", "-p", PIPELINE, "--once", "--close-windows"]);
    let before = rows(&project.lake());
    let said = done(project.path(), &["maintain", "-p", PIPELINE, "--output", "json"]);
    let reports: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(reports.as_array().unwrap().len(), 6, "{reports}");
    done(project.path(), &["audit", "-p", PIPELINE]);
    assert_same(&rows(&project.lake()), &before, "after `maintain`");
}

#[test]
fn a_run_maintains_its_tables_when_their_logs_say_that_it_is_time() {
    let project = Project::new(20, 25);
    project.events("a.ndjson", 0..300);
    let path = project.lake_path();
    let lake = block(Lake::open(path.to_str().unwrap(), Clock::system())).unwrap();
    let mut components = project.components(&lake);
    components.maintenance.every = Some(Duration::from_secs(1));
    let specs = tables::all(&project.pipeline()).unwrap();
    let maintained = || {
        let checkpoint = |spec: &TableSpec| path.join(&spec.path).join("_delta_log/_last_checkpoint");
        specs.iter().filter(|spec| checkpoint(spec).exists()).count()
    };
    let stop = components.stop.clone();
    let options = Options {
        layer: None,
        once: false,
        close_windows: false,
        adopt: false,
    };
    std::thread::scope(|scope| {
        let running = scope.spawn(|| run(&components, &[project.pipeline()], &options));
        let begun = Instant::now();
        while maintained() < specs.len() && begun.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(100));
        }
        stop.ask();
        running.join().unwrap().unwrap();
    });
    assert_eq!(maintained(), specs.len());
    project.run(&lake).unwrap();
    project.assert_sound(&lake);
    for spec in &specs {
        let last = block(last(&lake, &spec.path)).unwrap().unwrap();
        let age = lake.clock().now() - last;
        assert!((-1_000_000..3_600_000_000).contains(&age), "{}: {age}", spec.path);
    }
    assert_eq!(block(last(&lake, "nowhere")).unwrap(), None);
}
