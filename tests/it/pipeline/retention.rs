//! Letting go of old rows: what stays is what it would have been, and nobody misses what went.

use std::fs;
use std::time::Duration;

use medallion::checkpoint::Checkpoints;
use medallion::clock::Clock;
use medallion::definition::{Pipeline, gold_schema, silver_schema};
use medallion::error::Kind;
use medallion::layer::{bronze, silver};
use medallion::run::replay::{self, Extent};
use medallion::run::restore::How;
use medallion::run::silver::SilverLayer;
use medallion::run::{Layer, Options, names, run};
use medallion::table::maintain::{Policy, maintain};
use medallion::table::{Lake, Reader};

use crate::support::project::{NOW, PIPELINE, Project, block};
use crate::support::rows::{GOLD, select};

const DAY: i64 = 24 * 3_600_000_000;
const STEPS: u64 = 8;
/// Two events a second: a step is a minute of event time, and a day of the wall clock.
const STEP_EVENTS: u64 = 120;

const EVERYTHING: Policy = Policy {
    target_bytes: 16 << 20,
    log_retention: Duration::ZERO,
    vacuum_age: Duration::ZERO,
};

fn project(keep: bool) -> Project {
    let project = Project::new(40, 50);
    let silver = project.read("layers/view_log/silver.toml");
    project.write(
        "layers/view_log/silver.toml",
        &silver.replace("within = \"forever\"", "within = \"1m\""),
    );
    if keep {
        for (layer, keep) in [("bronze", "36h"), ("silver", "1m")] {
            let file = format!("layers/view_log/{layer}.toml");
            project.write(&file, &format!("keep = \"{keep}\"\n{}", project.read(&file)));
        }
        let gold = project.read("layers/view_log/gold.toml");
        let gold = gold.replace("watermark = \"10s\"", "watermark = \"10s\"\nkeep = \"1m\"");
        project.write("layers/view_log/gold.toml", &gold);
    }
    project
}

/// The project's lake on the day of `step`.
fn lake(project: &Project, step: u64) -> Lake {
    let path = project.lake_path();
    let clock = Clock::fixed(NOW + step as i64 * DAY);
    block(Lake::open(path.to_str().unwrap(), clock)).unwrap()
}

fn run_step(project: &Project, lake: &Lake, layer: Option<Layer>) {
    let options = Options {
        layer,
        once: true,
        close_windows: false,
        adopt: false,
    };
    run(&project.components(lake), &[project.pipeline()], &options).unwrap();
}

/// Runs the day of `step`: its events, each layer in turn, so that two projects take the same steps.
fn day(project: &Project, step: u64) -> Lake {
    let lake = lake(project, step);
    project.events("a.ndjson", step * STEP_EVENTS..(step + 1) * STEP_EVENTS);
    for layer in [Layer::Bronze, Layer::Silver, Layer::Gold] {
        run_step(project, &lake, Some(layer));
    }
    lake
}

/// Where each table now begins: seqs of bronze, silver, rejects and late, and the instant before which no window is left.
#[derive(Debug, Clone, Copy)]
struct Begins {
    bronze: i64,
    silver: i64,
    rejects: i64,
    late: i64,
    windows: i64,
}

fn begins(lake: &Lake, pipeline: &Pipeline) -> Begins {
    let silver_schema = silver_schema(&pipeline.silver).unwrap();
    let reader = |path: String, schema, seq| block(Reader::open(lake, &path, schema, seq)).unwrap().unwrap();
    let gold = gold_schema(&pipeline.gold[0], &pipeline.silver).unwrap();
    Begins {
        bronze: reader(names::bronze_path(PIPELINE), bronze::schema(), "seq").first(),
        silver: reader(names::silver_path(PIPELINE), silver_schema.clone(), "_seq").first(),
        rejects: reader(names::rejects_path(PIPELINE), silver::rejects_schema(), "seq").first(),
        late: reader(names::late_path(PIPELINE, GOLD), silver_schema, "_seq").first(),
        windows: reader(names::gold_path(PIPELINE, GOLD), gold, "_seq")
            .before()
            .unwrap_or(i64::MIN),
    }
}

/// What is in the tables from there on.
fn rest(lake: &Lake, from: Begins) -> Vec<String> {
    let windows = format!("cast(minute_timestamp as bigint) >= {}", from.windows);
    [
        format!("select * from bronze where seq >= {} order by seq", from.bronze),
        format!("select * from silver where _seq >= {} order by _seq", from.silver),
        format!("select * from rejects where seq >= {} order by seq", from.rejects),
        format!("select * from late where _seq >= {} order by _seq", from.late),
        format!("select * from gold where {windows} order by minute_timestamp, campaign_id, network_id"),
    ]
    .map(|sql| select(lake, &sql))
    .into()
}

fn count(lake: &Lake, table: &str) -> String {
    let found = select(lake, &format!("select count(*) from {table}"));
    found.lines().last().unwrap().to_owned()
}

fn opened(project: &Project, lake: &Lake, checkpoints: &Checkpoints) -> SilverLayer {
    let pipeline = project.pipeline();
    let opened = SilverLayer::open(lake, project.path(), checkpoints, &pipeline, false);
    block(opened).unwrap().unwrap()
}

#[test]
fn what_stays_is_what_it_would_have_been() {
    let (keeping, all) = (project(true), project(false));
    for step in 0..STEPS {
        let (kept, whole) = (day(&keeping, step), day(&all, step));
        keeping.assert_sound(&kept);
        let from = begins(&kept, &keeping.pipeline());
        assert_eq!(rest(&kept, from), rest(&whole, from), "day {step}: {from:?}");
        // Nothing lies before.
        assert_eq!(
            rest(&kept, from),
            rest(
                &kept,
                Begins {
                    bronze: 0,
                    silver: 0,
                    rejects: 0,
                    late: 0,
                    windows: i64::MIN
                }
            ),
        );
        assert_eq!(opened(&keeping, &kept, &Checkpoints::off()).unaccounted(), Some(0));
    }
    let kept = lake(&keeping, STEPS);
    let from = begins(&kept, &keeping.pipeline());
    assert!(
        from.bronze > 0 && from.silver > 0 && from.rejects > 0 && from.windows > i64::MIN,
        "{from:?}"
    );
    let report = keeping.audit(&kept);
    assert_eq!(report.kept_from, from.bronze);
    assert!(
        report.recomputed_from >= from.bronze && report.records > 0,
        "{report:?}"
    );
    all.assert_sound(&lake(&all, STEPS));
}

#[test]
fn a_snapshot_outlives_the_rows_that_it_was_taken_over() {
    let project = project(true);
    let checkpoints = Checkpoints::at(project.path().join("checkpoints")).every(1);
    let mut saved = 0;
    for step in 0..STEPS {
        day(&project, step);
        if step == STEPS - 2 {
            let lake = lake(&project, step);
            let mut layer = opened(&project, &lake, &checkpoints);
            block(layer.save_state(true, NOW));
            saved = layer.keeper().saved();
            assert!(saved > begins(&lake, &project.pipeline()).silver);
        }
    }
    let lake = lake(&project, STEPS);
    let first = begins(&lake, &project.pipeline()).silver;
    assert!(first > 0 && first <= saved, "{first} of {saved}");
    let layer = opened(&project, &lake, &checkpoints);
    assert_eq!(layer.keeper().how(), How::Snapshot);
    let rebuilt = opened(&project, &lake, &Checkpoints::off());
    assert_eq!(layer.keys().0 > 0, rebuilt.keys().0 > 0);
}

#[test]
fn nothing_goes_that_a_layer_behind_still_needs() {
    let project = project(true);
    let pipeline = project.pipeline();
    for step in 0..STEPS {
        let lake = lake(&project, step);
        project.events("a.ndjson", step * STEP_EVENTS..(step + 1) * STEP_EVENTS);
        run_step(&project, &lake, Some(Layer::Bronze));
    }
    let reader = |path: &str, schema, seq| {
        block(Reader::open(&lake(&project, STEPS), path, schema, seq))
            .unwrap()
            .unwrap()
    };
    let bronze_path = names::bronze_path(PIPELINE);
    assert_eq!(reader(&bronze_path, bronze::schema(), "seq").first(), 0);
    run_step(&project, &lake(&project, STEPS), Some(Layer::Silver));
    run_step(&project, &lake(&project, STEPS), Some(Layer::Bronze));
    assert!(reader(&bronze_path, bronze::schema(), "seq").first() > 0);
    run_step(&project, &lake(&project, STEPS), Some(Layer::Silver));
    let schema = silver_schema(&pipeline.silver).unwrap();
    assert_eq!(reader(&names::silver_path(PIPELINE), schema, "_seq").first(), 0);
}

#[test]
fn maintenance_beside_it_takes_nothing_that_a_restart_needs() {
    let project = project(true);
    for step in 0..STEPS {
        let lake = day(&project, step);
        let specs = medallion::run::tables::all(&project.pipeline()).unwrap();
        // More than once, so that its own commits come to lie above those of the layers.
        for _ in 0..2 {
            for spec in &specs {
                block(maintain(&lake, spec, EVERYTHING)).unwrap();
            }
        }
        project.assert_sound(&lake);
    }
    let lake = lake(&project, STEPS);
    assert!(begins(&lake, &project.pipeline()).bronze > 0);
    assert_eq!(opened(&project, &lake, &Checkpoints::off()).unaccounted(), Some(0));
}

#[test]
fn a_replay_loses_nothing_unless_it_is_told_to() {
    let project = project(true);
    for step in 0..STEPS {
        day(&project, step);
    }
    let lake = lake(&project, STEPS);
    let pipeline = project.pipeline();
    let before = count(&lake, "silver");
    let replayed = |extent| block(replay::silver(&lake, project.path(), &pipeline, extent, &|_, _, _| {}));
    let error = replayed(Extent::All).unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.to_string().contains("has let go of"), "{error}");
    assert_eq!(count(&lake, "silver"), before);
    let error = block(replay::gold(&lake, &pipeline, Extent::All, &|_, _, _| {})).unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    replayed(Extent::KeptOnly).unwrap();
    project.assert_sound(&lake);
    let report = project.audit(&lake);
    assert_eq!(report.recomputed_from, report.kept_from);
    // And on it goes from there.
    for step in STEPS..STEPS + 2 {
        let lake = day(&project, step);
        project.assert_sound(&lake);
        assert_eq!(opened(&project, &lake, &Checkpoints::off()).unaccounted(), Some(0));
    }
}

#[test]
fn a_layer_that_begins_anew_begins_where_upstream_does() {
    let project = project(true);
    for step in 0..STEPS {
        day(&project, step);
    }
    for table in ["silver", "rejects", "gold", "late"] {
        fs::remove_dir_all(project.lake_path().join(PIPELINE).join(table)).unwrap();
    }
    for step in STEPS..STEPS + 3 {
        let lake = day(&project, step);
        project.assert_sound(&lake);
        assert_eq!(opened(&project, &lake, &Checkpoints::off()).unaccounted(), Some(0));
    }
}
