//! Gold with a partition per network and date, for those who prefer few files: the same rows as with one per minute.

use std::fmt::Write;
use std::ops::Range;
use std::time::Duration;

use medallion::run::names;
use medallion::table::Lake;
use medallion::table::maintain::{Policy, Report, maintain};

use crate::support::project::{PIPELINE, Project, block, memory_lake};
use crate::support::rows::{GOLD, select};

const SHIPPED: &str = r#"window = { tumbling = "1m", start = "minute_timestamp" }"#;
const WITH_DATE: &str = r#"window = { tumbling = "1m", start = "minute_timestamp", date = "date" }"#;
/// Networks of the shipped campaigns that the views below are for.
const NETWORKS: usize = 4;
/// Views in a step, and steps: the two hours before a midnight and the one after it.
const STEP: usize = 60;
const VIEWS: Range<usize> = 0..18 * STEP;
const A_MINUTE: usize = 6;

/// The shipped pipeline with the declared layout of the documentation.
fn by_date() -> Project {
    let project = Project::new(STEP, STEP);
    let gold = project.read("layers/view_log/gold.toml");
    for (old, count) in [
        (SHIPPED, 1),
        (r#"["network_id", "minute_timestamp"]"#, 1),
        (r#""network_id", "minute_t"#, 2),
    ] {
        assert_eq!(gold.matches(old).count(), count, "{old} in the shipped gold.toml");
    }
    let gold = gold
        .replace(SHIPPED, WITH_DATE)
        .replace(r#"["network_id", "minute_timestamp"]"#, r#"["network_id", "date"]"#)
        .replace(r#""network_id", "minute_t"#, r#""network_id", "date", "minute_t"#);
    project.write("layers/view_log/gold.toml", &gold);
    project
}

/// Ten seconds apart from 22:00 on, so that every network has some in every minute.
fn views(project: &Project) {
    let mut lines = String::new();
    for view in VIEWS {
        let seconds = 22 * 3600 + view * 10;
        let (day, second) = (1 + seconds / 86_400, seconds % 86_400);
        let at = format!(
            "2024-01-0{day}T{:02}:{:02}:{:02}Z",
            second / 3600,
            second / 60 % 60,
            second % 60
        );
        // Campaigns 10, 40, 60 and 100 are the first of each network.
        let campaign = [10, 40, 60, 100][view % NETWORKS];
        writeln!(
            lines,
            r#"{{"view_id":"{view}","start_timestamp":"2024-01-01T21:00:00Z","end_timestamp":"{at}","campaign_id":{campaign},"banner_id":1}}"#
        )
        .unwrap();
    }
    project.write("input/a.ndjson", &lines);
}

fn gold(lake: &Lake) -> String {
    let columns = "minute_timestamp, network_id, campaign_id, total_count, avg_duration";
    select(lake, &format!("select {columns} from gold order by {columns}"))
}

fn keep_small(project: &Project, lake: &Lake) -> Report {
    let specs = medallion::run::tables::all(&project.pipeline()).unwrap();
    let path = names::gold_path(PIPELINE, GOLD);
    let spec = specs.iter().find(|spec| spec.path == path).unwrap();
    let policy = Policy {
        target_bytes: 16 << 20,
        log_retention: Duration::ZERO,
        vacuum_age: Duration::ZERO,
    };
    block(maintain(lake, spec, policy)).unwrap().unwrap()
}

#[test]
fn gold_by_date_has_the_rows_of_gold_by_minute_and_maintenance_makes_it_a_file_per_network_and_day() {
    let (shipped, by_date) = (Project::new(STEP, STEP), by_date());
    let [(minutes, _), (dates, _)] = [memory_lake(), memory_lake()];
    for (project, lake) in [(&shipped, &minutes), (&by_date, &dates)] {
        views(project);
        project.run(lake).unwrap();
        project.assert_sound(lake);
    }
    let wanted = gold(&minutes);
    let rows = VIEWS.len() / A_MINUTE * NETWORKS;
    assert_eq!(wanted.lines().count(), 1 + rows, "{wanted}");
    assert_eq!(gold(&dates), wanted);
    let wrong = "select count(*) as wrong from gold where date <> cast(minute_timestamp as date) or date is null";
    assert_eq!(select(&dates, wrong), "| wrong |\n| 0 |");

    // A partition of one minute has one file for ever.
    let kept = keep_small(&shipped, &minutes);
    assert_eq!((kept.files_before, kept.files_after), (rows, rows), "{kept:?}");
    let kept = keep_small(&by_date, &dates);
    assert!(kept.files_before > 50, "{kept:?}");
    assert_eq!(kept.files_after, 2 * NETWORKS, "{kept:?}");
    assert_eq!(gold(&dates), wanted);
    by_date.assert_sound(&dates);
}
