//! What became of the records, as silver tells it from the first moment after a start: it is what the tables hold.

use medallion::checkpoint::Checkpoints;
use medallion::layer::silver::Reason;
use medallion::run::replay;
use medallion::run::silver::SilverLayer;
use medallion::table::Lake;

use crate::support::project::{Project, block, memory_lake};
use crate::support::rows;

const SILVER: &str = "layers/view_log/silver.toml";

fn open(project: &Project, lake: &Lake, adopt: bool) -> SilverLayer {
    let (checkpoints, pipeline) = (Checkpoints::off(), project.pipeline());
    let opened = SilverLayer::open(lake, project.path(), &checkpoints, &pipeline, adopt);
    block(opened).unwrap().unwrap()
}

/// The number that a query finds.
fn number(lake: &Lake, sql: &str) -> u64 {
    u64::try_from(rows::number(lake, sql)).unwrap()
}

/// Asserts that the totals of an opened silver are the rows of the tables.
fn assert_totals(layer: &SilverLayer, lake: &Lake) {
    let totals = layer.totals();
    assert_eq!(totals.accepted, number(lake, "select count(*) from silver"));
    assert_eq!(
        totals.ticks,
        number(lake, "select count(*) from bronze where kind = 'tick'")
    );
    for reason in Reason::ALL {
        let word = reason.word();
        let rows = number(lake, &format!("select count(*) from rejects where reason = '{word}'"));
        assert_eq!(totals.of(reason), rows, "{word}");
    }
    assert!(totals.rejected() > 0 && totals.accepted > 0, "{totals:?}");
    assert_eq!(layer.unaccounted(), Some(0));
}

#[test]
fn a_start_knows_the_totals_whatever_was_committed_last() {
    let project = Project::new(40, 50);
    project.events("a.ndjson", 0..300);
    let (lake, _) = memory_lake();
    project.run(&lake).unwrap();
    let layer = open(&project, &lake, false);
    assert_totals(&layer, &lake);
    let before = layer.totals().clone();
    assert!(before.judged >= before.accepted, "{before:?}");
    assert!(before.failed_rules.iter().any(|(_, failed)| *failed > 0), "{before:?}");

    // Another run goes on from them.
    project.events("a.ndjson", 300..500);
    project.run(&lake).unwrap();
    let layer = open(&project, &lake, false);
    assert_totals(&layer, &lake);
    assert!(layer.totals().judged > before.judged);
    let before = layer.totals().clone();

    // The newest commit takes in a definition and has no totals: they are counted in the tables.
    let text = project.read(SILVER);
    let rule = "\n[[expect]]\nname = \"odd\"\ncheck = \"banner_id % 2 = 1\"\non_fail = \"reject\"\n";
    project.write(SILVER, &format!("{text}{rule}"));
    let layer = open(&project, &lake, true);
    assert_totals(&layer, &lake);
    let counted = layer.totals();
    assert_eq!((counted.records(), counted.judged), (before.records(), 0));

    // A replay begins anew, with what the new rule says of old records.
    block(replay::silver(
        &lake,
        project.path(),
        &project.pipeline(),
        replay::Extent::All,
        &|_, _, _| {},
    ))
    .unwrap();
    let layer = open(&project, &lake, false);
    assert_totals(&layer, &lake);
    assert!(layer.totals().failed("odd") > 0);
    assert_eq!(layer.totals().records(), before.records());
}
