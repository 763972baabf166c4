//! The layers together, one by one, and as three processes: the same tables.

use crate::support::command::{call, done, ended, start};
use crate::support::project::{PIPELINE, Project, memory_lake};
use crate::support::rows::{assert_same, rows};

fn project() -> Project {
    let project = Project::new(60, 70);
    project.events("a.ndjson", 0..400);
    project
}

#[test]
fn layers_one_by_one_give_the_tables_of_one_run() {
    let project = project();
    let (wanted, _) = memory_lake();
    project.run(&wanted).unwrap();
    for layer in ["bronze", "silver", "gold"] {
        let said = done(project.path(), &["run", layer, "-p", PIPELINE, "--once"]);
        let last = said.out.lines().last().unwrap();
        let summary: serde_json::Value = serde_json::from_str(last).unwrap();
        assert_eq!(summary["pipelines"][0]["layers"][0]["layer"], layer, "{last}");
    }
    done(project.path(), &["run", "-p", PIPELINE, "--once", "--close-windows"]);
    done(project.path(), &["audit", "-p", PIPELINE]);
    assert_same(&rows(&project.lake()), &rows(&wanted), "one by one");
}

#[test]
fn a_layer_without_its_upstream_says_which_to_run_first() {
    let project = project();
    let said = call(project.path(), &["run", "silver", "-p", PIPELINE, "--once"]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(said.err.contains("medallion run bronze -p view_log"), "{}", said.err);
}

#[test]
fn three_processes_give_the_tables_of_one_run() {
    let project = project();
    let (wanted, _) = memory_lake();
    project.run(&wanted).unwrap();
    let mut running: Vec<_> = ["gold", "silver", "bronze"]
        .map(|layer| start(project.path(), &["run", layer, "-p", PIPELINE, "--log", "warn"]))
        .into();
    // Bronze commits its rest when it is asked to end; the others go on until they have everything.
    project_reaches(&project, "gold", 300);
    for child in &mut running {
        interrupt(child);
    }
    for child in running {
        let said = ended(child);
        assert_eq!(said.code, Some(0), "{}", said.err);
    }
    done(project.path(), &["run", "-p", PIPELINE, "--once", "--close-windows"]);
    done(project.path(), &["audit", "-p", PIPELINE]);
    assert_same(&rows(&project.lake()), &rows(&wanted), "three processes");
}

#[test]
fn status_shows_what_each_layer_costs_and_how_large_its_table_is() {
    let project = project();
    done(project.path(), &["run", "-p", PIPELINE, "--once", "--close-windows"]);
    let said = done(project.path(), &["status", "-p", PIPELINE, "--output", "json"]);
    let status: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let layers = status[0]["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 3, "{}", said.out);
    for (standing, table) in layers.iter().zip(["bronze", "silver", "gold/views_per_minute"]) {
        let log = project.path().join("data/lake/view_log").join(table).join("_delta_log");
        let entries = std::fs::read_dir(log)
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap());
        let bytes: u64 = entries.map(|entry| entry.len()).sum();
        assert_eq!(standing["log_bytes"].as_u64(), Some(bytes), "{table}: {}", said.out);
        let activity = &standing["activity"];
        let figure = |name: &str| {
            activity[name]
                .as_f64()
                .unwrap_or_else(|| panic!("{table} has no {name}: {}", said.out))
        };
        assert_eq!(activity["rows"], standing["position"], "{table}: {}", said.out);
        // A row costs some work, and a debug build on a busy machine does it in less than 10 ms.
        assert!((1.0..1e7).contains(&figure("cpu_ns_per_row")), "{table}: {}", said.out);
        assert!(figure("rows_per_second") > 0.0, "{table}: {}", said.out);
        assert!(figure("bytes_in_per_row") > 10.0, "{table}: {}", said.out);
        assert!(figure("bytes_out_per_row") > 10.0, "{table}: {}", said.out);
    }
    let said = done(project.path(), &["status", "-p", PIPELINE]);
    for column in ["log MiB", "rows/s", "CPU ns/row", "B/row in", "B/row out"] {
        assert!(said.out.contains(column), "{}", said.out);
    }
}

/// Asks a process to end as Ctrl-C does.
fn interrupt(child: &std::process::Child) {
    let pid = child.id().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-INT", &pid])
        .status()
        .unwrap();
    assert!(sent.success());
}

/// Waits until the layer's position is at least `seq`.
fn project_reaches(project: &Project, layer: &str, seq: i64) {
    let begun = std::time::Instant::now();
    loop {
        let said = done(project.path(), &["status", "-p", PIPELINE, "--output", "json"]);
        let status: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        let layers = status[0]["layers"].as_array().unwrap();
        let gold = layers
            .iter()
            .find(|standing| layer == "gold" && standing["layer"] == "views_per_minute");
        if gold.is_some_and(|standing| standing["position"].as_i64() >= Some(seq)) {
            return;
        }
        assert!(
            begun.elapsed().as_secs() < 90,
            "{layer} never reached {seq}: {}",
            said.out
        );
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}
