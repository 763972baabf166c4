//! The model's silver: one row after the other, everything recomputed.

use std::collections::BTreeMap;

use medallion::definition::OnMissing;
use medallion::layer::bronze::{Reason, Tick};

use super::decode::{View, view};
use super::view_log::{CAMPAIGNS, Settings};
use super::{BronzeRow, Record, RejectRow, SilverRow};

const DAY: i64 = 86_400 * super::SECOND;

/// The tables that follow from bronze, and the watermark at its end.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tables {
    pub silver: Vec<SilverRow>,
    pub rejects: Vec<RejectRow>,
    pub watermark: Option<i64>,
}

/// A row with all its columns but those of its place.
struct Enriched {
    view: View,
    network_id: Option<i32>,
    duration_ms: i64,
}

/// Why a row is rejected.
#[derive(Debug, Default)]
struct Refusal {
    reason: &'static str,
    rules: Vec<&'static str>,
    duplicate_of: Option<i64>,
}

/// Silver and rejects of the whole of bronze; seq is the place in the list.
pub fn silver(bronze: &[BronzeRow], settings: &Settings) -> Tables {
    let mut tables = Tables::default();
    let mut clock = Clock::default();
    let mut first: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for (seq, row) in (0_i64..).zip(bronze) {
        let record = match row {
            BronzeRow::Tick(tick) => {
                clock.tick(tick);
                continue;
            }
            BronzeRow::Record(record) => record,
        };
        let watermark = clock.watermark;
        let partition = format!("{}/{}", record.topic, record.partition);
        clock.partitions.entry(partition.clone()).or_default().1 = false;
        let judged = enrich(record, settings)
            .and_then(|row| guard(row, record, settings))
            .and_then(|row| dedupe(row, &first, settings, watermark));
        match judged {
            Err(refusal) => tables.rejects.push(rejected(seq, record, refusal)),
            Ok(row) => {
                let time = row.view.end_timestamp;
                first.insert(row.view.view_id.clone(), (seq, time));
                let known = clock.partitions.get_mut(&partition).unwrap();
                known.0 = known.0.max(Some(time));
                clock.advance();
                tables.silver.push(accepted(seq, record, row, watermark));
            }
        }
    }
    tables.watermark = clock.watermark;
    tables
}

fn enrich(record: &Record, settings: &Settings) -> Result<Enriched, Refusal> {
    let refuse = |reason| Refusal {
        reason,
        ..Refusal::default()
    };
    let view = view(record.value.as_deref(), settings.closed).map_err(refuse)?;
    let network_id = match CAMPAIGNS.iter().find(|(campaign, _)| *campaign == view.campaign_id) {
        Some((_, network)) => *network,
        None if settings.on_missing == OnMissing::Null => None,
        None => return Err(refuse("lookup")),
    };
    let row = Enriched {
        duration_ms: (view.end_timestamp - view.start_timestamp) / 1000,
        network_id,
        view,
    };
    rules(row)
}

/// The declared rules: name, whether a failure only drops, and whether the row passes; none: it cannot be computed.
type Rule = (&'static str, bool, fn(&Enriched) -> Option<bool>);

const RULES: [Rule; 4] = [
    ("ended_after_started", false, |row| {
        Some(row.view.end_timestamp >= row.view.start_timestamp)
    }),
    ("no_robot", true, |row| Some(row.duration_ms != 7)),
    ("sound_banner", true, |row| {
        Some(100_i64.checked_div(row.view.banner_id)? != 50)
    }),
    ("in_a_network", false, |row| {
        Some(row.view.campaign_id != 4 || row.network_id.is_some_and(|network| network > 0))
    }),
];

fn rules(row: Enriched) -> Result<Enriched, Refusal> {
    let failed: Vec<&Rule> = RULES
        .iter()
        .filter(|(_, _, passes)| passes(&row) != Some(true))
        .collect();
    if failed.is_empty() {
        return Ok(row);
    }
    let drops = failed.iter().all(|(_, drops, passes)| *drops && passes(&row).is_some());
    Err(Refusal {
        reason: if drops { "dropped" } else { "expectation" },
        rules: failed.iter().map(|(name, _, _)| *name).collect(),
        duplicate_of: None,
    })
}

fn guard(row: Enriched, record: &Record, settings: &Settings) -> Result<Enriched, Refusal> {
    let reference = record.timestamp.unwrap_or(record.ingested_at);
    match settings.max_ahead {
        Some(ahead) if row.view.end_timestamp > reference + ahead => Err(Refusal {
            reason: "event_time",
            ..Refusal::default()
        }),
        _ => Ok(row),
    }
}

fn dedupe(
    row: Enriched,
    first: &BTreeMap<String, (i64, i64)>,
    settings: &Settings,
    watermark: Option<i64>,
) -> Result<Enriched, Refusal> {
    let Some((seq, time)) = first.get(&row.view.view_id) else {
        return Ok(row);
    };
    let forgotten = match (settings.within, watermark) {
        (Some(within), Some(watermark)) => watermark >= time + within,
        _ => false,
    };
    if forgotten {
        return Ok(row);
    }
    Err(Refusal {
        reason: "duplicate",
        rules: Vec::new(),
        duplicate_of: Some(*seq),
    })
}

fn accepted(seq: i64, record: &Record, row: Enriched, watermark: Option<i64>) -> SilverRow {
    SilverRow {
        event_date: i32::try_from(row.view.end_timestamp.div_euclid(DAY)).unwrap(),
        view_id: row.view.view_id,
        start_timestamp: row.view.start_timestamp,
        end_timestamp: row.view.end_timestamp,
        banner_id: row.view.banner_id,
        campaign_id: row.view.campaign_id,
        network_id: row.network_id,
        duration_ms: row.duration_ms,
        seq,
        partition: record.partition,
        offset: record.offset,
        timestamp: record.timestamp,
        watermark,
    }
}

fn rejected(seq: i64, record: &Record, refusal: Refusal) -> RejectRow {
    let kept = !["duplicate", "dropped"].contains(&refusal.reason);
    RejectRow {
        seq,
        topic: record.topic.clone(),
        partition: record.partition,
        offset: record.offset,
        timestamp: record.timestamp,
        value: record.value.clone().filter(|_| kept),
        reason: refusal.reason.to_owned(),
        rules: refusal.rules.iter().map(|rule| (*rule).to_owned()).collect(),
        duplicate_of: refusal.duplicate_of,
        ingest_date: i32::try_from(record.ingested_at.div_euclid(DAY)).unwrap(),
    }
}

/// Event time: per partition its largest event time and whether it is idle.
#[derive(Default)]
struct Clock {
    partitions: BTreeMap<String, (Option<i64>, bool)>,
    watermark: Option<i64>,
}

impl Clock {
    fn tick(&mut self, tick: &Tick) {
        if tick.reason == Reason::Gap {
            return;
        }
        for name in &tick.active {
            self.partitions.entry(name.clone()).or_default().1 = false;
        }
        for name in &tick.idle {
            self.partitions.entry(name.clone()).or_default().1 = true;
        }
        self.advance();
        let latest = self.partitions.values().filter_map(|(time, _)| *time).max();
        let floor = match tick.reason {
            Reason::Quiet => latest.map(|time| time + tick.quiet_ms as i64 * 1000),
            // The last microsecond of the year 9999.
            Reason::End => Some(253_402_300_799_999_999),
            _ => None,
        };
        self.watermark = self.watermark.max(floor);
    }

    fn advance(&mut self) {
        let active: Vec<Option<i64>> = self
            .partitions
            .values()
            .filter(|(_, idle)| !idle)
            .map(|(time, _)| *time)
            .collect();
        let candidate = if active.is_empty() {
            self.partitions.values().filter_map(|(time, _)| *time).max()
        } else if active.contains(&None) {
            None
        } else {
            active.iter().copied().flatten().min()
        };
        self.watermark = self.watermark.max(candidate);
    }
}
