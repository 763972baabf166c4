//! One JSON value against one field of the contract.

use std::fmt;

use super::column::{Column, Value};
use super::instant::{parse_date, parse_instant};
use crate::definition::{Check, Field, FieldKind};

/// Whole numbers below this magnitude are exact in a double.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A JSON value as the parser hands it over.
#[derive(Debug, Clone, Copy)]
pub(super) enum Datum<'a> {
    Null,
    Boolean(bool),
    Integer(i64),
    /// An integer above `i64::MAX`.
    Large(u64),
    /// A number with a fraction or an exponent, or too long for an integer.
    Number(f64),
    Text(&'a str),
    Array,
    Object,
}

impl fmt::Display for Datum<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Large(value) => write!(f, "{value}"),
            Self::Number(value) if value.abs() < EXACT => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value:e}"),
            Self::Text(value) => write!(f, "{:?}", shorten(value)),
            Self::Array => f.write_str("an array"),
            Self::Object => f.write_str("an object"),
        }
    }
}

/// The first hundred characters of a value, for a message.
pub(in crate::layer::silver) fn shorten(value: &str) -> String {
    shorten_to(value, 100)
}

/// The first `most` characters of a text that may hold a value.
pub(in crate::layer::silver) fn shorten_to(value: &str, most: usize) -> String {
    match value.char_indices().nth(most) {
        Some((end, _)) => format!("{}...", value.get(..end).unwrap_or_default()),
        None => value.to_owned(),
    }
}

/// Adds the value to the field's column.
///
/// # Errors
/// What is wrong with the value, in words; the column has a null in its place.
pub(super) fn put(field: &Field, column: &mut Column, datum: Datum<'_>) -> Result<(), String> {
    let value = match typed(field, datum) {
        Ok(value) => value,
        Err(what) => {
            column.push_null();
            return Err(format!("{}: {datum} {what}", field.name));
        }
    };
    let Some(value) = value else {
        column.push_null();
        return Ok(());
    };
    column.push(value);
    match field.checks.iter().find_map(|check| violation(check, datum, value)) {
        Some(what) => Err(format!("{}: {datum} {what}", field.name)),
        None => Ok(()),
    }
}

/// The value as the field's type, none for an allowed null; or what it is not.
fn typed<'a>(field: &Field, datum: Datum<'a>) -> Result<Option<Value<'a>>, String> {
    let value = match (field.kind, datum) {
        (_, Datum::Null) if field.nullable => return Ok(None),
        (_, Datum::Null) => return Err("is not allowed".to_owned()),
        (FieldKind::String, Datum::Text(text)) => Value::Text(text),
        (FieldKind::Boolean, Datum::Boolean(value)) => Value::Boolean(value),
        (FieldKind::Int32, _) => {
            let whole = whole(datum, "int32")?;
            Value::Int32(i32::try_from(whole).map_err(|_| "does not fit int32".to_owned())?)
        }
        (FieldKind::Int64, _) => Value::Int64(whole(datum, "int64")?),
        (FieldKind::Float64, Datum::Integer(value)) => Value::Float64(value as f64),
        (FieldKind::Float64, Datum::Large(value)) => Value::Float64(value as f64),
        (FieldKind::Float64, Datum::Number(value)) => Value::Float64(value),
        (FieldKind::Timestamp, Datum::Text(text)) => {
            Value::Timestamp(parse_instant(text).map_err(|why| format!("is not a date-time: {why}"))?)
        }
        (FieldKind::Date, Datum::Text(text)) => {
            Value::Date(parse_date(text).map_err(|why| format!("is not a date: {why}"))?)
        }
        (kind, _) => return Err(format!("is not {}", expected(kind))),
    };
    Ok(Some(value))
}

/// The integer a JSON number stands for; a zero fraction is no fraction.
fn whole(datum: Datum<'_>, range: &str) -> Result<i64, String> {
    match datum {
        Datum::Integer(value) => Ok(value),
        Datum::Number(value) if value.fract() == 0.0 && value.abs() < EXACT => Ok(value as i64),
        Datum::Number(value) if value.fract() != 0.0 => Err("has a fraction, but is declared an integer".to_owned()),
        Datum::Large(_) | Datum::Number(_) => Err(format!("does not fit {range}")),
        _ => Err(format!("is not {}", expected(FieldKind::Int64))),
    }
}

fn expected(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::String => "a string",
        FieldKind::Boolean => "true or false",
        FieldKind::Int32 | FieldKind::Int64 => "an integer",
        FieldKind::Float64 => "a number",
        FieldKind::Timestamp => "a date-time in a string",
        FieldKind::Date => "a date in a string",
    }
}

/// What the constraint says of a value that breaks it.
fn violation(check: &Check, datum: Datum<'_>, value: Value<'_>) -> Option<String> {
    let integer = match value {
        Value::Int32(value) => Some(i64::from(value)),
        Value::Int64(value) => Some(value),
        _ => None,
    };
    let number = match value {
        Value::Float64(value) => Some(value),
        _ => integer.map(|value| value as f64),
    };
    // String constraints hold for what is written, also where it stands for an instant.
    let text = match datum {
        Datum::Text(text) => Some(text),
        _ => None,
    };
    match check {
        Check::MinInt(least) => match integer {
            Some(value) => (value < *least).then(|| format!("is below {least}")),
            None => number
                .is_some_and(|value| value < *least as f64)
                .then(|| format!("is below {least}")),
        },
        Check::MaxInt(most) => match integer {
            Some(value) => (value > *most).then(|| format!("is above {most}")),
            None => number
                .is_some_and(|value| value > *most as f64)
                .then(|| format!("is above {most}")),
        },
        Check::MinFloat(least, exclusive) => number
            .is_some_and(|value| value < *least || (*exclusive && value == *least))
            .then(|| format!("is not above {least}")),
        Check::MaxFloat(most, exclusive) => number
            .is_some_and(|value| value > *most || (*exclusive && value == *most))
            .then(|| format!("is not below {most}")),
        Check::MinLength(least) => text
            .is_some_and(|text| text.chars().take(*least).count() < *least)
            .then(|| format!("has fewer than {least} characters")),
        Check::MaxLength(most) => text
            .is_some_and(|text| text.len() > *most && text.chars().count() > *most)
            .then(|| format!("has more than {most} characters")),
        Check::Pattern(pattern) => text
            .is_some_and(|text| !pattern.is_match(text))
            .then(|| format!("does not match {}", pattern.as_str())),
        Check::OneOf(known) => text
            .is_some_and(|text| !known.iter().any(|known| known == text))
            .then(|| format!("is not one of {}", shorten(&known.join(", ")))),
        Check::OneOfInt(known) => integer
            .is_some_and(|value| !known.contains(&value))
            .then(|| format!("is not one of {}", shorten(&format!("{known:?}")))),
    }
}
