//! Changed definitions: refused by `run`, taken into force by `replay`, and taken back.

use medallion::error::Kind;
use medallion::run::{Options, names, replay, run};
use medallion::table::Lake;

use crate::support::command::{call, done};
use crate::support::project::{PIPELINE, Project, block, memory_lake};
use crate::support::rows::{GOLD, assert_same, rows, select};

const RULE: &str = "\n[[expect]]\nname = \"odd_banner\"\ncheck = \"banner_id % 2 = 1\"\non_fail = \"reject\"\n";
const SILVER: &str = "layers/view_log/silver.toml";

fn project() -> Project {
    let project = Project::new(60, 70);
    project.events("a.ndjson", 0..400);
    project
}

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

fn replay_gold(project: &Project, lake: &Lake) {
    block(replay::gold(
        lake,
        &project.pipeline(),
        replay::Extent::All,
        &|_, _, _| {},
    ))
    .unwrap();
}

#[test]
fn a_new_rule_is_refused_until_a_replay_rebuilds_history_with_it_and_can_be_taken_back() {
    let project = project();
    let (lake, _) = memory_lake();
    project.run(&lake).unwrap();
    let original = rows(&lake);
    let definition = project.read(SILVER);

    project.append(SILVER, RULE);
    let refused = project.run(&lake).unwrap_err();
    assert_eq!(refused.kind(), Kind::Definition);
    assert!(refused.to_string().contains("odd_banner"), "{refused}");
    assert!(refused.to_string().contains("replay"), "{refused}");
    replay_silver(&project, &lake);
    project.assert_sound(&lake);
    let (fresh, _) = memory_lake();
    project.run(&fresh).unwrap();
    let with_rule = rows(&fresh);
    assert_same(&rows(&lake), &with_rule, "after the replay");
    assert_ne!(with_rule["silver"], original["silver"]);
    project.events("a.ndjson", 400..450);
    project.run(&lake).unwrap();
    project.assert_sound(&lake);

    project.write(SILVER, &definition);
    replay_silver(&project, &lake);
    project.assert_sound(&lake);
    // What came after the declared end is late, as it is in every replay; the rows before are the original ones.
    assert_eq!(rows(&lake)["gold"], original["gold"]);
    let silver = &rows(&lake)["silver"];
    for row in original["silver"].lines() {
        assert!(silver.contains(row), "{row}");
    }
}

#[test]
fn a_new_rule_can_apply_from_here_on_and_leaves_old_rows_alone() {
    // Gold must not look at silver before silver has adopted the definition; more than once, since threads race.
    for _ in 0..5 {
        let project = project();
        let (lake, _) = memory_lake();
        project.run(&lake).unwrap();
        let before = rows(&lake);
        project.append(SILVER, RULE);
        project.events("a.ndjson", 400..500);
        let options = Options {
            layer: None,
            once: true,
            close_windows: false,
            adopt: true,
        };
        run(&project.components(&lake), &[project.pipeline()], &options).unwrap();
        let after = rows(&lake);
        assert!(before["silver"].lines().all(|row| after["silver"].contains(row)));
        let rejected = select(
            &lake,
            "select count(*) > 0 as some from rejects where detail like 'odd_banner%'",
        );
        assert!(rejected.contains("true"), "{rejected}");
        project.assert_sound(&lake);
        project.run(&lake).unwrap();
        project.assert_sound(&lake);
    }
}

#[test]
fn a_new_aggregate_can_apply_from_here_on_to_windows_that_are_still_open() {
    let project = project();
    let (lake, _) = memory_lake();
    let open = Options {
        layer: None,
        once: true,
        close_windows: false,
        adopt: false,
    };
    run(&project.components(&lake), &[project.pipeline()], &open).unwrap();
    let before = rows(&lake);
    let gold = project.read("layers/view_log/gold.toml");
    let changed = gold.replace("cast(count(*) as int)", "cast(count(*) + 1000 as int)");
    assert_ne!(gold, changed);
    project.write("layers/view_log/gold.toml", &changed);
    project.events("a.ndjson", 400..500);
    let adopt = Options {
        close_windows: true,
        adopt: true,
        ..open
    };
    run(&project.components(&lake), &[project.pipeline()], &adopt).unwrap();
    let after = rows(&lake);
    assert!(before["gold"].lines().all(|row| after["gold"].contains(row)));
    let new = select(&lake, "select count(*) > 0 as some from gold where total_count > 1000");
    assert!(new.contains("true"), "{new}");
    project.assert_sound(&lake);

    project.write("layers/view_log/gold.toml", &changed.replace("\"10s\"", "\"20m\""));
    let refused = run(&project.components(&lake), &[project.pipeline()], &adopt).unwrap_err();
    assert_eq!(refused.kind(), Kind::Definition);
    assert!(refused.to_string().contains("watermark"), "{refused}");
}

#[test]
fn replaying_an_unchanged_definition_changes_no_row() {
    let project = project();
    let (lake, _) = memory_lake();
    project.run(&lake).unwrap();
    let before = rows(&lake);
    replay_gold(&project, &lake);
    project.assert_sound(&lake);
    assert_same(&rows(&lake), &before, "after replay gold");
    replay_silver(&project, &lake);
    project.assert_sound(&lake);
    assert_same(&rows(&lake), &before, "after replay silver");
    project.run(&lake).unwrap();
    assert_same(&rows(&lake), &before, "after a run");
}

#[test]
fn a_changed_window_is_refused_until_gold_is_replayed() {
    let project = project();
    let (lake, _) = memory_lake();
    project.run(&lake).unwrap();
    let gold = project.read("layers/view_log/gold.toml");
    project.write("layers/view_log/gold.toml", &gold.replace("\"10s\"", "\"20m\""));
    let refused = project.run(&lake).unwrap_err();
    assert_eq!(refused.kind(), Kind::Definition);
    assert!(refused.to_string().contains("watermark"), "{refused}");
    replay_gold(&project, &lake);
    project.assert_sound(&lake);
    let (fresh, _) = memory_lake();
    project.run(&fresh).unwrap();
    assert_same(&rows(&lake), &rows(&fresh), "after replay gold");
}

#[test]
fn the_old_version_stays_readable_after_a_replay_of_the_command_line() {
    let project = project();
    let run = ["run", "-p", PIPELINE, "--once", "--close-windows"];
    done(project.path(), &run);
    let old = rows(&project.lake())["silver"].lines().count() - 1;
    let before = version(&project, &names::silver_path(PIPELINE));

    project.append(SILVER, RULE);
    let refused = call(project.path(), &run);
    assert_eq!(refused.code, Some(4), "{}", refused.err);
    assert!(
        refused.err.contains("odd_banner") && refused.err.contains("--apply-from-here"),
        "{}",
        refused.err
    );
    let unasked = call(project.path(), &["replay", "silver", "-p", PIPELINE]);
    assert_eq!(unasked.code, Some(2), "{}", unasked.err);
    assert_eq!(
        version(&project, &names::silver_path(PIPELINE)),
        before,
        "nothing was asked, nothing is done"
    );
    let replayed = done(project.path(), &["replay", "silver", "-p", PIPELINE, "--yes"]);
    assert!(
        replayed.out.contains(&names::gold_path(PIPELINE, GOLD)),
        "{}",
        replayed.out
    );
    done(project.path(), &["audit", "-p", PIPELINE]);

    assert_eq!(rows_at(&project, &names::silver_path(PIPELINE), Some(before)), old);
    assert!(rows_at(&project, &names::silver_path(PIPELINE), None) < old);
}

#[test]
fn changed_reference_data_applies_from_the_next_step_on() {
    let project = project();
    let (lake, _) = memory_lake();
    project.run(&lake).unwrap();
    let before = rows(&lake);
    let known = select(&lake, "select count(*) from silver where campaign_id = 10");
    // Campaign 10 moves to network 99 and campaign 20 is no longer known.
    let campaigns = project.read("data/campaigns.csv");
    let moved: Vec<String> = campaigns
        .lines()
        .filter(|line| !line.contains(",20,"))
        .map(|line| {
            if line.contains(",10,") {
                "99,10,campaign_10".to_owned()
            } else {
                line.to_owned()
            }
        })
        .collect();
    project.write("data/campaigns.csv", &(moved.join("\n") + "\n"));
    project.run(&lake).unwrap();
    assert_same(&rows(&lake), &before, "without new events");
    project.events("a.ndjson", 400..700);
    project.run(&lake).unwrap();
    project.assert_sound(&lake);
    assert_eq!(
        select(
            &lake,
            "select count(*) from silver where campaign_id = 10 and network_id = 1"
        ),
        known,
        "old rows keep the network that was true then"
    );
    let new = select(&lake, "select count(*) > 0 as new from silver where network_id = 99");
    assert!(new.contains("true"), "{new}");
    let unknown = select(
        &lake,
        "select count(*) > 0 as new from rejects where reason = 'lookup' and detail like '%20%'",
    );
    assert!(unknown.contains("true"), "{unknown}");
}

fn version(project: &Project, path: &str) -> u64 {
    let log = project.lake_path().join(path).join("_delta_log");
    let entries = std::fs::read_dir(log).unwrap().flatten();
    let versions = entries.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".json")?.parse().ok());
    versions.max().unwrap()
}

/// Rows of a table at a version as any Delta reader counts them.
fn rows_at(project: &Project, path: &str, version: Option<u64>) -> usize {
    let url = url::Url::from_directory_path(project.lake_path().join(path)).unwrap();
    block(async {
        let builder = deltalake::DeltaTableBuilder::from_url(url).unwrap();
        let builder = match version {
            Some(version) => builder.with_version(version),
            None => builder,
        };
        let table = builder.load().await.unwrap();
        let context = datafusion::prelude::SessionContext::new();
        table.update_datafusion_session(&context.state()).unwrap();
        context
            .register_table("t", table.table_provider().await.unwrap())
            .unwrap();
        context.sql("select * from t").await.unwrap().count().await.unwrap()
    })
}
