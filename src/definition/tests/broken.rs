//! A small good project, and a way to break it: what is told must point at file, line and key.

use std::fs;
use std::path::Path;

use crate::definition::load;

pub(super) const BRONZE: &str = r#"[source]
kind = "kafka"
brokers = "localhost:9092"
topic = "things"
[source.options]
"security.protocol" = "SASL_SSL"
[commit]
max_rows = 10
"#;

const SILVER: &str = r#"schema = "thing.json"
event_time = "at"
max_ahead = "1h"
dedupe = { key = ["id"], within = "1d" }
[[lookup]]
file = "data/regions.csv"
on = ["place"]
take = ["region"]
on_missing = "null"
[[derive]]
name = "large"
sql = "size > 10"
[[derive]]
name = "double_size"
sql = "case when large then size * 2 end"
[[expect]]
name = "sized"
check = "size > 0"
on_fail = "reject"
"#;

pub(super) const GOLD: &str = r#"[[table]]
name = "per_minute"
window = { tumbling = "1m", start = "minute" }
watermark = "10s"
group_by = ["region"]
partition_by = ["minute"]
[table.columns]
total = "sum(size)"
mean = { sql = "avg(size)", description = "mean size" }
"#;

const SCHEMA: &str = r#"{
  "type": "object",
  "required": ["id", "at", "place"],
  "properties": {
    "id": { "type": "string" },
    "at": { "type": "string", "format": "date-time" },
    "place": { "type": "integer", "format": "int32" },
    "size": { "type": "integer", "minimum": 1 },
    "weight": { "type": "number" }
  }
}
"#;

const REGIONS: &str = "place,region\n1,north\n2,south\n";

const FILES: [(&str, &str); 5] = [
    ("layers/things/bronze.toml", BRONZE),
    ("layers/things/silver.toml", SILVER),
    ("layers/things/gold.toml", GOLD),
    ("schemas/thing.json", SCHEMA),
    ("data/regions.csv", REGIONS),
];

/// Problems as `file:line:key: message (suggestion)`, of the good project with `from` replaced by `to` in one file.
pub(super) fn problems(edits: &[(&str, &str, &str)]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    for (file, text) in FILES {
        let mut text = text.to_owned();
        for (edited, from, to) in edits {
            if file.ends_with(edited) {
                assert!(text.contains(from), "{file} has no {from:?}");
                text = text.replace(from, to);
            }
        }
        write(folder.path(), file, text.as_bytes());
    }
    told(folder.path())
}

pub(super) fn write(folder: &Path, file: &str, bytes: &[u8]) {
    let path = folder.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

pub(super) fn told(folder: &Path) -> Vec<String> {
    let env = |name: &str| (name == "PASSWORD").then(|| "hunter2".to_owned());
    let Err(error) = load(folder, &env) else {
        return Vec::new();
    };
    assert_eq!(error.exit_code(), 4);
    assert!(!error.to_string().contains("hunter2"), "{error}");
    let root = format!("{}/", folder.display());
    error
        .problems()
        .iter()
        .map(|problem| problem.to_string().replace(&root, ""))
        .collect()
}

pub(super) fn check(file: &str, from: &str, to: &str, expected: &[&str]) {
    let found = problems(&[(file, from, to)]);
    let starts = |(found, expected): (&String, &&str)| found.contains(expected);
    let same = found.len() == expected.len() && found.iter().zip(expected).all(starts);
    assert!(
        same,
        "{file}: {from:?} -> {to:?}\nfound    {found:#?}\nexpected {expected:#?}"
    );
}
