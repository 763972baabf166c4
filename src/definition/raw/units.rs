//! Durations and sizes as people write them.

use std::time::Duration;

const MICRO: u64 = 1;
const SECOND: u64 = 1_000_000;

const TIME_UNITS: [(&str, u64); 7] = [
    ("us", MICRO),
    ("ms", 1_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3_600 * SECOND),
    ("d", 86_400 * SECOND),
    ("w", 604_800 * SECOND),
];

const SIZE_UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// The longest duration that can be declared: a hundred years, far from the end of 64-bit microseconds.
const LONGEST: u64 = 36_525 * 86_400 * SECOND;

/// A duration such as `10s`, `250ms`, `1m`, `1h`, `1d`: a whole number and a unit, so always whole microseconds.
pub(in crate::definition) fn duration(text: &str) -> Result<Duration, String> {
    let known = "write a whole number with one of us, ms, s, m, h, d, w: \"10s\"";
    let micros = quantity(text, &TIME_UNITS).ok_or_else(|| format!("{text:?} is not a duration: {known}"))?;
    if micros > LONGEST {
        return Err(format!("{text:?} is longer than a hundred years"));
    }
    Ok(Duration::from_micros(micros))
}

/// A size such as `64MiB`, `1GB`, `512`: a whole number and a unit, bytes where there is none.
pub(in crate::definition) fn bytes(text: &str) -> Result<u64, String> {
    let known = "write a whole number with one of B, KiB, MiB, GiB, kB, MB, GB: \"64MiB\"";
    text.trim()
        .parse()
        .ok()
        .or_else(|| quantity(text, &SIZE_UNITS))
        .ok_or_else(|| format!("{text:?} is not a size: {known}"))
}

fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let (digits, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit())?);
    let (_, scale) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    digits.parse::<u64>().ok()?.checked_mul(*scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_numbers_with_a_unit() {
        for (text, millis) in [
            ("10s", 10_000),
            ("250ms", 250),
            ("1m", 60_000),
            ("1h", 3_600_000),
            ("1 d", 86_400_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "10",
            "s",
            "1.5s",
            "-1s",
            "1y",
            "10 sec",
            "99999999999999999999s",
            "40000000d",
            "forever",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_whole_numbers_with_or_without_a_unit() {
        for (text, size) in [
            ("64MiB", 64 << 20),
            ("1GB", 1_000_000_000),
            ("512", 512),
            ("2 kB", 2_000),
            ("0B", 0),
        ] {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for text in ["", "MiB", "1.5MiB", "-1", "1 mb", "99999999999GiB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
