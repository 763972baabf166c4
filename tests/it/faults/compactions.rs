//! Two compactions at once: what deltalake's own do to each other, and what `maintain` and they cannot do together.

use std::sync::Arc;
use std::time::Duration;

use deltalake::DeltaTable;
use futures::FutureExt;
use medallion::clock::Clock;
use medallion::error::Kind;
use medallion::run::{names, tables};
use medallion::table::maintain::{Policy, maintain};
use medallion::table::{Lake, Reader, TableSpec};
use object_store::local::LocalFileSystem;

use crate::support::interposed::{Interlude, Interposed};
use crate::support::project::{PIPELINE, Project, block};
use crate::support::rows::{GOLD, assert_same, rows};

/// Small files become one; nothing is deleted.
const COMPACTION: Policy = Policy {
    target_bytes: 16 << 20,
    log_retention: Duration::from_secs(7 * 86_400),
    vacuum_age: Duration::from_secs(7 * 86_400),
};

/// A lake on disk whose tables have many small files.
fn fragmented() -> Project {
    let project = Project::new(20, 25);
    project.events("a.ndjson", 0..300);
    project.run(&project.lake()).unwrap();
    project
}

fn bronze(project: &Project) -> TableSpec {
    tables::all(&project.pipeline()).unwrap().remove(0)
}

/// The table as deltalake has it now.
fn delta(project: &Project, table: &str) -> DeltaTable {
    let url = url::Url::from_directory_path(project.lake_path().join(table)).unwrap();
    block(deltalake::open_table(url)).unwrap()
}

/// deltalake's own compaction, planned on `table` as it was when it was opened. Returns the files it removed.
async fn optimize(table: DeltaTable) -> Result<u64, deltalake::DeltaTableError> {
    table.optimize().await.map(|(_, metrics)| metrics.num_files_removed)
}

/// The project's lake, in which `interlude` happens just before its first commit.
fn interposed(project: &Project, interlude: Interlude) -> (Lake, Arc<Interposed>) {
    let store = Interposed::new(Arc::new(LocalFileSystem::new()), interlude);
    let url = url::Url::from_directory_path(project.lake_path()).unwrap();
    (Lake::with_store(url, store.clone(), Clock::system()), store)
}

/// Documents a defect of deltalake 1.1 (and of its Python package 1.6): the second of two compactions that began at the
/// same version commits, and every row of the files that both took is there twice. When this fails, deltalake has mended
/// it, and what `maintain` does against it can go.
#[test]
fn two_compactions_of_deltalake_begun_at_one_version_double_every_row() {
    let project = fragmented();
    let lake = project.lake();
    let silver_path = names::silver_path(PIPELINE);
    let schema = tables::all(&project.pipeline()).unwrap()[1].schema.clone();
    let mut follower = block(Reader::open_trusted(&lake, &silver_path, schema, "_seq", None))
        .unwrap()
        .unwrap();
    let before = rows(&lake);
    let begun = delta(&project, &silver_path);
    let first = block(optimize(begun.clone())).unwrap();
    let second = block(optimize(begun)).unwrap();
    assert!(
        first > 5 && second == first,
        "both took the same {first} files, {second}"
    );
    let lines = |text: &str| text.lines().count() - 1;
    assert_eq!(
        lines(&rows(&lake)["silver"]),
        2 * lines(&before["silver"]),
        "every row twice"
    );

    // It is not gone on from: not by who was following, not by who opens it, and the audit finds it.
    let refused = block(follower.follow()).unwrap_err();
    assert_eq!(refused.kind(), Kind::Damaged);
    assert!(refused.to_string().contains("its rows are there twice"), "{refused}");
    project.events("a.ndjson", 300..400);
    let refused = project.run(&lake).unwrap_err();
    assert_eq!(refused.kind(), Kind::Damaged);
    assert!(refused.to_string().contains("two compactions at once"), "{refused}");
    let found = project.audit(&lake).findings;
    assert!(found.iter().any(|finding| finding.table == silver_path), "{found:?}");
    for spec in &tables::all(&project.pipeline()).unwrap()[1..2] {
        let refused = block(maintain(&lake, spec, COMPACTION)).unwrap_err();
        assert_eq!(refused.kind(), Kind::Damaged, "{refused}");
    }
}

#[test]
fn a_compaction_of_deltalake_that_began_before_maintain_cannot_commit_after_it() {
    let project = fragmented();
    let lake = project.lake();
    let before = rows(&lake);
    // The tables with several small files in a partition.
    for spec in tables::all(&project.pipeline()).unwrap().into_iter().take(3) {
        let begun = delta(&project, &spec.path);
        let report = block(maintain(&lake, &spec, COMPACTION)).unwrap().unwrap();
        assert!(report.files_after < report.files_before, "{report:?}");
        let refused = block(optimize(begun)).unwrap_err().to_string();
        assert!(refused.to_lowercase().contains("metadata"), "{}: {refused}", spec.path);
    }
    assert_same(&rows(&lake), &before, "after maintain beside deltalake's compaction");
    project.assert_sound(&lake);
    project.events("a.ndjson", 300..400);
    project.run(&lake).unwrap();
    project.assert_sound(&lake);
}

#[test]
fn maintain_gives_way_to_a_compaction_of_deltalake_that_commits_first() {
    let project = fragmented();
    let before = rows(&project.lake());
    let begun = delta(&project, &names::bronze_path(PIPELINE));
    let interlude = async move { assert!(optimize(begun).await.unwrap() > 5) }.boxed();
    let (lake, store) = interposed(&project, interlude);
    let gave_way = block(maintain(&lake, &bronze(&project), COMPACTION)).unwrap_err();
    assert!(store.happened());
    assert_eq!(gave_way.kind(), Kind::Unavailable);
    let said = gave_way.to_string();
    assert!(said.contains("gave way") && said.contains("delta-rs"), "{said}");
    assert_same(&rows(&project.lake()), &before, "after maintain gave way");
    project.assert_sound(&project.lake());
    block(maintain(&project.lake(), &bronze(&project), COMPACTION)).unwrap();
    assert_same(&rows(&project.lake()), &before, "after maintain went again");
}

#[test]
fn of_two_maintain_at_one_version_the_second_is_fenced() {
    let project = fragmented();
    let before = rows(&project.lake());
    let (other, spec) = (project.lake(), bronze(&project));
    let theirs = spec.clone();
    let interlude = async move {
        let report = maintain(&other, &theirs, COMPACTION).await.unwrap().unwrap();
        assert!(report.files_after < report.files_before, "{report:?}");
    };
    let (lake, store) = interposed(&project, interlude.boxed());
    let fenced = block(maintain(&lake, &spec, COMPACTION)).unwrap_err();
    assert!(store.happened());
    assert_eq!(fenced.kind(), Kind::Fenced, "{fenced}");
    assert_same(&rows(&project.lake()), &before, "after two maintain at once");
    project.assert_sound(&project.lake());
}

#[test]
fn a_writer_goes_on_over_a_compaction_of_deltalake_that_won_its_version() {
    let project = fragmented();
    let gold = delta(&project, &names::gold_path(PIPELINE, GOLD));
    let bronze = delta(&project, &names::bronze_path(PIPELINE));
    let interlude = async move {
        assert!(optimize(bronze).await.unwrap() > 5);
        optimize(gold).await.unwrap();
    };
    let (lake, store) = interposed(&project, interlude.boxed());
    project.events("a.ndjson", 300..400);
    project.run(&lake).unwrap();
    assert!(store.happened());
    project.assert_sound(&project.lake());
}
