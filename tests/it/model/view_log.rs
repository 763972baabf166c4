//! The pipeline of the model: ad views, with the switches that change silver's semantics.

use std::path::PathBuf;
use std::time::Duration;

use medallion::definition::{
    Check, CommitPolicy, Contract, Dedupe, Derive, Expect, Field, FieldKind, Lookup, OnFail, OnMissing, Silver,
};
use medallion::layer::silver::Reference;

/// The reference data: campaign to network. Campaign 4 has none.
pub const CAMPAIGNS: [(i32, Option<i32>); 4] = [(1, Some(10)), (2, Some(10)), (3, Some(30)), (4, None)];

/// What a test may vary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Microseconds.
    pub max_ahead: Option<i64>,
    /// Microseconds; none: forever.
    pub within: Option<i64>,
    pub on_missing: OnMissing,
    /// Whether undeclared members are an error.
    pub closed: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_ahead: Some(3600 * super::SECOND),
            within: None,
            on_missing: OnMissing::Reject,
            closed: false,
        }
    }
}

/// The definition that the model stands for.
pub fn silver(settings: &Settings) -> Silver {
    let duration = |micros: i64| Duration::from_micros(micros.unsigned_abs());
    Silver {
        contract: contract(settings.closed),
        event_time: "end_timestamp".to_owned(),
        max_ahead: settings.max_ahead.map(duration),
        derive: vec![Derive {
            name: "duration_ms".to_owned(),
            sql: "cast(end_timestamp - start_timestamp as bigint) / 1000".to_owned(),
            description: "how long the view lasted, in milliseconds".to_owned(),
        }],
        lookups: vec![Lookup {
            file: PathBuf::from("data/campaigns.csv"),
            on: vec!["campaign_id".to_owned()],
            take: vec![("network_id".to_owned(), FieldKind::Int32)],
            on_missing: settings.on_missing,
        }],
        expects: vec![
            expect(
                "ended_after_started",
                "end_timestamp >= start_timestamp",
                OnFail::Reject,
            ),
            expect("no_robot", "duration_ms <> 7", OnFail::Drop),
            expect("sound_banner", "100 / banner_id <> 50", OnFail::Drop),
            expect("known_banner", "banner_id < 5", OnFail::Warn),
            expect("in_a_network", "network_id > 0 or campaign_id <> 4", OnFail::Reject),
        ],
        dedupe: Some(Dedupe {
            key: vec!["view_id".to_owned()],
            within: settings.within.map(duration),
        }),
        partition_by: vec!["event_date".to_owned()],
        fingerprint: String::new(),
        keep: None,
        commit: CommitPolicy {
            max_rows: 1000,
            max_bytes: 1 << 20,
            max_delay: Duration::from_secs(1),
        },
    }
}

/// The reference data as the program reads it.
pub fn references(silver: &Silver) -> Vec<Reference> {
    let mut csv = "campaign_id,name,network_id\n".to_owned();
    for (campaign, network) in CAMPAIGNS {
        let network = network.map(|network| network.to_string()).unwrap_or_default();
        csv.push_str(&format!("{campaign},\"the, name\",{network}\n"));
    }
    let parse = |lookup| Reference::parse(lookup, &silver.contract, csv.as_bytes()).unwrap();
    silver.lookups.iter().map(parse).collect()
}

fn contract(closed: bool) -> Contract {
    let field = |name: &str, kind| Field {
        name: name.to_owned(),
        kind,
        required: true,
        nullable: false,
        description: format!("the {name}"),
        checks: Vec::new(),
    };
    let mut view_id = field("view_id", FieldKind::String);
    view_id.checks = vec![Check::MinLength(1)];
    Contract {
        description: "one view of a banner".to_owned(),
        fields: vec![
            view_id,
            field("start_timestamp", FieldKind::Timestamp),
            field("end_timestamp", FieldKind::Timestamp),
            field("banner_id", FieldKind::Int64),
            field("campaign_id", FieldKind::Int32),
        ],
        closed,
    }
}

fn expect(name: &str, sql: &str, on_fail: OnFail) -> Expect {
    Expect {
        name: name.to_owned(),
        sql: sql.to_owned(),
        on_fail,
    }
}
