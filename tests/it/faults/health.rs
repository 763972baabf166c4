//! Nothing looks healthy while it is not, and what was broken recovers by itself.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::support::command::{call, done};
use crate::support::live::Live;
use crate::support::project::{PIPELINE, Project, memory_lake};
use crate::support::rows::{assert_same, rows};

/// After the end of a fault the lag is zero again within this time: the longest pause between two openings of a layer,
/// plus some work.
const RECOVERED_WITHIN: Duration = Duration::from_secs(45);
const UP: &str = "medallion_layer_up";
const CAUGHT_UP: &str = "medallion_caught_up_timestamp_seconds";
const SINCE: &str = "medallion_layer_trouble_timestamp_seconds";

/// Takes the lake away from under the program: a file lies where its directory was. The two change places in one call,
/// because a lake that is not there at all, however briefly, is a damaged one and ends the run.
struct Outage<'a>(&'a Project);

impl<'a> Outage<'a> {
    fn begin(project: &'a Project) -> Self {
        std::fs::write(Self::elsewhere(project), "no directory").unwrap();
        Self::swap(project);
        Self(project)
    }

    fn end(self) {
        Self::swap(self.0);
    }

    fn elsewhere(project: &Project) -> PathBuf {
        project.lake_path().with_extension("away")
    }

    fn swap(project: &Project) {
        let (lake, elsewhere) = (project.lake_path(), Self::elsewhere(project));
        renameat_with(CWD, lake, CWD, elsewhere, RenameFlags::EXCHANGE).unwrap();
    }
}

#[test]
fn a_layer_that_cannot_work_says_so_and_works_again_soon_after_the_fault_is_gone() {
    let project = Project::new(40, 50);
    project.commits_after("200ms");
    project.events("a.ndjson", 0..100);
    let live = Live::start(&project);
    live.wait_until_all_reach(50.0);
    for layer in ["bronze", "silver", "gold"] {
        let label = format!("layer=\"{layer}\"");
        assert_eq!(live.sample(UP, &[&label]), Some(1.0), "{layer}");
        assert_eq!(live.sample(SINCE, &[&label]), Some(0.0), "{layer}");
    }
    assert_eq!(live.probe("/readyz").0, 200);
    let outage = Outage::begin(&project);
    project.events("a.ndjson", 100..400);
    for layer in ["bronze", "silver", "gold"] {
        let label = format!("layer=\"{layer}\"");
        live.wait_for(UP, &[&label], |up| up == 0.0);
        assert!(
            live.sample(SINCE, &[&label]).is_some_and(|since| since > 1.7e9),
            "{layer}"
        );
    }
    // No restart would help, and nobody is to rely on the work.
    assert_eq!(live.probe("/healthz").0, 200);
    let (code, states) = live.probe("/readyz");
    assert_eq!(code, 503);
    for layer in ["bronze", "silver", "gold"] {
        assert_eq!(states[layer], "retrying", "{states:?}");
    }
    std::thread::sleep(Duration::from_secs(2));
    let (code, body) = live.ask("/status.json");
    assert_eq!(code, 200);
    let page: serde_json::Value = serde_json::from_str(&body).unwrap();
    let pipeline = &page["pipelines"][0];
    assert!(
        pipeline["trouble"].is_string() && pipeline["next"].is_string(),
        "{body}"
    );
    for fare in pipeline["fares"].as_array().unwrap() {
        assert_eq!(fare["state"], "retrying", "{body}");
        assert!(fare["why"].is_string() && fare["next"].is_string(), "{body}");
    }
    let told = call(project.path(), &["status", "-p", PIPELINE]);
    assert_eq!((told.code, told.out.as_str()), (Some(1), ""), "{}", told.err);
    assert!(told.err.contains("\n  next: "), "{}", told.err);
    let stale = live.sample(CAUGHT_UP, &["layer=\"gold\""]).unwrap();
    let before = live.sample("medallion_position_seq", &["layer=\"bronze\""]).unwrap();
    outage.end();
    let gone = Instant::now();
    live.wait_until_all_reach(before + 200.0);
    for layer in ["bronze", "silver", "gold"] {
        live.wait_for(UP, &[&format!("layer=\"{layer}\"")], |up| up == 1.0);
    }
    let recovered = gone.elapsed();
    live.wait_for(CAUGHT_UP, &["layer=\"gold\""], |at| at > stale + 1.0);
    assert_eq!(live.probe("/readyz").0, 200);
    assert!(recovered < RECOVERED_WITHIN, "{recovered:?}");
    println!("recovered {recovered:?} after the fault was gone");
    let said = live.end();
    assert_eq!(said.code, Some(0), "{}", said.err);
    for words in ["trying again", "works again"] {
        assert!(said.err.contains(words), "{}", said.err);
    }
    let (wanted, _) = memory_lake();
    project.run(&wanted).unwrap();
    done(project.path(), &["run", "-p", PIPELINE, "--once", "--close-windows"]);
    done(project.path(), &["audit", "-p", PIPELINE]);
    assert_same(&rows(&project.lake()), &rows(&wanted), "after the outage");
}

#[test]
fn a_run_that_is_ended_amid_trouble_does_not_report_success() {
    let project = Project::new(40, 50);
    project.commits_after("200ms");
    project.events("a.ndjson", 0..100);
    let live = Live::start(&project);
    live.wait_until_all_reach(50.0);
    let outage = Outage::begin(&project);
    project.events("a.ndjson", 100..200);
    live.wait_for(UP, &["layer=\"bronze\""], |up| up == 0.0);
    let said = live.end();
    outage.end();
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(said.err.contains("error"), "{}", said.err);
    let (wanted, _) = memory_lake();
    project.run(&wanted).unwrap();
    done(project.path(), &["run", "-p", PIPELINE, "--once", "--close-windows"]);
    done(project.path(), &["audit", "-p", PIPELINE]);
    assert_same(
        &rows(&project.lake()),
        &rows(&wanted),
        "after a run that ended amid trouble",
    );
}

/// A project whose input has become shorter than what was read of it, which no restart mends.
fn shortened(linger: &str) -> Project {
    let project = Project::new(40, 50);
    project.write("medallion.toml", &format!("linger = \"{linger}\"\n"));
    project.grow("a.ndjson", 100);
    done(project.path(), &["run", "-p", PIPELINE, "--once"]);
    project.grow("a.ndjson", 10);
    project
}

#[test]
fn a_failure_that_a_restart_does_not_mend_is_served_until_it_is_heard_of() {
    let project = shortened("1h");
    let live = Live::start(&project);
    live.wait_for("medallion_errors_total", &["kind=\"dataloss\""], |errors| errors == 1.0);
    live.wait_for(UP, &["layer=\"bronze\""], |up| up == 0.0);
    // The other layers end because of it; then nothing runs any more, and what is shown stays.
    std::thread::sleep(Duration::from_secs(3));
    for probe in ["/healthz", "/readyz"] {
        let (code, states) = live.probe(probe);
        assert_eq!(
            (code, states["bronze"].as_str()),
            (503, "failed"),
            "{probe}: {states:?}"
        );
    }
    let page: serde_json::Value = serde_json::from_str(&live.ask("/status.json").1).unwrap();
    let bronze = &page["pipelines"][0]["fares"][0];
    assert_eq!(
        (&bronze["layer"], &bronze["state"]),
        (&"bronze".into(), &"failed".into()),
        "{page}"
    );
    assert!(bronze["next"].as_str().unwrap().contains("accept-gap"), "{page}");
    let told = Instant::now();
    let said = live.end();
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert_eq!(
        said.err.matches("accept-gap").count(),
        2,
        "at once, and at the end: {}",
        said.err
    );
}

#[test]
fn who_does_not_linger_ends_at_once() {
    for (linger, at_least) in [("0s", 0), ("2s", 2)] {
        let project = shortened(linger);
        let live = Live::start(&project);
        let began = Instant::now();
        let said = live.ended();
        assert_eq!(said.code, Some(1), "{}", said.err);
        assert!(said.err.contains("accept-gap"), "{}", said.err);
        let (least, most) = (Duration::from_secs(at_least), Duration::from_secs(30));
        assert!(
            (least..most).contains(&began.elapsed()),
            "{linger}: {:?}",
            began.elapsed()
        );
    }
}
