//! The JSON of a view: every event differs, so it is written by hand instead of through a serializer.

use super::dice::Dice;

const HEX: &[u8; 16] = b"0123456789abcdef";
const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// What a view says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub(super) id: [u8; 36],
    /// Start, UTC microseconds.
    pub(super) start: i64,
    /// End, UTC microseconds.
    pub(super) end: i64,
    pub(super) banner: u64,
    pub(super) campaign: u64,
    pub(super) notation: Notation,
}

/// How timestamps are written. All denote the same instant to medallion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notation {
    /// `2024-05-01T12:00:00.000000Z`
    Zulu,
    /// `2024-05-01T14:00:00.000000+02:00`
    Offset,
    /// `2024-05-01T12:00:00.000000`, meaning UTC
    NoZone,
    /// `2024-05-01 12:00:00.000000`, meaning UTC
    Space,
}

impl Notation {
    /// Mostly RFC 3339 in UTC, some of the others.
    pub(super) fn pick(dice: &mut Dice) -> Self {
        match dice.below(100) {
            0..3 => Self::Offset,
            3..8 => Self::NoZone,
            8..12 => Self::Space,
            _ => Self::Zulu,
        }
    }
}

/// A random UUID, version 4.
pub(super) fn uuid(dice: &mut Dice) -> [u8; 36] {
    let bits = (u128::from(dice.next()) << 64) | u128::from(dice.next());
    let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let mut text = [b'-'; 36];
    let mut shift = 128;
    for (index, place) in text.iter_mut().enumerate() {
        if matches!(index, 8 | 13 | 18 | 23) {
            continue;
        }
        shift -= 4;
        *place = hex((bits >> shift) as u8);
    }
    text
}

fn hex(nibble: u8) -> u8 {
    HEX.get(usize::from(nibble & 0xf)).copied().unwrap_or(b'0')
}

/// The members of `view`, in order, each as `"name":value`.
pub(super) fn members(view: &View) -> [(&'static str, Vec<u8>); 5] {
    let quoted = |text: &[u8]| [b"\"", text, b"\""].concat();
    let mut start = Vec::with_capacity(34);
    let mut end = Vec::with_capacity(34);
    timestamp(&mut start, view.start, view.notation);
    timestamp(&mut end, view.end, view.notation);
    [
        ("view_id", quoted(&view.id)),
        ("start_timestamp", quoted(&start)),
        ("end_timestamp", quoted(&end)),
        ("banner_id", view.banner.to_string().into_bytes()),
        ("campaign_id", view.campaign.to_string().into_bytes()),
    ]
}

/// A JSON object of `members`, in the order given, repetitions kept.
pub(super) fn object<'a>(members: impl IntoIterator<Item = &'a (&'static str, Vec<u8>)>) -> Vec<u8> {
    let mut json = Vec::with_capacity(224);
    for (name, value) in members {
        json.push(if json.is_empty() { b'{' } else { b',' });
        json.push(b'"');
        json.extend_from_slice(name.as_bytes());
        json.extend_from_slice(b"\":");
        json.extend_from_slice(value);
    }
    json.push(b'}');
    json
}

/// Writes the instant `micros` with microseconds.
fn timestamp(out: &mut Vec<u8>, micros: i64, notation: Notation) {
    let shown = match notation {
        Notation::Offset => micros.saturating_add(7200 * SECOND),
        _ => micros,
    };
    let (year, month, day) = civil(shown.div_euclid(DAY));
    let of_day = shown.rem_euclid(DAY);
    let (seconds, fraction) = (of_day / SECOND, of_day % SECOND);
    digits(out, year, 4);
    out.push(b'-');
    digits(out, month, 2);
    out.push(b'-');
    digits(out, day, 2);
    out.push(if notation == Notation::Space { b' ' } else { b'T' });
    digits(out, seconds / 3600, 2);
    out.push(b':');
    digits(out, seconds / 60 % 60, 2);
    out.push(b':');
    digits(out, seconds % 60, 2);
    out.push(b'.');
    digits(out, fraction, 6);
    match notation {
        Notation::Zulu => out.push(b'Z'),
        Notation::Offset => out.extend_from_slice(b"+02:00"),
        Notation::NoZone | Notation::Space => {}
    }
}

fn digits(out: &mut Vec<u8>, number: i64, width: u32) {
    for place in (0..width).rev() {
        let digit = number / 10i64.pow(place) % 10;
        out.push(b'0' + digit.unsigned_abs() as u8);
    }
}

/// Year, month and day of the day `days` after 1970-01-01, proleptic Gregorian.
fn civil(days: i64) -> (i64, i64, i64) {
    // The year begins in March, so that the leap day is the last of its year.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_agree_with_the_calendar_in_every_notation() {
        let mut dice = Dice::new(1, 2);
        for round in 0..5_000 {
            // 1950 to 2150, so before the epoch and over century leap years too.
            let micros = dice.between(-631_152_000 * SECOND, 5_680_281_600 * SECOND);
            let time = chrono::DateTime::from_timestamp_micros(micros).unwrap();
            let mut zulu = Vec::new();
            timestamp(&mut zulu, micros, Notation::Zulu);
            assert_eq!(
                String::from_utf8(zulu).unwrap(),
                time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
                "round {round}"
            );
            let mut offset = Vec::new();
            timestamp(&mut offset, micros, Notation::Offset);
            let parsed = chrono::DateTime::parse_from_rfc3339(str::from_utf8(&offset).unwrap()).unwrap();
            assert_eq!(parsed.timestamp_micros(), micros);
        }
        let mut space = Vec::new();
        timestamp(&mut space, 0, Notation::Space);
        assert_eq!(space, b"1970-01-01 00:00:00.000000");
    }

    #[test]
    fn identifiers_are_version_4_uuids() {
        let mut dice = Dice::new(1, 2);
        for _ in 0..100 {
            let text = uuid(&mut dice);
            let parsed = uuid::Uuid::parse_str(str::from_utf8(&text).unwrap()).unwrap();
            assert_eq!(
                (parsed.get_version_num(), parsed.get_variant()),
                (4, uuid::Variant::RFC4122)
            );
        }
    }
}
