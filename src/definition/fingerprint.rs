//! What a definition means, as text: the table remembers it, and `run` says what changed.
//!
//! Left out is what changes no row: comments, white space, descriptions, commit policies, the source, and the content
//! of reference data, whose change is recorded by the commits that use it.

use arrow::datatypes::DataType;
use twox_hash::XxHash3_128;

use super::expression::{canonical, check_aggregate};
use super::{Check, Field, Gold, OnFail, OnMissing, Silver, silver_schema};

/// The meaning of a definition: dotted key to canonical value, in a fixed order.
pub type Meaning = Vec<(String, String)>;

/// The meaning of a silver definition, its schema included.
pub fn describe_silver(silver: &Silver) -> Meaning {
    let mut meaning = Vec::new();
    let mut say = |key: String, value: String| meaning.push((key, value));
    let fields = silver.contract.fields.iter();
    say(
        "schema.columns".into(),
        fields
            .clone()
            .map(|field| field.name.as_str())
            .collect::<Vec<_>>()
            .join(", "),
    );
    let closed = if silver.contract.closed { "refused" } else { "ignored" };
    say("schema.additionalProperties".into(), closed.into());
    for field in fields {
        say(format!("schema.{}", field.name), describe_field(field));
    }
    say("event_time".into(), silver.event_time.clone());
    if let Some(ahead) = silver.max_ahead {
        say("max_ahead".into(), format!("{}us", ahead.as_micros()));
    }
    say("partition_by".into(), silver.partition_by.join(", "));
    if let Some(dedupe) = &silver.dedupe {
        say("dedupe.key".into(), dedupe.key.join(", "));
        let within = dedupe
            .within
            .map_or_else(|| "forever".to_owned(), |within| format!("{}us", within.as_micros()));
        say("dedupe.within".into(), within);
    }
    for (place, lookup) in silver.lookups.iter().enumerate() {
        say(format!("lookup[{place}].file"), lookup.file.display().to_string());
        say(format!("lookup[{place}].on"), lookup.on.join(", "));
        let take = lookup
            .take
            .iter()
            .map(|(name, kind)| format!("{name} {}", type_word(&kind.data_type())));
        say(format!("lookup[{place}].take"), take.collect::<Vec<_>>().join(", "));
        let missing = match lookup.on_missing {
            OnMissing::Reject => "reject",
            OnMissing::Null => "null",
        };
        say(format!("lookup[{place}].on_missing"), missing.into());
    }
    let names: Vec<&str> = silver.derive.iter().map(|derive| derive.name.as_str()).collect();
    say("derive".into(), names.join(", "));
    for derive in &silver.derive {
        say(format!("derive.{}", derive.name), canonical(&derive.sql));
    }
    let names: Vec<&str> = silver.expects.iter().map(|expect| expect.name.as_str()).collect();
    say("expect".into(), names.join(", "));
    for expect in &silver.expects {
        say(format!("expect.{}.check", expect.name), canonical(&expect.sql));
        let on_fail = match expect.on_fail {
            OnFail::Warn => "warn",
            OnFail::Drop => "drop",
            OnFail::Reject => "reject",
            OnFail::Halt => "halt",
        };
        say(format!("expect.{}.on_fail", expect.name), on_fail.into());
    }
    meaning
}

/// The meaning of a gold definition, with name and type of every silver column it reads.
pub fn describe_gold(gold: &Gold, silver: &Silver) -> Meaning {
    let mut meaning = Vec::new();
    let mut say = |key: String, value: String| meaning.push((key, value));
    say(
        "window.tumbling".into(),
        format!("{}us", gold.window.length.as_micros()),
    );
    say("window.start".into(), gold.window.start.clone());
    if let Some(date) = &gold.window.date {
        say("window.date".into(), date.clone());
    }
    say("watermark".into(), format!("{}us", gold.watermark.as_micros()));
    say("group_by".into(), gold.group_by.join(", "));
    for column in &gold.columns {
        say(format!("columns.{}", column.name), canonical(&column.sql));
    }
    say("partition_by".into(), gold.partition_by.join(", "));
    say("order".into(), gold.column_order.join(", "));
    say("silver.event_time".into(), silver.event_time.clone());
    let Ok(schema) = silver_schema(silver) else {
        return meaning;
    };
    let mut reads = gold.group_by.clone();
    for column in &gold.columns {
        reads.extend(
            check_aggregate(&column.sql, &schema, &gold.group_by)
                .map(|found| found.reads)
                .unwrap_or_default(),
        );
    }
    reads.sort();
    reads.dedup();
    for field in reads.iter().filter_map(|name| schema.field_with_name(name).ok()) {
        let null = if field.is_nullable() { ", can be null" } else { "" };
        say(
            format!("silver.{}", field.name()),
            format!("{}{null}", type_word(field.data_type())),
        );
    }
    meaning
}

/// What differs between two meanings, for a person: `key: before -> after`.
pub fn changes(before: &[(String, String)], after: &[(String, String)]) -> Vec<String> {
    let find = |meaning: &[(String, String)], key: &str| {
        meaning.iter().find(|(it, _)| it == key).map(|(_, value)| value.clone())
    };
    let mut changes = Vec::new();
    for (key, old) in before {
        match find(after, key) {
            Some(new) if new != *old => changes.push(format!("{key}: {old} -> {new}")),
            Some(_) => {}
            None => changes.push(format!("{key}: {old} -> (gone)")),
        }
    }
    for (key, new) in after {
        if find(before, key).is_none() {
            changes.push(format!("{key}: (new) -> {new}"));
        }
    }
    changes
}

/// The fingerprint of a meaning: xxh3-128, hex.
pub(super) fn hash(meaning: &[(String, String)]) -> String {
    let mut text = String::new();
    for (key, value) in meaning {
        // Lengths keep a line break inside a value from looking like the next key.
        text.push_str(&format!("{}:{key}={}:{value}\n", key.len(), value.len()));
    }
    format!("{:032x}", XxHash3_128::oneshot(text.as_bytes()))
}

fn describe_field(field: &Field) -> String {
    let mut words = vec![type_word(&field.kind.data_type()).to_owned()];
    words.push(if field.required { "required" } else { "optional" }.to_owned());
    words.push(if field.nullable { "or null" } else { "not null" }.to_owned());
    words.extend(field.checks.iter().map(describe_check));
    words.join(", ")
}

fn describe_check(check: &Check) -> String {
    match check {
        Check::MinInt(bound) => format!("at least {bound}"),
        Check::MaxInt(bound) => format!("at most {bound}"),
        Check::MinFloat(bound, false) => format!("at least {bound}"),
        Check::MinFloat(bound, true) => format!("more than {bound}"),
        Check::MaxFloat(bound, false) => format!("at most {bound}"),
        Check::MaxFloat(bound, true) => format!("less than {bound}"),
        Check::MinLength(length) => format!("length at least {length}"),
        Check::MaxLength(length) => format!("length at most {length}"),
        Check::Pattern(regex) => format!("matches {}", regex.as_str()),
        Check::OneOf(values) => format!("one of {values:?}"),
        Check::OneOfInt(values) => format!("one of {values:?}"),
    }
}

fn type_word(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Utf8 => "string",
        DataType::Boolean => "boolean",
        DataType::Int32 => "int32",
        DataType::Int64 => "int64",
        DataType::Float64 => "double",
        DataType::Timestamp(_, _) => "timestamp",
        DataType::Date32 => "date",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn what_changes_no_row_changes_no_fingerprint() {
        let before = hash(&describe_silver(&samples::silver()));
        let mut silver = samples::silver();
        silver.commit.max_rows += 1;
        silver.contract.description = "another".to_owned();
        silver.contract.fields[0].description = "another".to_owned();
        silver.derive[0].sql = " size>10 /* why */  and\n region='north' ".to_owned();
        assert_eq!(hash(&describe_silver(&silver)), before);
        assert_eq!(before.len(), 32);
    }

    #[test]
    fn a_change_of_meaning_is_named() {
        let before = samples::silver();
        let mut after = samples::silver();
        after.contract.fields[2].checks.push(Check::MinInt(1));
        after.max_ahead = None;
        after.derive[0].sql = "size > 11".to_owned();
        let (old, new) = (describe_silver(&before), describe_silver(&after));
        assert_ne!(hash(&old), hash(&new));
        assert_eq!(
            changes(&old, &new),
            [
                "schema.size: int32, optional, not null -> int32, optional, not null, at least 1",
                "max_ahead: 3600000000us -> (gone)",
                "derive.large: size > 10 AND region = 'north' -> size > 11",
            ]
        );
    }

    #[test]
    fn gold_depends_on_the_silver_columns_it_reads_and_on_no_other() {
        let gold = samples::gold();
        let before = describe_gold(&gold, &samples::silver());
        let mut silver = samples::silver();
        silver.contract.fields[0].kind = super::super::FieldKind::Int64;
        assert_eq!(changes(&before, &describe_gold(&gold, &silver)), Vec::<String>::new());
        silver.contract.fields[2].kind = super::super::FieldKind::Int64;
        assert_eq!(
            changes(&before, &describe_gold(&gold, &silver)),
            ["silver.size: int32, can be null -> int64, can be null"]
        );
    }
}
