//! One property of the contract: its type, whether it may be null, its constraints.

use super::super::near::did_you_mean_or_list;
use super::super::raw::{Reader, Report, Spot, Value};
use super::super::{Field, FieldKind};
use super::checks;

const TYPES: [&str; 4] = ["string", "integer", "number", "boolean"];

/// The field that `reader`'s object declares; `required` is decided by the object around it.
pub(super) fn read(name: &str, mut reader: Reader<'_>, report: &mut Report) -> Field {
    let description = super::annotations(&mut reader, report);
    let (word, nullable) = type_word(&mut reader, report).unwrap_or(("", false));
    let kind = kind(word, &mut reader, report);
    let checks = match kind {
        Some(kind) => checks::read(kind, nullable, &mut reader, report),
        None => {
            checks::skip(&mut reader);
            Vec::new()
        }
    };
    super::refuse_keywords(reader, report);
    Field {
        name: name.to_owned(),
        // Without a type there is a problem, and with a problem nobody sees the field.
        kind: kind.unwrap_or(FieldKind::String),
        required: false,
        nullable,
        description,
        checks,
    }
}

fn type_word(reader: &mut Reader<'_>, report: &mut Report) -> Option<(&'static str, bool)> {
    if !reader.need("type", report) {
        return None;
    }
    let at = reader.spot("type");
    if let Some(Value::Text { .. }) = reader.node("type").map(|node| &node.value) {
        let word = reader.text("type", report)?.value;
        return Some((known(&word, &at, report)?, false));
    }
    let words = reader.texts("type", report)?;
    let nullable = words.iter().any(|word| word.value == "null");
    let mut others = words.iter().filter(|word| word.value != "null");
    match (others.next(), others.next()) {
        (Some(word), None) => Some((known(&word.value, &word.at, report)?, nullable)),
        _ => {
            report.add(&at, "must be one type, or one type and \"null\"", None);
            None
        }
    }
}

fn known(word: &str, at: &Spot, report: &mut Report) -> Option<&'static str> {
    let found = TYPES.into_iter().find(|known| *known == word);
    if found.is_none() {
        let message = format!("the type {word:?} has no column type");
        report.add(at, message, did_you_mean_or_list(word, &TYPES));
    }
    found
}

fn kind(word: &str, reader: &mut Reader<'_>, report: &mut Report) -> Option<FieldKind> {
    let format = reader.text("format", report);
    let formats: &[(&str, FieldKind)] = match word {
        "string" => &[("date-time", FieldKind::Timestamp), ("date", FieldKind::Date)],
        "integer" => &[("int64", FieldKind::Int64), ("int32", FieldKind::Int32)],
        "number" | "boolean" => &[],
        _ => return None,
    };
    let plain = match word {
        "string" => FieldKind::String,
        "integer" => FieldKind::Int64,
        "number" => FieldKind::Float64,
        _ => FieldKind::Boolean,
    };
    let Some(format) = format else {
        return Some(plain);
    };
    let found = formats.iter().find(|(name, _)| *name == format.value);
    if found.is_none() {
        let names: Vec<&str> = formats.iter().map(|(name, _)| *name).collect();
        let message = format!("the format {:?} of a {word} is not supported", format.value);
        report.add(&format.at, message, did_you_mean_or_list(&format.value, &names));
    }
    found.map(|(_, kind)| *kind)
}
