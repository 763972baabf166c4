//! `silver.toml`: how a record becomes a row.
//!
//! Expressions are checked in the order in which silver computes: contract, lookups, derived columns one after the
//! other, then rules. A column whose own declaration is wrong is known by name, so it causes no second problem.

mod lookup;
mod rules;

use std::path::Path;
use std::time::Duration;

use super::columns;
use super::near::did_you_mean;
use super::raw::{Env, Reader, Report, Spot, Written, duration, parse_toml};
use super::{Contract, Dedupe, EVENT_DATE, Field, FieldKind, Problem, Silver, commit, contract, fingerprint, keep};

/// The silver layer in `file`, or every problem of it, its schema and its reference data.
pub(super) fn read(file: &Path, project: &Path, env: Env<'_>) -> Result<Silver, Vec<Problem>> {
    let mut report = Report::new(file);
    let mut elsewhere = Vec::new();
    let silver = report
        .read()
        .and_then(|text| parse_toml(&text, env, &mut report))
        .and_then(|root| {
            let reader = Reader::new(&root, "", &mut report)?;
            layer(reader, project, &mut report, &mut elsewhere)
        });
    let clean = report.is_clean() && elsewhere.is_empty();
    match silver {
        Some(silver) if clean => Ok(silver),
        _ => {
            let mut problems = report.into_problems();
            problems.append(&mut elsewhere);
            Err(problems)
        }
    }
}

fn layer(mut root: Reader<'_>, project: &Path, report: &mut Report, elsewhere: &mut Vec<Problem>) -> Option<Silver> {
    let contract = schema(&mut root, project, report, elsewhere);
    let event_time = root.need_text("event_time", report);
    if let Some((contract, event_time)) = contract.as_ref().zip(event_time.as_ref()) {
        check_event_time(contract, event_time, report);
    }
    let max_ahead = root.duration("max_ahead", report).map(|written| written.value);
    let partition_by = partition_by(&mut root, report);
    let dedupe = dedupe(&mut root, contract.as_ref(), report);
    let commit = commit::read(&mut root, commit::SILVER, report);
    let keep = keep::silver(&mut root, dedupe.as_ref(), report);
    let mut scope = rules::Scope::new(contract.as_ref());
    let lookups = lookup::read(&mut root, project, &mut scope, report, elsewhere);
    if let Some(contract) = &contract {
        scope.see(columns::event_columns(contract, &lookups));
    }
    let derive = rules::derive(&mut root, &mut scope, report);
    let expects = rules::expect(&mut root, &scope, report);
    root.finish(report);
    let mut silver = Silver {
        contract: contract?,
        event_time: event_time?.value,
        max_ahead,
        derive,
        lookups,
        expects,
        dedupe,
        partition_by,
        fingerprint: String::new(),
        commit,
        keep,
    };
    silver.fingerprint = fingerprint::hash(&fingerprint::describe_silver(&silver));
    Some(silver)
}

fn schema(
    root: &mut Reader<'_>,
    project: &Path,
    report: &mut Report,
    elsewhere: &mut Vec<Problem>,
) -> Option<Contract> {
    let name = root.need_text("schema", report)?;
    // A path out of the project is the operator's own wish, for contracts that projects share. It is only ever read,
    // and no message quotes what is not JSON.
    let file = project.join("schemas").join(&name.value);
    if name.value.is_empty() || !file.is_file() {
        report.add(&name.at, format!("there is no file {}", file.display()), None);
        return None;
    }
    contract::read(&file)
        .map_err(|mut problems| elsewhere.append(&mut problems))
        .ok()
}

fn check_event_time(contract: &Contract, event_time: &Written<String>, report: &mut Report) {
    let Some(field) = known_field(contract, event_time, report) else {
        return;
    };
    let name = &event_time.value;
    if field.kind != FieldKind::Timestamp {
        let suggestion = "\"type\": \"string\", \"format\": \"date-time\" in the schema".to_owned();
        report.add(
            &event_time.at,
            format!("column {name:?} is not a timestamp"),
            Some(suggestion),
        );
    } else if field.nullable || !field.required {
        let suggestion = "make it required and not null in the schema".to_owned();
        report.add(
            &event_time.at,
            format!("column {name:?} can be null, but every event needs its time"),
            Some(suggestion),
        );
    }
}

fn known_field<'a>(contract: &'a Contract, name: &Written<String>, report: &mut Report) -> Option<&'a Field> {
    let found = contract.fields.iter().find(|field| field.name == name.value);
    if found.is_none() {
        let known = contract.fields.iter().map(|field| field.name.as_str());
        let suggestion = did_you_mean(&name.value, known);
        report.add(
            &name.at,
            format!("there is no column {:?} in the schema", name.value),
            suggestion,
        );
    }
    found
}

fn partition_by(root: &mut Reader<'_>, report: &mut Report) -> Vec<String> {
    let Some(columns) = root.texts("partition_by", report) else {
        return vec![EVENT_DATE.to_owned()];
    };
    for (place, column) in columns.iter().enumerate() {
        if column.value != EVENT_DATE {
            let message = format!("silver cannot be partitioned by {:?}", column.value);
            report.add(
                &column.at,
                message,
                Some(format!("write [{EVENT_DATE:?}], or [] for none")),
            );
        } else if place > 0 {
            report.add(&column.at, format!("{:?} is there twice", column.value), None);
        }
    }
    columns.into_iter().map(|column| column.value).collect()
}

fn dedupe(root: &mut Reader<'_>, contract: Option<&Contract>, report: &mut Report) -> Option<Dedupe> {
    let mut reader = root.table("dedupe", report)?;
    let key = reader
        .need("key", report)
        .then(|| reader.texts("key", report))
        .flatten();
    let key_at = reader.spot("key");
    let within = reader
        .need_text("within", report)
        .and_then(|within| memory(&within, report));
    reader.finish(report);
    let key = key?;
    if key.is_empty() {
        report.add(&key_at, "must name at least one column", None);
    }
    for (place, column) in key.iter().enumerate() {
        if key.iter().take(place).any(|earlier| earlier.value == column.value) {
            report.add(&column.at, format!("{:?} is there twice", column.value), None);
        }
        let Some(field) = contract.and_then(|contract| known_field(contract, column, report)) else {
            continue;
        };
        if field.nullable || !field.required {
            let message = format!("column {:?} can be null, and null identifies nothing", column.value);
            report.add(
                &column.at,
                message,
                Some("make it required and not null in the schema".to_owned()),
            );
        } else if field.kind == FieldKind::Float64 {
            let message = format!(
                "column {:?} is a double, which identifies nothing exactly",
                column.value
            );
            report.add(&column.at, message, None);
        }
    }
    Some(Dedupe {
        key: key.into_iter().map(|column| column.value).collect(),
        within: within?,
    })
}

/// How long keys are remembered; the inner none is forever.
#[expect(clippy::option_option, reason = "the outer one says whether it was readable")]
fn memory(within: &Written<String>, report: &mut Report) -> Option<Option<Duration>> {
    if within.value == "forever" {
        return Some(None);
    }
    let fault = match duration(&within.value) {
        Ok(length) if length > Duration::ZERO => return Some(Some(length)),
        Ok(_) => "must be more than 0".to_owned(),
        Err(message) => format!("{message}, or \"forever\""),
    };
    report.add(&Spot::new(within.at.line, within.at.key.as_str()), fault, None);
    None
}
