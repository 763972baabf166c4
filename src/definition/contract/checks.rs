//! The constraints of one property, in the type of its column.

use regex::Regex;

use super::super::raw::{Node, Reader, Report, Spot, Value};
use super::super::{Check, FieldKind};

const BOUNDS: [&str; 4] = ["minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"];
const TEXT: [&str; 3] = ["minLength", "maxLength", "pattern"];
const CHOICE: [&str; 2] = ["enum", "const"];

/// Marks the constraints as seen, where the type is unknown and nothing can be said about them.
pub(super) fn skip(reader: &mut Reader<'_>) {
    for key in BOUNDS.into_iter().chain(TEXT).chain(CHOICE) {
        reader.node(key);
    }
}

/// The constraints that `reader`'s object declares for a value of `kind`.
pub(super) fn read(kind: FieldKind, nullable: bool, reader: &mut Reader<'_>, report: &mut Report) -> Vec<Check> {
    let mut checks = Vec::new();
    match kind {
        FieldKind::Int32 | FieldKind::Int64 => {
            integer_bounds(kind, reader, &mut checks, report);
            choice(kind, nullable, reader, &mut checks, report);
            refuse(&TEXT, kind, reader, report);
        }
        FieldKind::Float64 => {
            float_bounds(reader, &mut checks, report);
            refuse(&TEXT, kind, reader, report);
            refuse(&CHOICE, kind, reader, report);
        }
        FieldKind::String => {
            text(reader, &mut checks, report);
            choice(kind, nullable, reader, &mut checks, report);
            refuse(&BOUNDS, kind, reader, report);
        }
        FieldKind::Boolean | FieldKind::Timestamp | FieldKind::Date => {
            refuse(&BOUNDS, kind, reader, report);
            refuse(&TEXT, kind, reader, report);
            refuse(&CHOICE, kind, reader, report);
        }
    }
    checks
}

fn refuse(keys: &[&'static str], kind: FieldKind, reader: &mut Reader<'_>, report: &mut Report) {
    for key in keys {
        if reader.node(key).is_some() {
            let message = format!("{key} is not supported for {}", noun(kind));
            report.add(
                &reader.spot(key),
                message,
                Some("write it as an [[expect]] of silver.toml".to_owned()),
            );
        }
    }
}

fn noun(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::String => "a string",
        FieldKind::Boolean => "a boolean",
        FieldKind::Int32 | FieldKind::Int64 => "an integer",
        FieldKind::Float64 => "a number",
        FieldKind::Timestamp => "a date-time",
        FieldKind::Date => "a date",
    }
}

fn integer_bounds(kind: FieldKind, reader: &mut Reader<'_>, checks: &mut Vec<Check>, report: &mut Report) {
    let (mut low, mut high) = match kind {
        FieldKind::Int32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    };
    for key in BOUNDS {
        let Some(node) = reader.node(key) else { continue };
        let at = reader.spot(key);
        // Exclusive bounds and fractions become the nearest integer that is still allowed.
        let bound = match (&node.value, key) {
            (Value::Integer(bound), "exclusiveMinimum") => bound.checked_add(1),
            (Value::Integer(bound), "exclusiveMaximum") => bound.checked_sub(1),
            (Value::Integer(bound), _) => Some(*bound),
            (Value::Float(bound), "minimum") => whole(bound.ceil()),
            (Value::Float(bound), "maximum") => whole(bound.floor()),
            (Value::Float(bound), "exclusiveMinimum") => whole(bound.floor() + 1.0),
            (Value::Float(bound), _) => whole(bound.ceil() - 1.0),
            _ => {
                report.add(&at, format!("must be a number, not {}", node.value.kind()), None);
                continue;
            }
        };
        let Some(bound) = bound else {
            report.add(&at, "does not fit a 64-bit integer", None);
            continue;
        };
        if key.ends_with("inimum") {
            low = low.max(bound);
            checks.push(Check::MinInt(bound));
        } else {
            high = high.min(bound);
            checks.push(Check::MaxInt(bound));
        }
        if low > high {
            report.add(&at, "leaves no value that would be allowed", None);
        }
    }
}

fn whole(bound: f64) -> Option<i64> {
    // 2^63 itself is a double and no i64; both ends are exact.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the range is checked and the value is whole"
    )]
    (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0)
        .contains(&bound)
        .then_some(bound as i64)
}

fn float_bounds(reader: &mut Reader<'_>, checks: &mut Vec<Check>, report: &mut Report) {
    let (mut low, mut high) = (f64::NEG_INFINITY, f64::INFINITY);
    for key in BOUNDS {
        let Some(node) = reader.node(key) else { continue };
        let at = reader.spot(key);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a number is a double, so its bound is one too"
        )]
        let bound = match node.value {
            Value::Integer(bound) => bound as f64,
            Value::Float(bound) if bound.is_finite() => bound,
            _ => {
                report.add(&at, format!("must be a number, not {}", node.value.kind()), None);
                continue;
            }
        };
        let exclusive = key.starts_with("exclusive");
        if key.ends_with("inimum") {
            low = low.max(bound);
            checks.push(Check::MinFloat(bound, exclusive));
        } else {
            high = high.min(bound);
            checks.push(Check::MaxFloat(bound, exclusive));
        }
        if low > high {
            report.add(&at, "leaves no value that would be allowed", None);
        }
    }
}

fn text(reader: &mut Reader<'_>, checks: &mut Vec<Check>, report: &mut Report) {
    let shortest = length("minLength", reader, report);
    let longest = length("maxLength", reader, report);
    if shortest
        .zip(longest)
        .is_some_and(|(shortest, longest)| shortest > longest)
    {
        report.add(&reader.spot("maxLength"), "leaves no value that would be allowed", None);
    }
    checks.extend(shortest.map(Check::MinLength));
    checks.extend(longest.map(Check::MaxLength));
    if let Some(pattern) = reader.text("pattern", report) {
        match Regex::new(&pattern.value) {
            Ok(regex) => checks.push(Check::Pattern(regex)),
            Err(error) => {
                let reason = error.to_string();
                let reason = reason
                    .lines()
                    .last()
                    .unwrap_or_default()
                    .trim_start_matches("error: ")
                    .to_owned();
                report.add(
                    &pattern.at,
                    format!("{:?} is not a regular expression: {reason}", pattern.value),
                    None,
                );
            }
        }
    }
}

fn length(key: &'static str, reader: &mut Reader<'_>, report: &mut Report) -> Option<usize> {
    let node = reader.node(key)?;
    let value = match node.value {
        Value::Integer(value) => usize::try_from(value).ok(),
        Value::Float(value) if value.fract() == 0.0 => whole(value).and_then(|value| usize::try_from(value).ok()),
        _ => None,
    };
    if value.is_none() {
        report.add(&reader.spot(key), "must be an integer of at least 0", None);
    }
    value
}

fn choice(kind: FieldKind, nullable: bool, reader: &mut Reader<'_>, checks: &mut Vec<Check>, report: &mut Report) {
    for key in CHOICE {
        let Some(node) = reader.node(key) else { continue };
        let at = reader.spot(key);
        let items = match &node.value {
            Value::List(items) if key == "enum" => items.as_slice(),
            _ if key == "const" => std::slice::from_ref(node),
            _ => {
                report.add(&at, format!("must be a list, not {}", node.value.kind()), None);
                continue;
            }
        };
        // Null in a choice says no more than the type does: constraints are about values that are there.
        let values = items
            .iter()
            .filter(|item| !(nullable && matches!(item.value, Value::Null)));
        let check = if kind == FieldKind::String {
            values
                .map(|item| choice_text(item, &at, report))
                .collect::<Option<Vec<_>>>()
                .map(Check::OneOf)
        } else {
            values
                .map(|item| choice_integer(item, &at, report))
                .collect::<Option<Vec<_>>>()
                .map(Check::OneOfInt)
        };
        match check {
            Some(Check::OneOf(values)) if values.is_empty() => {
                report.add(&at, "leaves no value that would be allowed", None)
            }
            Some(Check::OneOfInt(values)) if values.is_empty() => {
                report.add(&at, "leaves no value that would be allowed", None)
            }
            check => checks.extend(check),
        }
    }
}

fn choice_text(item: &Node, at: &Spot, report: &mut Report) -> Option<String> {
    if let Value::Text { text, .. } = &item.value {
        return Some(text.clone());
    }
    report.add(at, format!("must have strings only, not {}", item.value.kind()), None);
    None
}

fn choice_integer(item: &Node, at: &Spot, report: &mut Report) -> Option<i64> {
    let found = match item.value {
        Value::Integer(value) => Some(value),
        Value::Float(value) if value.fract() == 0.0 => whole(value),
        _ => None,
    };
    if found.is_none() {
        report.add(at, format!("must have integers only, not {}", item.value.kind()), None);
    }
    found
}
