//! Gold that closes 10,000 windows times groups in one step, each in a partition of its own, against writing the same
//! bytes into the same directories by hand.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array, Int32Array, RecordBatch, TimestampMicrosecondArray};
use cpu_time::ProcessTime;
use medallion::definition::silver_schema;
use medallion::layer::gold::Plan;
use medallion::run::tables;
use medallion::table::TableSpec;

use super::report;
use crate::events;
use crate::lake::{Durability, Place};
use crate::ratio::Ratio;

const MINUTES: i32 = 1_000;
const NETWORKS: i32 = 10;
const ROUNDS: usize = 5;

/// Measures and reports.
pub fn run() {
    let (spec, rows) = closed();
    let (mut wall, mut cpu) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        let mut place = Place::new(Durability::Process);
        let mut table = place.table(spec.clone());
        let [wall_ours, cpu_ours] = timed(|| place.append(&mut table, Some(&rows)));
        let files = written(&place.directory.path().join(&spec.path));
        assert_eq!(files.len(), (MINUTES * NETWORKS) as usize);
        bytes = files.iter().map(|(_, bytes)| bytes.len()).sum();
        let elsewhere = tempfile::tempdir().unwrap();
        let [wall_hand, cpu_hand] = timed(|| by_hand(elsewhere.path(), &files));
        wall[0].push(wall_ours);
        wall[1].push(wall_hand);
        cpu[0].push(cpu_ours);
        cpu[1].push(cpu_hand);
    }
    let wall = Ratio::of(&wall[0], &wall[1]);
    report("gold step of 10,000 partitions over files by hand", "2", &wall);
    println!(
        "  p50: {:?} over {:?}, {bytes} bytes in all",
        wall.medians[0], wall.medians[1]
    );
    let cpu = Ratio::of(&cpu[0], &cpu[1]);
    println!("  CPU: {cpu}, {:?} over {:?}", cpu.medians[0], cpu.medians[1]);
}

/// Time on the wall and of the CPU.
fn timed(work: impl FnOnce()) -> [Duration; 2] {
    let (wall, cpu) = (Instant::now(), ProcessTime::now());
    work();
    [wall.elapsed(), cpu.elapsed()]
}

/// The gold table of the pipeline, and the rows of its closed windows.
fn closed() -> (TableSpec, RecordBatch) {
    let pipeline = events::pipeline();
    let gold = &pipeline.gold[0];
    let silver = silver_schema(&pipeline.silver).unwrap();
    let plan = Plan::compile(gold, &pipeline.silver.event_time, &silver).unwrap();
    let (spec, _) = tables::gold(&pipeline, gold, &plan, "bench").unwrap();
    let numbers = || 0..MINUTES * NETWORKS;
    let column = |name: &str| -> ArrayRef {
        match name {
            "campaign_id" | "network_id" => Arc::new(Int32Array::from_iter_values(numbers().map(|at| at % NETWORKS))),
            "total_count" => Arc::new(Int32Array::from_iter_values(numbers())),
            "avg_duration" => Arc::new(Float64Array::from_iter_values(numbers().map(|at| f64::from(at) / 7.0))),
            "minute_timestamp" => {
                let minute = |at| 1_704_067_200_000_000 + i64::from(at / NETWORKS) * 60_000_000;
                let minutes = TimestampMicrosecondArray::from_iter_values(numbers().map(minute));
                Arc::new(minutes.with_timezone("UTC"))
            }
            other => panic!("gold has a column {other}"),
        }
    };
    let schema = plan.schema();
    let columns = schema.fields().iter().map(|field| column(field.name())).collect();
    (spec, RecordBatch::try_new(schema, columns).unwrap())
}

/// The data files under `table`: where they lie in it, and their bytes.
fn written(table: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let pattern = table.join("*/*/*.parquet");
    let files = glob::glob(pattern.to_str().unwrap()).unwrap().map(Result::unwrap);
    files
        .map(|file| (file.strip_prefix(table).unwrap().to_owned(), fs::read(&file).unwrap()))
        .collect()
}

fn by_hand(directory: &Path, files: &[(PathBuf, Vec<u8>)]) {
    for (path, bytes) in files {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}
