//! Upstream that was set back and has gone on with other rows under the same seqs is noticed, whoever looks first.

use std::path::Path;
use std::time::Duration;

use medallion::error::Kind;
use medallion::run::{Layer, replay, tables};
use medallion::table::maintain::{Policy, maintain};

use crate::support::project::{PIPELINE, Project, block};

/// Takes the newest `commits` commits off a table, as a power cut does where nothing was synced.
fn set_back(table: &Path, commits: usize) {
    let log = table.join("_delta_log");
    let mut entries: Vec<_> = std::fs::read_dir(&log)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    entries.sort();
    assert!(
        entries.len() > commits,
        "{} has {} commits",
        table.display(),
        entries.len()
    );
    for entry in entries.iter().rev().take(commits) {
        std::fs::remove_file(entry).unwrap();
    }
}

fn project() -> Project {
    let project = Project::new(25, 30);
    project.events("a.ndjson", 0..100);
    project.events("b.ndjson", 100..200);
    project.run_in_turn(&project.lake()).unwrap();
    project
}

#[test]
fn silver_notices_a_bronze_that_lost_commits_and_took_in_other_rows() {
    let project = project();
    let lake = project.lake_path().join(PIPELINE);
    set_back(&lake.join("bronze"), 3);
    // Taken in anew at another instant, with more behind it: the seqs reach past silver's position again.
    project.events("c.ndjson", 200..400);
    let later = project.lake();
    later.clock().set(later.clock().now() + 1_000_000);
    project.run_layer(&later, Some(Layer::Bronze)).unwrap();
    let error = project.run_layer(&later, Some(Layer::Silver)).unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged, "{error}");
    assert!(error.to_string().contains("is not there any more"), "{error}");
    assert!(error.next().is_some_and(|next| next.contains("replay")), "{error}");
}

#[test]
fn gold_notices_a_silver_that_was_made_again_from_other_rows() {
    let project = project();
    let lake = project.lake_path().join(PIPELINE);
    for (table, commits) in [("bronze", 2), ("silver", 3), ("rejects", 3)] {
        set_back(&lake.join(table), commits);
    }
    project.events("c.ndjson", 200..400);
    let later = project.lake();
    // The tick of this start comes where an event was: from there on every seq is another row.
    for layer in [Layer::Bronze, Layer::Silver] {
        project.run_layer(&later, Some(layer)).unwrap();
    }
    let error = project.run_layer(&later, Some(Layer::Gold)).unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged, "{error}");
    assert!(error.to_string().contains("is not there any more"), "{error}");
    block(replay::gold(
        &later,
        &project.pipeline(),
        replay::Extent::All,
        &|_, _, _| {},
    ))
    .unwrap();
    project.run(&later).unwrap();
    project.assert_sound(&later);
}

#[test]
fn an_upstream_that_was_only_moved_about_is_the_same() {
    let project = project();
    let lake = project.lake();
    let policy = Policy {
        target_bytes: 1 << 20,
        log_retention: Duration::ZERO,
        vacuum_age: Duration::ZERO,
    };
    for round in 0..2 {
        for spec in tables::all(&project.pipeline()).unwrap() {
            block(maintain(&lake, &spec, policy)).unwrap();
        }
        project.events("c.ndjson", 200 + round * 60..260 + round * 60);
        project.run(&lake).unwrap();
        block(replay::silver(
            &lake,
            project.path(),
            &project.pipeline(),
            replay::Extent::All,
            &|_, _, _| {},
        ))
        .unwrap();
    }
    project.run(&lake).unwrap();
    project.assert_sound(&lake);
}
