//! The model's reading of a payload: the whole tree first, then member by member.

use std::collections::BTreeSet;
use std::fmt;

use chrono::NaiveDate;
use regex::Regex;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// A valid event.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    pub view_id: String,
    pub start_timestamp: i64,
    pub end_timestamp: i64,
    pub banner_id: i64,
    pub campaign_id: i32,
}

const MEMBERS: [&str; 5] = [
    "view_id",
    "start_timestamp",
    "end_timestamp",
    "banner_id",
    "campaign_id",
];

/// The event in a payload, or the reason for which it is rejected.
pub fn view(payload: Option<&[u8]>, closed: bool) -> Result<View, &'static str> {
    let payload = payload.ok_or("malformed")?;
    let tree: Value = serde_json::from_slice(payload).map_err(|_| "malformed")?;
    if depth(&tree) > 64 {
        return Err("malformed");
    }
    if !tree.is_object() {
        return Err("schema");
    }
    let Members(members) = serde_json::from_slice(payload).map_err(|_| "malformed")?;
    let names: BTreeSet<&String> = members.iter().map(|(name, _)| name).collect();
    if names.len() < members.len() {
        return Err("malformed");
    }
    if closed && names.iter().any(|name| !MEMBERS.contains(&name.as_str())) {
        return Err("schema");
    }
    typed(&tree).ok_or("schema")
}

fn typed(tree: &Value) -> Option<View> {
    let view_id = tree.get("view_id")?.as_str()?;
    if view_id.is_empty() {
        return None;
    }
    Some(View {
        view_id: view_id.to_owned(),
        start_timestamp: instant(tree.get("start_timestamp")?.as_str()?)?,
        end_timestamp: instant(tree.get("end_timestamp")?.as_str()?)?,
        banner_id: integer(tree.get("banner_id")?)?,
        campaign_id: i32::try_from(integer(tree.get("campaign_id")?)?).ok()?,
    })
}

fn integer(value: &Value) -> Option<i64> {
    if value.is_i64() || value.is_u64() {
        return value.as_i64();
    }
    let number = value.as_f64()?;
    let whole = number.trunc() == number && number.abs() < 2_f64.powi(53);
    whole.then(|| format!("{number:.0}").parse().unwrap())
}

/// The instant by a pattern for its form and chrono for its calendar.
pub fn instant(text: &str) -> Option<i64> {
    thread_local! {
        static FORM: Regex = Regex::new(
            r"^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))?$",
        )
        .unwrap();
    }
    if !text.is_ascii() {
        return None;
    }
    let parts = FORM.with(|form| form.captures(text))?;
    let number = |part: usize| parts.get(part).map_or(0_u32, |found| found.as_str().parse().unwrap());
    let fraction = format!("{:0<6}", parts.get(7).map_or("0", |found| found.as_str()));
    let date = NaiveDate::from_ymd_opt(i32::try_from(number(1)).unwrap(), number(2), number(3))?;
    let time = date.and_hms_micro_opt(number(4), number(5), number(6), fraction[..6].parse().unwrap())?;
    if number(9) > 23 || number(10) > 59 {
        return None;
    }
    let east = i64::from(number(9) * 60 + number(10)) * 60 * super::SECOND;
    let sign = if parts.get(8).is_some_and(|sign| sign.as_str() == "-") {
        -1
    } else {
        1
    };
    let micros = time.and_utc().timestamp_micros() - sign * east;
    let first = NaiveDate::from_ymd_opt(1, 1, 1)?
        .and_hms_opt(0, 0, 0)?
        .and_utc()
        .timestamp_micros();
    let end = NaiveDate::from_ymd_opt(10_000, 1, 1)?
        .and_hms_opt(0, 0, 0)?
        .and_utc()
        .timestamp_micros();
    (first..end)
        .contains(&micros)
        .then_some(micros)
        .filter(|_| number(1) > 0)
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// An object's members as written, repeated ones too.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}
