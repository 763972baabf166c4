//! Instants and dates of the event contract.
//!
//! An instant is RFC 3339, or the same without zone, which then is UTC; `T`, `t` or a space stands between date and
//! time; a fraction has one to nine digits and is cut to microseconds. Years are 0001 to 9999 in UTC. There are no
//! leap seconds (`:60`), no hour 24, no other calendar.

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// 0001-01-01T00:00:00Z and the first instant of the year 10000, in seconds.
const YEARS: std::ops::Range<i64> = -62_135_596_800..253_402_300_800;

/// The instant in microseconds since the Unix epoch, or why it is none.
pub(in crate::layer::silver) fn parse_instant(text: &str) -> Result<i64, &'static str> {
    let bytes = text.as_bytes();
    let (head, tail) = bytes.split_at_checked(19).ok_or("it is too short")?;
    let &[
        d0,
        d1,
        d2,
        d3,
        d4,
        d5,
        d6,
        d7,
        d8,
        d9,
        b'T' | b't' | b' ',
        h0,
        h1,
        b':',
        m0,
        m1,
        b':',
        s0,
        s1,
    ] = head
    else {
        return Err("it does not read YYYY-MM-DDTHH:MM:SS");
    };
    let days = days(&[d0, d1, d2, d3, d4, d5, d6, d7, d8, d9])?;
    let clock = || Some((two(h0, h1)?, two(m0, m1)?, two(s0, s1)?));
    let (hour, minute, second) = clock().ok_or("the time has a character that is no digit")?;
    if hour > 23 || minute > 59 || second > 59 {
        return Err("there is no such time of day");
    }
    let (micros, zone) = fraction(tail)?;
    let seconds = i64::from(days) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - offset(zone)?;
    if !YEARS.contains(&seconds) {
        return Err("the year is not 0001 to 9999");
    }
    Ok(seconds * MICROS_PER_SECOND + micros)
}

/// The date in days since the Unix epoch, or why it is none.
pub(in crate::layer::silver) fn parse_date(text: &str) -> Result<i32, &'static str> {
    let bytes: &[u8; 10] = text.as_bytes().try_into().map_err(|_| "it does not read YYYY-MM-DD")?;
    days(bytes)
}

fn days(date: &[u8; 10]) -> Result<i32, &'static str> {
    let &[y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1] = date else {
        return Err("the date does not read YYYY-MM-DD");
    };
    let parts = || Some((two(y0, y1)? * 100 + two(y2, y3)?, two(m0, m1)?, two(d0, d1)?));
    let (year, month, day) = parts().ok_or("the date has a character that is no digit")?;
    if year < 1 || !(1..=12).contains(&month) || day < 1 || day > month_length(year, month) {
        return Err("there is no such day");
    }
    // Days from civil: years begin in March, so that the leap day is the last of its year.
    let shifted = if month > 2 { year } else { year - 1 };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    i32::try_from(era * 146_097 + day_of_era - 719_468).map_err(|_| "the year is not 0001 to 9999")
}

fn month_length(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The microseconds of an optional fraction, and what follows it.
fn fraction(tail: &[u8]) -> Result<(i64, &[u8]), &'static str> {
    let Some(rest) = tail.strip_prefix(b".") else {
        return Ok((0, tail));
    };
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, zone) = rest.split_at_checked(count).unwrap_or((rest, &[]));
    if digits.is_empty() || digits.len() > 9 {
        return Err("the fraction of the second needs one to nine digits");
    }
    let micros = (0..6).fold(0, |micros, place| {
        micros * 10 + digits.get(place).map_or(0, |digit| i64::from(digit - b'0'))
    });
    Ok((micros, zone))
}

/// Seconds east of UTC.
fn offset(zone: &[u8]) -> Result<i64, &'static str> {
    let (sign, parts) = match *zone {
        [] | [b'Z' | b'z'] => return Ok(0),
        [b'+', h0, h1, b':', m0, m1] => (1, (two(h0, h1), two(m0, m1))),
        [b'-', h0, h1, b':', m0, m1] => (-1, (two(h0, h1), two(m0, m1))),
        _ => return Err("the zone does not read Z or +HH:MM"),
    };
    match parts {
        (Some(hours @ 0..=23), Some(minutes @ 0..=59)) => Ok(sign * (hours * 3600 + minutes * 60)),
        _ => Err("there is no such zone"),
    }
}

fn two(tens: u8, ones: u8) -> Option<i64> {
    (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Datelike, NaiveDate};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_accepted_forms_name_the_same_instant() {
        for text in [
            "2026-03-01T12:00:00.25Z",
            "2026-03-01t12:00:00.250z",
            "2026-03-01 12:00:00.25",
            "2026-03-01T13:30:00.250000999+01:30",
            "2026-03-01T12:00:00.25-00:00",
        ] {
            assert_eq!(parse_instant(text), Ok(1_772_366_400_250_000), "{text}");
        }
        assert_eq!(parse_instant("0001-01-01T00:00:00Z"), Ok(-62_135_596_800_000_000));
        assert_eq!(
            parse_instant("9999-12-31T23:59:59.999999Z"),
            Ok(253_402_300_799_999_999)
        );
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "2026-03-01",
            "2026-03-01T12:00",
            "2026-03-01T12:00:60Z",
            "2026-03-01T24:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "0000-12-31T00:00:00Z",
            "0001-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "2026-03-01T12:00:00.Z",
            "2026-03-01T12:00:00.0123456789Z",
            "2026-03-01T12:00:00,5Z",
            "2026-03-01T12:00:00+0100",
            "2026-03-01T12:00:00 Z",
            "2026-03-01T12:00:00Z ",
            "+026-03-01T12:00:00Z",
            "2026-03-01_12:00:00Z",
            "２026-03-01T12:00Z",
        ] {
            assert!(parse_instant(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn instants_agree_with_chrono(micros in -62_135_596_800_000_000_i64..253_402_300_800_000_000) {
            let written = DateTime::from_timestamp_micros(micros).unwrap();
            prop_assert_eq!(parse_instant(&written.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()), Ok(micros));
        }

        #[test]
        fn dates_agree_with_chrono(days in -719_162_i32..2_932_896) {
            let date = NaiveDate::from_num_days_from_ce_opt(days + 719_163).unwrap();
            prop_assert_eq!(date.num_days_from_ce() - 719_163, days);
            prop_assert_eq!(parse_date(&date.format("%Y-%m-%d").to_string()), Ok(days));
        }
    }
}
