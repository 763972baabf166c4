//! One writer per table: the second loses, whatever it believes.

use medallion::definition::Pipeline;
use medallion::error::Kind;
use medallion::run::{Layer, Options, names, run, tables};
use medallion::table::{Append, Lake, Table};
use serde_json::json;

use crate::support::command::{call, ended, start};
use crate::support::project::{PIPELINE, Project, block, memory_lake};
use crate::support::rows::{assert_same, rows};

fn open(lake: &Lake) -> Table {
    block(Table::open_or_create(lake, tables::bronze(PIPELINE))).unwrap()
}

fn append(table: &mut Table, seq: i64) -> medallion::error::Result<u64> {
    block(table.append(Append {
        rows: None,
        txns: vec![(names::bronze_seq(PIPELINE), seq)],
        info: json!({"position": seq}),
    }))
}

#[test]
fn of_two_writers_the_second_is_fenced_and_told_who_holds_the_table() {
    let (lake, _) = memory_lake();
    let (mut first, mut second) = (open(&lake), open(&lake));
    append(&mut first, 1).unwrap();
    let fenced = append(&mut second, 1).unwrap_err();
    assert_eq!(fenced.kind(), Kind::Fenced);
    let said = fenced.to_string();
    assert!(
        said.contains("view_log/bronze") && said.contains(&format!("pid {}", std::process::id())),
        "{said}"
    );
    append(&mut first, 2).unwrap();
    // It stays fenced, and after opening again it stands where the winner stands.
    assert_eq!(append(&mut second, 1).unwrap_err().kind(), Kind::Fenced);
    assert_eq!(open(&lake).txn(&names::bronze_seq(PIPELINE)), Some(2));
}

#[test]
fn two_runs_on_one_store_leave_each_row_once() {
    let project = Project::new(20, 30);
    project.events("a.ndjson", 0..300);
    let (wanted, _) = memory_lake();
    project.run(&wanted).unwrap();
    let (lake, _) = memory_lake();
    let pipelines: [Pipeline; 1] = [project.pipeline()];
    let options = Options {
        layer: Some(Layer::Bronze),
        once: true,
        close_windows: false,
        adopt: false,
    };
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let one = || run(&project.components(&lake), &pipelines, &options);
        let running = [scope.spawn(one), scope.spawn(one), scope.spawn(one)];
        running.map(|thread| thread.join().unwrap()).into()
    });
    for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert_eq!(error.kind(), Kind::Fenced, "{error}");
    }
    project.run(&lake).unwrap();
    project.assert_sound(&lake);
    assert_same(&rows(&lake), &rows(&wanted), "after three runs at once");
}

#[test]
fn a_second_process_on_this_host_is_told_which_one_to_stop() {
    let project = Project::new(60, 70);
    project.events("a.ndjson", 0..50);
    let mut first = start(project.path(), &["run", "bronze", "-p", PIPELINE]);
    let lock = project.lake_path().join("_locks/view_log.bronze.lock");
    let begun = std::time::Instant::now();
    let holder = format!("pid {}", first.id());
    while !std::fs::read_to_string(&lock).unwrap_or_default().contains(&holder) {
        assert!(begun.elapsed().as_secs() < 60, "the first run never took its lock");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let second = call(project.path(), &["run", "-p", PIPELINE, "--once"]);
    first.kill().unwrap();
    ended(first);
    assert_eq!(second.code, Some(1), "{}", second.err);
    assert!(
        second.err.contains("layer bronze of view_log") && second.err.contains(&holder),
        "{}",
        second.err
    );
    // The lock goes with its process, however that ended.
    let third = call(project.path(), &["run", "-p", PIPELINE, "--once"]);
    assert_eq!(third.code, Some(0), "{}", third.err);
}
