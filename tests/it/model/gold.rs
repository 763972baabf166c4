//! The model's gold: `views_per_minute`, all windows from all rows.

use std::collections::BTreeMap;

use super::{GoldRow, LateRow, SECOND, SilverRow};

/// Window length and delay of `views_per_minute`, in microseconds.
pub const MINUTE: i64 = 60 * SECOND;
pub const DELAY: i64 = 10 * SECOND;

/// The closed windows at `watermark`, by window, campaign and network (no network first), and the late rows by seq.
pub fn gold(silver: &[SilverRow], watermark: Option<i64>) -> (Vec<GoldRow>, Vec<LateRow>) {
    let mut windows: BTreeMap<(i64, i32, Option<i32>), Vec<i64>> = BTreeMap::new();
    let mut late = Vec::new();
    let closed = |start: i64, watermark: Option<i64>| watermark.is_some_and(|mark| start + MINUTE + DELAY <= mark);
    for row in silver {
        let start = row.end_timestamp.div_euclid(MINUTE) * MINUTE;
        if closed(start, row.watermark) {
            late.push(LateRow {
                seq: row.seq,
                minute_timestamp: start,
                campaign_id: row.campaign_id,
                network_id: row.network_id,
            });
            continue;
        }
        let group = windows.entry((start, row.campaign_id, row.network_id)).or_default();
        group.push(row.end_timestamp - row.start_timestamp);
    }
    let rows = windows
        .into_iter()
        .filter(|((start, _, _), _)| closed(*start, watermark));
    let rows = rows.map(|((start, campaign_id, network_id), durations)| GoldRow {
        campaign_id,
        network_id,
        minute_timestamp: start,
        avg_duration: durations.iter().sum::<i64>() as f64 / (1_000_000.0 * durations.len() as f64),
        total_count: i32::try_from(durations.len()).unwrap(),
    });
    (rows.collect(), late)
}

#[test]
fn a_row_is_late_from_the_instant_at_which_its_window_closes() {
    let row = |seq: i64, end: i64, watermark: i64| SilverRow {
        view_id: seq.to_string(),
        start_timestamp: end - 2 * SECOND,
        end_timestamp: end,
        banner_id: 1,
        campaign_id: 1,
        network_id: Some(10),
        duration_ms: 2000,
        event_date: 0,
        seq,
        partition: 0,
        offset: seq,
        timestamp: None,
        watermark: Some(watermark),
    };
    let rows = [
        row(0, 59_999_999, 0),
        row(1, 0, 69_999_999),
        row(2, 0, 70_000_000),
        row(3, MINUTE, 70_000_000),
    ];
    let (gold_rows, late) = gold(&rows, Some(70_000_000));
    assert_eq!(late.iter().map(|row| row.seq).collect::<Vec<_>>(), [2]);
    assert_eq!(
        gold_rows,
        [GoldRow {
            campaign_id: 1,
            network_id: Some(10),
            minute_timestamp: 0,
            avg_duration: 2.0,
            total_count: 2
        }]
    );
    assert_eq!(gold(&rows, Some(69_999_999)).0, []);
    assert_eq!(gold(&rows, Some(i64::MAX)).0.len(), 2);
}
