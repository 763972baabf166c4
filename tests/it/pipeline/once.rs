//! One-shot runs: everything that is there, then the end.

use crate::support::project::{Project, memory_lake};
use crate::support::rows::{assert_same, rows, select};

#[test]
fn a_one_shot_run_closes_every_window_and_the_audit_finds_nothing() {
    let project = Project::new(60, 70);
    project.events("a.ndjson", 0..600);
    let (lake, _) = memory_lake();
    let summaries = project.run(&lake).unwrap();
    project.assert_sound(&lake);

    let layers = &summaries[0].layers;
    let positions: Vec<i64> = layers.iter().map(|layer| layer.position).collect();
    assert_eq!(positions, [positions[0]; 3], "every layer is at bronze's end");
    let report = project.audit(&lake);
    let expected = std::fs::read(project.path().join("input/a.ndjson")).unwrap();
    let expected = expected.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(report.records, expected as i64);
    assert!(report.gold > 10 && report.late > 0 && report.rejects > 30, "{report:?}");
    // Closed windows and late rows are all of silver.
    let counted = select(
        &lake,
        "select (select sum(total_count) from gold) + (select count(*) from late) = (select count(*) from silver) as whole",
    );
    assert!(counted.contains("true"), "{counted}");
}

#[test]
fn a_second_run_over_the_same_input_adds_no_row() {
    let project = Project::new(60, 70);
    project.events("a.ndjson", 0..300);
    let (lake, _) = memory_lake();
    project.run(&lake).unwrap();
    let before = rows(&lake);
    for _ in 0..2 {
        project.run(&lake).unwrap();
        project.assert_sound(&lake);
        assert_same(&rows(&lake), &before, "after another run");
    }
}

#[test]
fn input_that_came_in_pieces_gives_the_tables_of_input_that_came_at_once() {
    use medallion::run::{Options, run};
    let whole = Project::new(60, 70);
    whole.events("a.ndjson", 0..500);
    let (wanted, _) = memory_lake();
    whole.run(&wanted).unwrap();

    let pieces = Project::new(37, 1000);
    let (lake, _) = memory_lake();
    for piece in [0..1, 1..200, 200..203, 203..450] {
        pieces.events("a.ndjson", piece);
        let options = Options {
            layer: None,
            once: true,
            close_windows: false,
            adopt: false,
        };
        run(&pieces.components(&lake), &[pieces.pipeline()], &options).unwrap();
        pieces.assert_sound(&lake);
    }
    pieces.events("a.ndjson", 450..500);
    pieces.run(&lake).unwrap();
    pieces.assert_sound(&lake);
    assert_same(&rows(&lake), &rows(&wanted), "in pieces");
}

#[test]
fn what_comes_after_the_end_was_declared_is_late_and_not_lost() {
    let project = Project::new(60, 70);
    project.events("a.ndjson", 0..100);
    let (lake, _) = memory_lake();
    project.run(&lake).unwrap();
    let gold = rows(&lake)["gold"].clone();
    project.events("b.ndjson", 100..200);
    project.run(&lake).unwrap();
    project.assert_sound(&lake);
    assert_eq!(rows(&lake)["gold"], gold, "closed windows never change");
    assert!(project.audit(&lake).late > 60, "{:?}", project.audit(&lake));
}
