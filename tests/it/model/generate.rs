//! Bronze as it may come: good views, repeated ones, poison, ticks, several partitions.

use chrono::{DateTime, SecondsFormat};
use medallion::definition::OnMissing;
use medallion::layer::bronze::{Gap, Reason, Tick};
use proptest::prelude::*;

use super::view_log::Settings;
use super::{BronzeRow, Record, SECOND};

/// 2026-03-01T23:50:00Z: events cross a day.
pub const BASE: i64 = 1_772_409_000 * SECOND;

/// All that silver's semantics can be switched by.
pub fn settings() -> impl Strategy<Value = Settings> {
    (
        // On the grid of the events, so that limits are met exactly.
        prop::option::weighted(0.8, (0..8_i64).prop_map(|step| step * 600 * SECOND)),
        prop::option::of((0..30_i64).prop_map(|step| step * 10 * SECOND)),
        prop_oneof![Just(OnMissing::Reject), Just(OnMissing::Null)],
        any::<bool>(),
    )
        .prop_map(|(max_ahead, within, on_missing, closed)| Settings {
            max_ahead,
            within,
            on_missing,
            closed,
        })
}

/// Up to `most` bronze rows.
pub fn bronze(most: usize) -> impl Strategy<Value = Vec<BronzeRow>> {
    prop::collection::vec(prop_oneof![7 => view(), 2 => poison(), 1 => tick()], 0..most).prop_map(|mut rows| {
        let mut next = [0_i64; 4];
        for row in &mut rows {
            if let BronzeRow::Record(record) = row {
                let offset = &mut next[record.partition as usize];
                record.offset = *offset;
                *offset += 1 + record.ingested_at % 3;
            }
        }
        rows
    })
}

/// The payload of a view.
pub fn payload(id: u32, start: i64, end: i64, banner: i64, campaign: i64) -> String {
    let time = |micros: i64| {
        let time = DateTime::from_timestamp_micros(micros).unwrap();
        time.to_rfc3339_opts(SecondsFormat::Micros, true)
    };
    format!(
        r#"{{"view_id":"view-{id}","start_timestamp":"{}","end_timestamp":"{}","banner_id":{banner},"campaign_id":{campaign}}}"#,
        time(start),
        time(end)
    )
}

/// A view, mostly good: few ids so that they repeat, on a coarse grid so that times are equal, at times long ago, or
/// ahead of its record by more than it may be.
fn view() -> impl Strategy<Value = BronzeRow> {
    let end = prop_oneof![
        8 => (0..120_i64).prop_map(|step| BASE + step * 10 * SECOND),
        1 => (0..600_i64).prop_map(|second| BASE + second * SECOND - 1),
        1 => Just(BASE - 86_400 * SECOND),
        1 => Just(32_472_144_000 * SECOND),
        1 => Just(-SECOND),
    ];
    let duration = prop_oneof![
        6 => (0..60_i64).prop_map(|second| second * SECOND),
        1 => Just(7000),
        1 => Just(-1),
        1 => Just(-999),
    ];
    let banner = prop_oneof![6 => 1..5_i64, 1 => Just(0_i64), 1 => Just(2_i64), 1 => Just(i64::MIN)];
    let campaign = prop_oneof![6 => 1..4_i64, 1 => Just(4_i64), 1 => Just(9_i64), 1 => Just(4_294_967_297_i64)];
    (0..12_u32, end, duration, banner, campaign, place()).prop_map(
        |(id, end, duration, banner, campaign, mut record)| {
            let text = payload(id, end - duration, end, banner, campaign);
            record.value = Some(text.into_bytes());
            // Most records carry a timestamp near the event; those without are judged by when they were read.
            record.timestamp = record
                .timestamp
                .map(|delay| if end > 2 * BASE { BASE } else { end + delay });
            BronzeRow::Record(record)
        },
    )
}

/// A place for a record; the timestamp is a delay against the event.
fn place() -> impl Strategy<Value = Record> {
    let timestamp = prop::option::weighted(0.8, (-6..2_i64).prop_map(|step| step * 600 * SECOND));
    let ingested_at = BASE..BASE + 1200 * SECOND;
    (0..4_i32, timestamp, ingested_at).prop_map(|(partition, timestamp, ingested_at)| Record {
        topic: if partition == 3 { "other/topic" } else { "view_log" }.to_owned(),
        partition,
        offset: 0,
        timestamp,
        value: None,
        ingested_at,
    })
}

fn poison() -> impl Strategy<Value = BronzeRow> {
    let payloads = prop::sample::select(poisons());
    let torn = (view(), 0..250_usize, any::<u8>()).prop_map(|(row, at, byte)| {
        let BronzeRow::Record(Record {
            value: Some(mut value), ..
        }) = row
        else {
            return Some(vec![byte]);
        };
        let at = at % value.len();
        value[at] = byte;
        Some(value)
    });
    (prop_oneof![3 => payloads, 1 => torn], place()).prop_map(|(value, mut record)| {
        record.value = value;
        record.timestamp = record.timestamp.map(|delay| BASE + delay);
        BronzeRow::Record(record)
    })
}

/// Payloads that went wrong somewhere once; some of them are events all the same.
pub fn poisons() -> Vec<Option<Vec<u8>>> {
    let good = payload(1, BASE, BASE + SECOND, 1, 1);
    let with = |from: &str, to: &str| good.replace(from, to);
    let deep = |levels: usize| with("{", &format!("{{\"x\":{}{},", "[".repeat(levels), "]".repeat(levels)));
    let texts = vec![
        String::new(),
        " ".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        format!("{good}{good}"),
        format!("{good} "),
        format!("\u{feff}{good}"),
        good[..good.len() - 1].to_owned(),
        with("view-1", "\\ud800"),
        with("view-1", "\\u0076iew-1"),
        with("view-1", &"v".repeat(1 << 16)),
        with("\"view-1\"", "\"\""),
        with("\"view-1\"", "null"),
        with("\"view_id\":\"view-1\",", ""),
        with("{", "{\"view_id\":\"view-1\","),
        with("{", "{\"view\\u005fid\":\"view-1\","),
        with("{", "{\"more\":{\"view_id\":[1,2]},"),
        with("{", "{\"more\":1,\"more\":2,"),
        with("{", "{\"more\":1e999,"),
        with("{", "{\"more\":\"\\udc00\","),
        deep(63),
        deep(64),
        deep(200),
        "[".repeat(100_000),
        with("\"banner_id\":1", "\"banner_id\":1.9"),
        with("\"banner_id\":1", "\"banner_id\":1.0"),
        with("\"banner_id\":1", "\"banner_id\":1e0"),
        with("\"banner_id\":1", "\"banner_id\":-0"),
        with("\"banner_id\":1", "\"banner_id\":\"1\""),
        with("\"banner_id\":1", "\"banner_id\":NaN"),
        with("\"banner_id\":1", "\"banner_id\":9223372036854775807"),
        with("\"banner_id\":1", "\"banner_id\":9223372036854775808"),
        with("\"banner_id\":1", "\"banner_id\":-9223372036854775809"),
        with("\"banner_id\":1", "\"banner_id\":9007199254740993.0"),
        with("\"campaign_id\":1", "\"campaign_id\":2147483648"),
        with("\"campaign_id\":1", "\"campaign_id\":true"),
        with("2026-03-01T23:50:00.000000Z", "2026-03-02 01:20:00+01:30"),
        with("2026-03-01T23:50:00.000000Z", "2026-03-01t23:50:00.123456789"),
        with("2026-03-01T23:50:00.000000Z", "2026-03-01T23:50:60Z"),
        with("2026-03-01T23:50:00.000000Z", "2026-02-29T00:00:00Z"),
        with("2026-03-01T23:50:00.000000Z", "0001-01-01T00:00:00Z"),
        with("2026-03-01T23:50:00.000000Z", "1772409000"),
        with("\"2026-03-01T23:50:00.000000Z\"", "1772409000"),
    ];
    let mut payloads: Vec<Option<Vec<u8>>> = texts.into_iter().map(|text| Some(text.into_bytes())).collect();
    payloads.push(None);
    payloads.push(Some(good.replace("view-1", "view\u{1}").into_bytes()));
    payloads.push(Some([good.as_bytes(), b"\0"].concat()));
    payloads.push(Some(
        good.bytes()
            .map(|byte| if byte == b'v' { 0xff } else { byte })
            .collect(),
    ));
    payloads
}

fn tick() -> impl Strategy<Value = BronzeRow> {
    let reason = prop_oneof![
        3 => Just(Reason::Start),
        4 => Just(Reason::Idle),
        3 => Just(Reason::Quiet),
        1 => Just(Reason::End),
        1 => Just(Reason::Gap),
    ];
    // Per partition: listed as active, listed as idle, or not listed.
    let listed = prop::array::uniform4(0..3_u8);
    (reason, listed, 0..600_000_u64).prop_map(|(reason, listed, quiet_ms)| {
        let named = |state: u8| -> Vec<String> {
            let listed = listed.iter().enumerate().filter(|(_, it)| **it == state);
            let names = listed.map(|(partition, _)| match partition {
                3 => "other/topic/3".to_owned(),
                _ => format!("view_log/{partition}"),
            });
            names.collect()
        };
        BronzeRow::Tick(Tick {
            reason,
            at: "2026-03-01T23:50:00Z".to_owned(),
            active: named(0),
            idle: named(1),
            quiet_ms: if reason == Reason::Quiet { quiet_ms } else { 0 },
            gap: (reason == Reason::Gap).then(|| Gap {
                partition: "view_log/0".to_owned(),
                from: 0,
                to: 5,
                why: None,
            }),
        })
    })
}
