//! Payloads that go wrong somewhere, each with the fate it must have.

use crate::model::SECOND;
use crate::model::generate::{BASE, payload};

/// A payload, and `accepted` or the reason under which it must be in rejects.
pub struct Poison {
    pub name: &'static str,
    pub value: Option<Vec<u8>>,
    pub fate: &'static str,
}

/// A sound event.
pub fn good(id: u32) -> String {
    payload(id, BASE, BASE + SECOND, 1, 1)
}

/// Every kind once; `id` makes those unique that are events all the same.
pub fn catalogue(id: u32) -> Vec<Poison> {
    let mut all = not_json(id);
    all.extend(not_one_object(id));
    all.extend(not_the_contract(id));
    all.extend(odd_and_sound(id));
    all
}

fn poison(name: &'static str, value: impl Into<Vec<u8>>, fate: &'static str) -> Poison {
    Poison {
        name,
        value: Some(value.into()),
        fate,
    }
}

fn not_json(id: u32) -> Vec<Poison> {
    let good = good(id);
    let with = |from: &str, to: &str| good.replacen(from, to, 1);
    let bad_utf8: Vec<u8> = good
        .bytes()
        .map(|byte| if byte == b'v' { 0xff } else { byte })
        .collect();
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let raw = |bytes: &[u8]| [good.as_bytes(), bytes].concat();
    let mut all = vec![Poison {
        name: "tombstone",
        value: None,
        fate: "malformed",
    }];
    let malformed: Vec<(&'static str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("blank", b" \t\r\n".to_vec()),
        ("invalid UTF-8", bad_utf8),
        ("UTF-16", utf16),
        (
            "UTF-8 with a byte order mark",
            [b"\xef\xbb\xbf", good.as_bytes()].concat(),
        ),
        ("lone surrogate", with("view-", "\\ud800").into()),
        ("low surrogate first", with("view-", "\\udc00\\ud800").into()),
        ("overlong UTF-8", raw(b"\xc0\x80")),
        ("a NUL byte behind it", raw(b"\0")),
        ("a NUL byte in a string", with("view-", "vi\0ew-").into()),
        ("a bare newline in a string", with("view-", "vi\new-").into()),
        ("cut short", good[..good.len() - 1].into()),
        ("cut in a string", good[..14].into()),
        ("compressed", b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec()),
        ("10 MB of nothing", vec![b'x'; 10 << 20]),
    ];
    all.extend(
        malformed
            .into_iter()
            .map(|(name, value)| poison(name, value, "malformed")),
    );
    all
}

fn not_one_object(id: u32) -> Vec<Poison> {
    let good = good(id);
    let with = |from: &str, to: &str| good.replacen(from, to, 1);
    let banner = |to: &str| with("\"banner_id\":1", &format!("\"banner_id\":{to}"));
    let malformed: Vec<(&'static str, Vec<u8>)> = vec![
        ("two objects", "{}{}".into()),
        ("two events", format!("{good}{good}").into()),
        ("two events on two lines", format!("{good}\n{good}").into()),
        ("trailing comma", with("}", ",}").into()),
        ("comment", with("{", "{/* */").into()),
        ("single quotes", good.replace('"', "'").into()),
        ("NaN", banner("NaN").into()),
        ("Infinity", banner("Infinity").into()),
        ("minus Infinity", banner("-Infinity").into()),
        ("huge exponent", banner("1e999").into()),
        ("huge exponent where nobody looks", with("{", "{\"more\":1e999,").into()),
        ("leading zero", banner("01").into()),
        ("plus sign", banner("+1").into()),
        ("no digits behind the point", banner("1.").into()),
        ("hexadecimal", banner("0x1").into()),
        ("a member twice", with("{", "{\"view_id\":\"other\",").into()),
        (
            "a member twice, once escaped",
            with("{", "{\"view\\u005fid\":\"other\",").into(),
        ),
        ("100,000 arrays deep", "[".repeat(100_000).into()),
        (
            "100,000 arrays deep and back",
            format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)).into(),
        ),
        (
            "100,000 objects deep",
            with(
                "{",
                &format!("{{\"x\":{}1{},", "{\"x\":".repeat(100_000), "}".repeat(100_000)),
            )
            .into(),
        ),
    ];
    let malformed = malformed.into_iter();
    malformed
        .map(|(name, value)| poison(name, value, "malformed"))
        .collect()
}

fn not_the_contract(id: u32) -> Vec<Poison> {
    let good = good(id);
    let with = |from: &str, to: &str| good.replacen(from, to, 1);
    let banner = |to: &str| with("\"banner_id\":1", &format!("\"banner_id\":{to}"));
    let end = |to: &str| with("\"2026-03-01T23:50:01.000000Z\"", to);
    let no_id = with(&format!("\"view_id\":\"view-{id}\","), "");
    let schema = [
        ("empty object", "{}".to_owned()),
        ("array", "[]".to_owned()),
        ("array of an event", format!("[{good}]")),
        ("number", "12".to_owned()),
        ("string", "\"view\"".to_owned()),
        ("true", "true".to_owned()),
        ("null", "null".to_owned()),
        ("no view_id", no_id),
        ("null view_id", with(&format!("\"view-{id}\""), "null")),
        ("empty view_id", with(&format!("\"view-{id}\""), "\"\"")),
        ("number as view_id", with(&format!("\"view-{id}\""), "7")),
        ("more than a long", banner("9223372036854775808")),
        ("less than a long", banner("-9223372036854775809")),
        ("40 digits", banner(&"9".repeat(40))),
        (
            "more than an int",
            with("\"campaign_id\":1", "\"campaign_id\":2147483648"),
        ),
        ("a fraction as int", banner("1.5")),
        ("a string as int", banner("\"1\"")),
        ("true as int", banner("true")),
        ("a number as time", end("1772409000")),
        ("a leap second", end("\"2026-03-01T23:50:60Z\"")),
        ("no such day", end("\"2026-02-29T00:00:00Z\"")),
        ("the year 10000", end("\"10000-01-01T00:00:00Z\"")),
    ];
    let mut all: Vec<Poison> = schema
        .into_iter()
        .map(|(name, value)| poison(name, value, "schema"))
        .collect();
    all.extend([
        poison(
            "far future",
            payload(id, BASE, 32_472_144_000 * SECOND, 1, 1),
            "event_time",
        ),
        poison("unknown campaign", payload(id, BASE, BASE, 1, 999), "lookup"),
        poison("ends before it began", payload(id, BASE, BASE - 1, 1, 1), "expectation"),
        poison("minus zero", banner("-0"), "expectation"),
    ]);
    all
}

fn odd_and_sound(id: u32) -> Vec<Poison> {
    let good = good(id);
    let with = |from: &str, to: &str| good.replacen(from, to, 1);
    let banner = |to: &str| with("\"banner_id\":1", &format!("\"banner_id\":{to}"));
    let old = "0001-01-01T00:00:00Z";
    let past = good
        .replace("2026-03-01T23:50:00.000000Z", old)
        .replace("2026-03-01T23:50:01.000000Z", old);
    let sound = [
        ("far past", past),
        ("view_id of 1 MB", with("view-", &"v".repeat(1 << 20))),
        ("1e3 as int", banner("1e3")),
        ("1.0 as int", banner("1.0")),
        ("the largest long", banner("9223372036854775807")),
        ("a NUL in a string, escaped", with("view-", "\\u0000")),
        ("a pair of surrogates", with("view-", "\\ud83d\\ude00")),
        ("blanks around", format!(" \n{good}\t ")),
        ("a member nobody knows", with("{", "{\"more\":{\"view_id\":[1,{}]},")),
    ];
    sound
        .into_iter()
        .map(|(name, value)| poison(name, value, "accepted"))
        .collect()
}
