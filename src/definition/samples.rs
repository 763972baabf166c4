//! A small silver and gold definition for this room's tests.

use std::path::PathBuf;
use std::time::Duration;

use super::*;

fn field(name: &str, kind: FieldKind, required: bool) -> Field {
    Field {
        name: name.to_owned(),
        kind,
        required,
        nullable: false,
        description: format!("the {name}"),
        checks: Vec::new(),
    }
}

pub(super) fn silver() -> Silver {
    Silver {
        contract: Contract {
            description: "a thing".to_owned(),
            fields: vec![
                field("id", FieldKind::String, true),
                field("at", FieldKind::Timestamp, true),
                field("size", FieldKind::Int32, false),
            ],
            closed: true,
        },
        event_time: "at".to_owned(),
        max_ahead: Some(Duration::from_secs(3600)),
        derive: vec![Derive {
            name: "large".to_owned(),
            sql: "size > 10 and region = 'north'".to_owned(),
            description: "whether it is large".to_owned(),
        }],
        lookups: vec![Lookup {
            file: PathBuf::from("data/regions.csv"),
            on: vec!["id".to_owned()],
            take: vec![("region".to_owned(), FieldKind::String)],
            on_missing: OnMissing::Null,
        }],
        expects: Vec::new(),
        dedupe: None,
        partition_by: vec!["event_date".to_owned()],
        fingerprint: String::new(),
        commit: CommitPolicy {
            max_rows: 10,
            max_bytes: 1000,
            max_delay: Duration::from_secs(1),
        },
        keep: None,
    }
}

pub(super) fn gold() -> Gold {
    Gold {
        name: "per_minute".to_owned(),
        description: "things per minute".to_owned(),
        window: Window {
            length: Duration::from_secs(60),
            start: "minute".to_owned(),
            date: Some("day".to_owned()),
        },
        keep: None,
        watermark: Duration::from_secs(10),
        group_by: vec!["region".to_owned()],
        columns: vec![Aggregate {
            name: "total".to_owned(),
            sql: "sum(size)".to_owned(),
            description: "their size".to_owned(),
        }],
        partition_by: vec!["day".to_owned()],
        column_order: ["minute", "region", "day", "total"].map(str::to_owned).to_vec(),
        fingerprint: String::new(),
    }
}
