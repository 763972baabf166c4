//! A table with so many files that its log checkpoint is not written in one piece.

use std::time::Duration;

use medallion::definition::settings::Durability;
use medallion::run::{names, tables};
use medallion::table::maintain::{Policy, maintain};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use crate::support::project::{PIPELINE, Project, block};
use crate::support::rows::GOLD;
use crate::support::tamper::Raw;

/// From here on deltalake writes a log checkpoint in parts, in bytes.
const PARTS_FROM: u64 = 10 << 20;
const FILES: u64 = 4_000;
/// Random bytes in the name of each, which no codec makes smaller.
const NAME_BYTES: usize = 2_048;
/// Large enough to be left alone by compaction.
const FILE_BYTES: i64 = 64 << 20;

#[test]
fn a_log_checkpoint_in_parts_is_written_and_the_table_opens_with_it() {
    let project = Project::new(60, 70);
    project.events("a.ndjson", 0..200);
    let lake = project.lake().with_durability(Durability::Power).unwrap();
    project.run(&lake).unwrap();
    let path = names::late_path(PIPELINE, GOLD);
    // Files that are not there cannot be synced.
    let raw = Raw::new(&project.lake(), &path);
    let mut dice = ChaCha8Rng::seed_from_u64(1);
    let empty = (0..FILES).map(|_| {
        let mut name = [0; NAME_BYTES];
        dice.fill_bytes(&mut name);
        let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        json!({"add": {
            "path": format!("{name}.parquet"), "partitionValues": {}, "size": FILE_BYTES, "modificationTime": 0,
            "dataChange": false, "stats": "{\"numRecords\":0}",
        }})
    });
    // Files without rows that are not there, added as maintenance adds files.
    raw.commit(&empty.collect::<Vec<_>>());

    let specs = tables::all(&project.pipeline()).unwrap();
    let spec = specs.iter().find(|spec| spec.path == path).unwrap();
    let policy = Policy {
        target_bytes: 16 << 20,
        log_retention: Duration::from_secs(3600),
        vacuum_age: Duration::from_secs(3600),
    };
    let report = block(maintain(&lake, spec, policy)).unwrap().unwrap();
    assert!(report.files_after as u64 >= FILES, "{report:?}");
    let name = format!("_delta_log/{:020}.checkpoint.parquet", report.checkpoint_version);
    let checkpoint = std::fs::metadata(project.lake_path().join(&path).join(name)).unwrap();
    assert!(checkpoint.len() > PARTS_FROM, "{}: not in parts", checkpoint.len());

    // The layers open it and go on.
    project.events("b.ndjson", 200..300);
    let summaries = project.run(&lake).unwrap();
    let gold = summaries[0].layers.iter().find(|layer| layer.layer == "gold").unwrap();
    assert!(gold.rows_in > 0, "{gold:?}");
}
