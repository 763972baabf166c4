//! The event contract: a subset of JSON Schema 2020-12 that maps one to one onto typed columns.
//!
//! A keyword outside of the subset is an error, never ignored: what the schema says is what silver enforces.

mod checks;
mod property;
#[cfg(test)]
mod tests;

use std::path::Path;

use super::Problem;
use super::near::did_you_mean;
use super::raw::{Node, Reader, Report, Spot, Value, parse_json};
use super::{Contract, Field};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The contract in `file`, or every problem of it.
pub(super) fn read(file: &Path) -> Result<Contract, Vec<Problem>> {
    let mut report = Report::new(file);
    let contract = report.read().and_then(|text| match parse_json(&text) {
        Ok(root) => root_object(&root, &mut report),
        Err((line, message)) => {
            report.add(&Spot::line(line), message, None);
            None
        }
    });
    match contract {
        Some(contract) if report.is_clean() => Ok(contract),
        _ => Err(report.into_problems()),
    }
}

fn root_object(root: &Node, report: &mut Report) -> Option<Contract> {
    let mut reader = Reader::new(root, "", report)?;
    if let Some(dialect) = reader.text("$schema", report)
        && dialect.value.trim_end_matches('#') != DIALECT
    {
        report.add(
            &dialect.at,
            format!("{:?} is not the dialect read here", dialect.value),
            Some(format!("write {DIALECT:?}")),
        );
    }
    let title = annotations(&mut reader, report);
    if let Some(kind) = reader.need_text("type", report)
        && kind.value != "object"
    {
        report.add(
            &kind.at,
            format!("an event must be an \"object\", not {:?}", kind.value),
            None,
        );
    }
    let closed = match reader
        .node("additionalProperties")
        .map(|node| (&node.value, node.value.kind()))
    {
        None | Some((Value::Boolean(true), _)) => false,
        Some((Value::Boolean(false), _)) => true,
        Some((_, kind)) => {
            let message = format!("must be true or false, not {kind}");
            report.add(&reader.spot("additionalProperties"), message, None);
            false
        }
    };
    let mut fields = properties(&mut reader, report);
    mark_required(&mut reader, &mut fields, report);
    refuse_keywords(reader, report);
    Some(Contract {
        description: title,
        fields,
        closed,
    })
}

fn properties(reader: &mut Reader<'_>, report: &mut Report) -> Vec<Field> {
    if !reader.need("properties", report) {
        return Vec::new();
    }
    let Some(members) = reader.table("properties", report) else {
        return Vec::new();
    };
    if members.entries().is_empty() {
        report.add(
            &reader.spot("properties"),
            "declares no member, so there would be no column",
            None,
        );
    }
    let mut columns = super::names::Columns::of_silver();
    let mut fields = Vec::new();
    for entry in members.entries() {
        let path = members.path(&entry.key);
        columns.take(&entry.key, &Spot::new(entry.line, path.as_str()), report);
        if let Some(reader) = Reader::new(&entry.node, &path, report) {
            fields.push(property::read(&entry.key, reader.on_line(entry.line), report));
        }
    }
    fields
}

fn mark_required(reader: &mut Reader<'_>, fields: &mut [Field], report: &mut Report) {
    let names = reader.texts("required", report).unwrap_or_default();
    for name in names {
        match fields.iter_mut().find(|field| field.name == name.value) {
            Some(field) if field.required => report.add(&name.at, format!("{:?} is there twice", name.value), None),
            Some(field) => field.required = true,
            None => {
                let known = fields.iter().map(|field| field.name.as_str());
                let suggestion = did_you_mean(&name.value, known);
                report.add(&name.at, format!("{:?} is not in properties", name.value), suggestion);
            }
        }
    }
}

/// Reads the keywords that say something to people only; answers the description, or the title where there is none.
fn annotations(reader: &mut Reader<'_>, report: &mut Report) -> String {
    let title = reader.text("title", report);
    let description = reader.text("description", report);
    reader.text("$id", report);
    reader.text("$comment", report);
    reader.node("examples");
    description.or(title).map(|text| text.value).unwrap_or_default()
}

fn refuse_keywords(reader: Reader<'_>, report: &mut Report) {
    reader.finish_with(report, |key, asked| {
        let suggestion = did_you_mean(key, asked.iter().copied());
        (format!("the keyword {key:?} is not supported"), suggestion)
    });
}
