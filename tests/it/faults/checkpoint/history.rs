//! Tables that are not where the snapshot left them, and the ways in which they may have moved on.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use medallion::checkpoint::Checkpoints;
use medallion::clock::Clock;
use medallion::error::Kind;
use medallion::run::restore::How;
use medallion::run::silver::SilverLayer;
use medallion::run::{Layer, names, replay, tables};
use medallion::table::Lake;
use medallion::table::maintain::{Policy, maintain};

use super::bed::{Bed, STEP, go_on, in_steps_of, open};
use crate::support::project::{NOW, PIPELINE, Project, block, lake_over, memory_lake};
use crate::support::tamper::Raw;

const NEWEST: i64 = 3 * STEP as i64;
const PREVIOUS: i64 = 2 * STEP as i64;
const SILVER: &str = "layers/view_log/silver.toml";

fn replay_silver(project: &Project, lake: &Lake) {
    block(replay::silver(
        lake,
        project.path(),
        &project.pipeline(),
        replay::Extent::All,
        &|_, _, _| {},
    ))
    .unwrap();
}

#[test]
fn a_snapshot_past_the_table_is_of_a_history_that_is_gone() {
    let bed = Bed::new();
    // Silver as it was before its last two commits: what a power cut may leave.
    for (step, how, from) in [(1, How::Previous, PREVIOUS), (0, How::Tables, 0)] {
        let lake = lake_over(Arc::new(bed.after[step].fork()));
        let continued = go_on(&bed.project, &lake, &bed.copy().checkpoints(), STEP);
        assert_eq!((continued.how, continued.from), (how, from));
        assert_eq!(continued.rows, bed.wanted);
    }
}

#[test]
fn a_table_that_was_set_back_and_came_past_the_snapshot_another_way_does_not_use_it() {
    let bed = Bed::new();
    let lake = lake_over(Arc::new(bed.after[1].fork()));
    let mut layer = open(&bed.project, &lake, &Checkpoints::off(), &bed.project.pipeline());
    // The same seqs in as many commits: position, version and number of rows are those of the other history.
    for _ in 0..2 {
        block(layer.step(&in_steps_of(STEP))).unwrap().unwrap();
    }
    let continued = go_on(&bed.project, &lake, &bed.copy().checkpoints(), STEP);
    assert_eq!((continued.how, continued.from), (How::Previous, PREVIOUS));
    assert_eq!(continued.rows, bed.wanted);
}

#[test]
fn a_position_that_was_set_back_by_hand_is_not_answered_from_what_came_after_it() {
    let bed = Bed::new();
    let set_back = |lake: Lake| {
        Raw::new(&lake, &names::silver_path(PIPELINE)).set_txn(&names::silver_position(PIPELINE), PREVIOUS + 5);
        lake
    };
    let alone = go_on(&bed.project, &set_back(bed.lake()), &Checkpoints::off(), STEP);
    let continued = go_on(&bed.project, &set_back(bed.lake()), &bed.copy().checkpoints(), STEP);
    assert_eq!((continued.how, continued.from), (How::Tables, 0));
    assert_eq!(continued.rows, alone.rows);
}

#[test]
fn rows_that_someone_deleted_stop_silver_with_or_without_a_snapshot() {
    let bed = Bed::new();
    for file in [0, 2, 3] {
        for checkpoints in [Checkpoints::off(), bed.copy().checkpoints()] {
            let lake = bed.lake();
            let raw = Raw::new(&lake, &names::silver_path(PIPELINE));
            raw.remove(&raw.files()[file]);
            let pipeline = bed.project.pipeline();
            let opened = SilverLayer::open(&lake, bed.project.path(), &checkpoints, &pipeline, false);
            let error = block(opened).err().expect("silver opened over deleted rows");
            assert_eq!(error.kind(), Kind::Damaged, "file {file}: {error}");
        }
    }
}

#[test]
fn compaction_leaves_a_snapshot_sound_and_a_cleaned_log_makes_it_one_that_cannot_be_told() {
    let bed = Bed::new();
    let policy = |log_retention| Policy {
        target_bytes: 1 << 20,
        log_retention,
        vacuum_age: Duration::ZERO,
    };
    let week = Duration::from_secs(7 * 86_400);
    for (retention, how, from) in [(week, How::Snapshot, NEWEST), (Duration::ZERO, How::Tables, 0)] {
        let store = Arc::new(bed.after[3].fork());
        // By the machine's clock: the store knows no other when it says how old a log entry is.
        let now = Lake::with_store(bed.lake().url().clone(), store.clone(), Clock::system());
        for spec in tables::all(&bed.project.pipeline()).unwrap() {
            block(maintain(&now, &spec, policy(retention))).unwrap();
        }
        let lake = lake_over(store);
        let continued = go_on(&bed.project, &lake, &bed.copy().checkpoints(), STEP);
        assert_eq!(
            (continued.how, continued.from),
            (how, from),
            "log kept for {retention:?}"
        );
        assert_eq!(continued.rows, bed.wanted);
    }
}

#[test]
fn a_replay_makes_snapshots_foreign_and_the_next_write_removes_them() {
    let bed = Bed::new();
    let (lake, files) = (bed.lake(), bed.copy());
    replay_silver(&bed.project, &lake);
    let mut layer = open(&bed.project, &lake, &files.checkpoints(), &bed.project.pipeline());
    assert_eq!((layer.keeper().how(), layer.keeper().saved()), (How::Tables, 0));
    assert_eq!(files.positions(), [NEWEST, PREVIOUS]);
    block(layer.save_state(true, NOW));
    assert_eq!(files.positions(), [layer.position()], "only the replay's own is left");
    let layer = open(&bed.project, &lake, &files.checkpoints(), &bed.project.pipeline());
    assert_eq!(layer.keeper().how(), How::Snapshot);
}

#[test]
fn a_definition_that_was_adopted_begins_without_the_snapshots_of_the_one_before() {
    let bed = Bed::new();
    let text = bed.project.read(SILVER);
    let rule = "\n[[expect]]\nname = \"odd\"\ncheck = \"banner_id % 2 = 1\"\non_fail = \"reject\"\n";
    bed.project.write(SILVER, &format!("{text}{rule}"));
    let (lake, files) = (bed.lake(), bed.copy());
    let pipeline = bed.project.pipeline();
    let checkpoints = files.checkpoints();
    let adopted = SilverLayer::open(&lake, bed.project.path(), &checkpoints, &pipeline, true);
    let mut layer = block(adopted).unwrap().unwrap();
    assert_eq!(layer.keeper().how(), How::Tables);
    block(layer.step(&in_steps_of(STEP))).unwrap().unwrap();
    block(layer.save_state(true, NOW));
    let alone = go_on(&bed.project, &fork(&lake), &Checkpoints::off(), STEP);
    let continued = go_on(&bed.project, &lake, &checkpoints, STEP);
    assert_eq!(continued.how, How::Snapshot);
    assert_eq!(continued.rows, alone.rows);
}

/// Another store with the same objects under the same URL.
fn fork(lake: &Lake) -> Lake {
    use futures::TryStreamExt;
    use object_store::{ObjectStore, ObjectStoreExt};
    let copy = object_store::memory::InMemory::new();
    block(async {
        let store = lake.store();
        let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
        for object in listed {
            let bytes = store.get(&object.location).await.unwrap().bytes().await.unwrap();
            copy.put(&object.location, bytes.into()).await.unwrap();
        }
    });
    lake_over(Arc::new(copy))
}

#[test]
fn pipelines_that_have_each_others_files_rebuild_from_their_tables() {
    let project = Project::new(1_000, STEP);
    project.events("a.ndjson", 0..80);
    let shipped = ["bronze", "silver", "gold"].map(|layer| {
        let text = project.read(&format!("layers/view_log/{layer}.toml"));
        (format!("layers/second/{layer}.toml"), text)
    });
    for (file, text) in &shipped {
        project.write(file, text);
    }
    let (lake, _) = memory_lake();
    let root = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::at(root.path().to_owned()).every(1);
    let second = medallion::definition::load_one(project.path(), "second", &|_| None).unwrap();
    let pipelines = [project.pipeline(), second];
    for pipeline in &pipelines {
        let options = medallion::run::Options {
            layer: Some(Layer::Bronze),
            once: true,
            close_windows: false,
            adopt: false,
        };
        medallion::run::run(&project.components(&lake), std::slice::from_ref(pipeline), &options).unwrap();
        let mut layer = open(&project, &lake, &checkpoints, pipeline);
        block(layer.step(&in_steps_of(STEP))).unwrap().unwrap();
        block(layer.save_state(true, NOW));
        let layer = open(&project, &lake, &checkpoints, pipeline);
        assert_eq!(layer.keeper().how(), How::Snapshot);
    }
    let folder = |name: &str| root.path().join(name);
    fs::rename(folder("second"), folder("aside")).unwrap();
    fs::rename(folder(PIPELINE), folder("second")).unwrap();
    fs::rename(folder("aside"), folder(PIPELINE)).unwrap();
    for pipeline in &pipelines {
        let layer = open(&project, &lake, &checkpoints, pipeline);
        assert_eq!(layer.keeper().how(), How::Tables, "{}", pipeline.name);
    }
}

#[test]
fn a_lake_does_not_use_the_files_of_another_lake() {
    let bed = Bed::new();
    let files = bed.copy();
    // The same project and input in a lake of its own, as far.
    let (other, _) = memory_lake();
    bed.project.run_layer(&other, Some(Layer::Bronze)).unwrap();
    let mut layer = open(&bed.project, &other, &Checkpoints::off(), &bed.project.pipeline());
    for _ in 0..4 {
        block(layer.step(&in_steps_of(STEP))).unwrap().unwrap();
    }
    let continued = go_on(&bed.project, &other, &files.checkpoints(), STEP);
    assert_eq!((continued.how, continued.from), (How::Tables, 0));
    assert_eq!(continued.rows, bed.wanted);
}
