//! `[[lookup]]`: reference data joined to the row, checked against its CSV file.

use std::path::{Path, PathBuf};

use super::super::near::{did_you_mean, did_you_mean_or_list};
use super::super::raw::{Reader, Report, Spot, Value, Written};
use super::super::{FieldKind, Lookup, OnMissing, Problem, reference};
use super::rules::Scope;

const TYPES: [(&str, FieldKind); 7] = [
    ("string", FieldKind::String),
    ("boolean", FieldKind::Boolean),
    ("int32", FieldKind::Int32),
    ("int64", FieldKind::Int64),
    ("double", FieldKind::Float64),
    ("timestamp", FieldKind::Timestamp),
    ("date", FieldKind::Date),
];

/// The declared lookups; problems of their files go to `elsewhere`.
pub(super) fn read(
    root: &mut Reader<'_>,
    project: &Path,
    scope: &mut Scope<'_>,
    report: &mut Report,
    elsewhere: &mut Vec<Problem>,
) -> Vec<Lookup> {
    let mut lookups = Vec::new();
    for reader in root.tables("lookup", report) {
        lookups.extend(one(reader, project, scope, report, elsewhere));
    }
    lookups
}

fn one(
    mut reader: Reader<'_>,
    project: &Path,
    scope: &mut Scope<'_>,
    report: &mut Report,
    elsewhere: &mut Vec<Problem>,
) -> Option<Lookup> {
    let words = [("reject", OnMissing::Reject), ("null", OnMissing::Null)];
    let file = reader.need_text("file", report);
    let on = columns("on", &mut reader, report);
    let take = columns("take", &mut reader, report);
    let types = types(&mut reader, &take, report);
    let on_missing = reader
        .word("on_missing", &words, report)
        .map_or(OnMissing::Reject, |word| word.value);
    reader.finish(report);
    for column in &take {
        scope.names.take(&column.value, &column.at, report);
    }
    let on_kinds = on_kinds(&on, scope, report);
    let found = file
        .as_ref()
        .and_then(|file| open(file, project, report, elsewhere))
        .and_then(|table| {
            let known = missing(&on, &table, report) & missing(&take, &table, report);
            (known && !on.is_empty()).then_some(table)
        });
    let Some(table) = found else {
        scope.broken.extend(take.into_iter().map(|column| column.value));
        return None;
    };
    let take: Vec<(String, FieldKind)> = take
        .into_iter()
        .map(|column| {
            let declared = types
                .iter()
                .find(|(name, _)| *name == column.value)
                .map(|(_, kind)| *kind);
            let kind = declared.unwrap_or_else(|| table.infer(&column.value));
            (column.value, kind)
        })
        .collect();
    // The key is judged in the type of the event's column, or as text where the schema is wrong.
    elsewhere.extend(table.check(&on_kinds, &take));
    Some(Lookup {
        file: PathBuf::from(file?.value),
        on: on_kinds.into_iter().map(|(name, _)| name).collect(),
        take,
        on_missing,
    })
}

fn columns(key: &'static str, reader: &mut Reader<'_>, report: &mut Report) -> Vec<Written<String>> {
    if !reader.need(key, report) {
        return Vec::new();
    }
    let names = reader.texts(key, report);
    if names.as_ref().is_some_and(Vec::is_empty) {
        report.add(&reader.spot(key), "must name at least one column", None);
    }
    names.unwrap_or_default()
}

fn types(reader: &mut Reader<'_>, take: &[Written<String>], report: &mut Report) -> Vec<(String, FieldKind)> {
    let Some(types) = reader.table("types", report) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in types.entries() {
        let at = Spot::new(entry.line, types.path(&entry.key));
        if !take.iter().any(|column| column.value == entry.key) {
            let suggestion = did_you_mean(&entry.key, take.iter().map(|column| column.value.as_str()));
            report.add(&at, format!("{:?} is not in take", entry.key), suggestion);
        }
        let Value::Text { text, .. } = &entry.node.value else {
            report.add(
                &at,
                format!("must be the name of a type, not {}", entry.node.value.kind()),
                None,
            );
            continue;
        };
        match TYPES.iter().find(|(word, _)| word == text) {
            Some((_, kind)) => found.push((entry.key.clone(), *kind)),
            None => {
                let words: Vec<&str> = TYPES.iter().map(|(word, _)| *word).collect();
                report.add(
                    &at,
                    format!("{text:?} is not a type"),
                    did_you_mean_or_list(text, &words),
                );
            }
        }
    }
    found
}

fn on_kinds(on: &[Written<String>], scope: &Scope<'_>, report: &mut Report) -> Vec<(String, FieldKind)> {
    let mut kinds = Vec::new();
    for column in on {
        let kind = scope.kind(&column.value);
        match (scope.contract, kind) {
            (Some(contract), None) => {
                super::known_field(contract, column, report);
            }
            (_, Some(FieldKind::Float64)) => {
                let message = format!("column {:?} is a double, which equals nothing exactly", column.value);
                report.add(&column.at, message, None);
            }
            _ => {}
        }
        kinds.push((column.value.clone(), kind.unwrap_or(FieldKind::String)));
    }
    kinds
}

fn open(
    file: &Written<String>,
    project: &Path,
    report: &mut Report,
    elsewhere: &mut Vec<Problem>,
) -> Option<reference::Table> {
    // As with the schema: elsewhere is allowed, because it is only read. What the lake keeps of it has a name of ours.
    let path = project.join(&file.value);
    if !path.is_file() {
        report.add(&file.at, format!("there is no file {}", path.display()), None);
        return None;
    }
    reference::Table::read(&path)
        .map_err(|mut problems| elsewhere.append(&mut problems))
        .ok()
}

/// Whether the file has all of `names`; those it lacks are problems.
fn missing(names: &[Written<String>], table: &reference::Table, report: &mut Report) -> bool {
    let mut all = true;
    for name in names {
        if !table.header.contains(&name.value) {
            let suggestion = did_you_mean(&name.value, table.header.iter().map(String::as_str));
            report.add(
                &name.at,
                format!("there is no column {:?} in the file", name.value),
                suggestion,
            );
            all = false;
        }
    }
    all
}
