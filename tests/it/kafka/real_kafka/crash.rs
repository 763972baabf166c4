//! The binary, killed again and again while it reads from Kafka.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::Rng;
use serde_json::Value;

use crate::kafka::bed::{Bed, Sender, lively};
use crate::kafka::views::{Views, project};
use crate::support::real_kafka::Topic;
use medallion::source::generator::Generator;

const PARTITIONS: u64 = 4;
const EVENTS: u64 = 12_000;
const KILLS: u32 = 6;

/// A project that declares `view_log` over `topic`, with quick commits.
fn declare(dir: &Path, topic: &str) {
    for file in [
        "layers/view_log/silver.toml",
        "layers/view_log/gold.toml",
        "layers/view_log/bronze.toml",
        "schemas/view_log.json",
        "data/campaigns.csv",
    ] {
        let to = dir.join(file);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let text = fs::read_to_string(project().join(file)).unwrap();
        let text = text
            .replace("topic = \"view_log\"", &format!("topic = \"{topic}\""))
            .replace("max_delay = \"10s\"", "max_delay = \"100ms\"");
        fs::write(to, text).unwrap();
    }
}

fn medallion(dir: &Path, lake: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medallion"));
    command
        .args(arguments)
        .arg("--project")
        .arg(dir)
        .arg("--lake")
        .arg(lake)
        .args(["--metrics", "off", "--log", "warn"])
        .env("KAFKA_BROKERS", crate::support::real_kafka::brokers());
    command
}

/// Killed and waited for also where the test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _may_have_ended = self.0.kill();
        self.0.wait().unwrap();
    }
}

/// By key, as everywhere: a repetition follows its original.
fn partition_of(key: Option<&[u8]>, index: u64) -> i32 {
    let hash = key.map_or(index, |key| key.iter().map(|byte| u64::from(*byte)).sum());
    i32::try_from(hash % PARTITIONS).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Payload in hex by partition and offset.
type Payloads = BTreeMap<(String, String), String>;

/// What the topic holds: one producer sends in order, so offsets count up from 0 in each partition.
fn what_was_sent(events: &Generator) -> Payloads {
    let mut next: BTreeMap<i32, i64> = BTreeMap::new();
    let mut sent = Payloads::new();
    for index in 0..EVENTS {
        let event = events.event(index);
        let partition = partition_of(event.key.as_deref(), index);
        let offset = next.entry(partition).or_default();
        let value = event.value.as_deref().map_or("NULL".to_owned(), hex);
        sent.insert((partition.to_string(), offset.to_string()), value);
        *offset += 1;
    }
    sent
}

#[test]
#[ignore = "needs a broker: MEDALLION_TEST_KAFKA=host:port"]
fn however_often_it_is_killed_every_record_of_kafka_is_there_once() {
    let topic = Topic::create("killed", 4, &[]);
    let dir = tempfile::tempdir().unwrap();
    declare(dir.path(), topic.topic());
    let views = Views::new(&topic);
    let lake = views.path("bronze").parent().unwrap().parent().unwrap().to_owned();
    let events = lively();
    let produced = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let producing = scope.spawn(|| {
            let sender = Sender::new(&topic);
            for index in 0..EVENTS {
                let event = events.event(index);
                sender.event(&event, Some(partition_of(event.key.as_deref(), index)));
                produced.store(index, Ordering::SeqCst);
                if index % 20 == 0 {
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            sender.flush();
        });
        let mut rng = rand::rng();
        for _ in 0..KILLS {
            let running = Running(
                medallion(dir.path(), &lake, &["run", "-p", "view_log"])
                    .stdout(Stdio::null())
                    .spawn()
                    .unwrap(),
            );
            std::thread::sleep(Duration::from_millis(rng.random_range(300..2_500)));
            drop(running);
        }
        producing.join().unwrap();
    });
    assert!(produced.load(Ordering::SeqCst) == EVENTS - 1);

    let last = medallion(
        dir.path(),
        &lake,
        &["run", "-p", "view_log", "--once", "--close-windows"],
    )
    .output()
    .unwrap();
    assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));
    let text = String::from_utf8(last.stdout).unwrap();
    let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert!(summary["pipelines"].is_array(), "{summary}");

    let rows = views.query("select \"partition\", \"offset\", value from bronze where kind = 'record'");
    assert_eq!(rows.len() as u64, EVENTS, "lost or doubled");
    let got: Payloads = rows
        .into_iter()
        .map(|row| ((row[0].clone(), row[1].clone()), row[2].clone()))
        .collect();
    assert!(got == what_was_sent(&events), "bronze is not what was sent");
    assert_eq!(views.fates(), crate::kafka::suite::expected(&events, EVENTS));
    let report = views.audit();
    let (counted, late) = views.counted();
    assert_eq!(counted + late, report.silver);
    let starts = "select count(*) from bronze where kind = 'tick' and cast(value as varchar) like '%\"start\"%'";
    assert!(views.number(starts) > 2, "the killed runs came to nothing");
}
