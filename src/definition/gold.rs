//! `gold.toml`: the aggregates of event-time windows.
//!
//! What can be said without silver (names, keys, durations) is said even where silver is wrong; columns and
//! expressions are judged only against a silver that is right.

use std::path::Path;

use arrow::datatypes::{DataType, Schema};

use super::expression::check_aggregate;
use super::near::did_you_mean;
use super::raw::{Env, Reader, Report, Spot, Value, Written, parse_toml};
use super::{Aggregate, Gold, LINEAGE, Problem, Silver, Window, fingerprint, keep, names, silver_schema};

/// The gold tables in `file`, or every problem of it. `silver` is none where it has problems of its own.
pub(super) fn read(file: &Path, silver: Option<&Silver>, env: Env<'_>) -> Result<Vec<Gold>, Vec<Problem>> {
    let mut report = Report::new(file);
    let text = report.read();
    let root = text.and_then(|text| parse_toml(&text, env, &mut report));
    let reader = root.as_ref().and_then(|root| Reader::new(root, "", &mut report));
    let Some(mut reader) = reader else {
        return Err(report.into_problems());
    };
    let schema = silver.and_then(|silver| silver_schema(silver).ok());
    let mut tables: Vec<Gold> = Vec::new();
    if reader.need("table", &mut report) {
        for reader in reader.tables("table", &mut report) {
            let at = reader.spot("name");
            let Some(gold) = table(reader, schema.as_deref(), &mut report) else {
                continue;
            };
            if tables.iter().any(|other| other.name == gold.name) {
                report.add(&at, format!("there are two tables named {:?}", gold.name), None);
            }
            tables.push(gold);
        }
    }
    reader.finish(&mut report);
    if !report.is_clean() {
        return Err(report.into_problems());
    }
    if let Some(silver) = silver {
        for gold in &mut tables {
            gold.fingerprint = fingerprint::hash(&fingerprint::describe_gold(gold, silver));
        }
    }
    Ok(tables)
}

fn table(mut reader: Reader<'_>, silver: Option<&Schema>, report: &mut Report) -> Option<Gold> {
    let mut outputs = Outputs::default();
    let name = reader.need_text("name", report);
    if let Some(name) = &name {
        names::check_table_name(&name.value, &name.at, report);
    }
    let description = reader
        .text("description", report)
        .map(|it| it.value)
        .unwrap_or_default();
    let group_by = group_by(&mut reader, silver, &mut outputs, report);
    let window = window(&mut reader, &mut outputs, report);
    let watermark = reader
        .need("watermark", report)
        .then(|| reader.duration("watermark", report))
        .flatten();
    let keep = keep::read(&mut reader, report).map(|keep| keep.value);
    let columns = aggregates(&mut reader, silver, &group_by, &mut outputs, report);
    let partition_by = partition_by(&mut reader, &outputs, report);
    let column_order = order(&mut reader, &outputs, report);
    reader.finish(report);
    Some(Gold {
        name: name?.value,
        description,
        window: window?,
        watermark: watermark?.value,
        keep,
        group_by,
        columns,
        partition_by,
        column_order,
        fingerprint: String::new(),
    })
}

/// The output columns so far: names with their types, in undeclared order.
#[derive(Default)]
struct Outputs {
    names: names::Columns,
    columns: Vec<(String, Option<DataType>)>,
}

impl Outputs {
    fn add(&mut self, name: &Written<String>, data_type: Option<DataType>, report: &mut Report) {
        if self.names.take(&name.value, &name.at, report) {
            self.columns.push((name.value.clone(), data_type));
        }
    }

    fn type_of(&self, name: &Written<String>, report: &mut Report) -> Option<DataType> {
        let found = self.columns.iter().find(|(column, _)| *column == name.value);
        if found.is_none() {
            let known = self.columns.iter().map(|(column, _)| column.as_str());
            let suggestion = did_you_mean(&name.value, known);
            report.add(
                &name.at,
                format!("there is no output column {:?}", name.value),
                suggestion,
            );
        }
        found?.1.clone()
    }
}

fn group_by(
    reader: &mut Reader<'_>,
    silver: Option<&Schema>,
    outputs: &mut Outputs,
    report: &mut Report,
) -> Vec<String> {
    let columns = reader.texts("group_by", report).unwrap_or_default();
    for column in &columns {
        if LINEAGE.contains(&column.value.as_str()) {
            report.add(
                &column.at,
                format!("{:?} says where a row came from and groups nothing", column.value),
                None,
            );
            continue;
        }
        let Some(silver) = silver else {
            outputs.add(column, None, report);
            continue;
        };
        let Ok(field) = silver.field_with_name(&column.value) else {
            let known = silver.fields().iter().map(|field| field.name().as_str());
            let suggestion = did_you_mean(&column.value, known.filter(|name| !LINEAGE.contains(name)));
            report.add(
                &column.at,
                format!("silver has no column {:?}", column.value),
                suggestion,
            );
            continue;
        };
        if field.data_type() == &DataType::Float64 {
            report.add(
                &column.at,
                format!("column {:?} is a double, which groups nothing exactly", column.value),
                None,
            );
        }
        outputs.add(column, Some(field.data_type().clone()), report);
    }
    columns.into_iter().map(|column| column.value).collect()
}

fn window(reader: &mut Reader<'_>, outputs: &mut Outputs, report: &mut Report) -> Option<Window> {
    if !reader.need("window", report) {
        return None;
    }
    let mut reader = reader.table("window", report)?;
    let length = reader
        .need("tumbling", report)
        .then(|| reader.duration("tumbling", report))
        .flatten();
    let start = reader.need_text("start", report);
    let date = reader.text("date", report);
    reader.finish(report);
    if let Some(length) = &length
        && length.value.is_zero()
    {
        report.add(&length.at, "must be more than 0", None);
    }
    if let Some(start) = &start {
        outputs.add(start, Some(super::expression::instant()), report);
    }
    if let Some(date) = &date {
        outputs.add(date, Some(DataType::Date32), report);
    }
    Some(Window {
        length: length?.value,
        start: start?.value,
        date: date.map(|date| date.value),
    })
}

fn aggregates(
    reader: &mut Reader<'_>,
    silver: Option<&Schema>,
    group_by: &[String],
    outputs: &mut Outputs,
    report: &mut Report,
) -> Vec<Aggregate> {
    if !reader.need("columns", report) {
        return Vec::new();
    }
    let Some(columns) = reader.table("columns", report) else {
        return Vec::new();
    };
    if columns.entries().is_empty() {
        report.add(&reader.spot("columns"), "must declare at least one column", None);
    }
    // A group that is not in silver is told already, and must not make every expression wrong.
    let known = |name: &&String| silver.is_some_and(|silver| silver.field_with_name(name).is_ok());
    let groups: Vec<String> = group_by.iter().filter(known).cloned().collect();
    let mut aggregates = Vec::new();
    for entry in columns.entries() {
        let path = columns.path(&entry.key);
        let at = Spot::new(entry.line, path.as_str());
        let (sql, description) = match &entry.node.value {
            Value::Text { text, .. } => (Some(Written::new(text.clone(), at.clone())), String::new()),
            Value::Table(_) => {
                let Some(mut body) = Reader::new(&entry.node, &path, report) else {
                    continue;
                };
                let sql = body.need_text("sql", report);
                let description = body.text("description", report).map(|it| it.value).unwrap_or_default();
                body.finish(report);
                (sql, description)
            }
            other => {
                report.add(
                    &at,
                    format!("must be a SQL string, or {{ sql, description }}, not {}", other.kind()),
                    None,
                );
                continue;
            }
        };
        let data_type = sql.as_ref().zip(silver).and_then(|(sql, silver)| {
            check_aggregate(&sql.value, silver, &groups)
                .map_err(|fault| report.add(&sql.at, fault.message, fault.suggestion))
                .ok()
        });
        let name = Written::new(entry.key.clone(), at);
        outputs.add(&name, data_type.map(|found| found.data_type), report);
        aggregates.push(Aggregate {
            name: name.value,
            sql: sql.map(|sql| sql.value).unwrap_or_default(),
            description,
        });
    }
    aggregates
}

fn partition_by(reader: &mut Reader<'_>, outputs: &Outputs, report: &mut Report) -> Vec<String> {
    let columns = reader.texts("partition_by", report).unwrap_or_default();
    for (place, column) in columns.iter().enumerate() {
        if columns.iter().take(place).any(|earlier| earlier.value == column.value) {
            report.add(&column.at, format!("{:?} is there twice", column.value), None);
        }
        // Delta writes a partition value as text in which the empty string is null: the row would come back changed.
        let (fault, suggestion) = match outputs.type_of(column, report) {
            Some(DataType::Float64) => ("a double, which names no partition exactly", None),
            Some(DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => (
                "a string, and Delta reads the empty string of a partition as null",
                Some("partition by a date, a timestamp or an integer column".to_owned()),
            ),
            _ => continue,
        };
        report.add(&column.at, format!("column {:?} is {fault}", column.value), suggestion);
    }
    if !outputs.columns.is_empty() && columns.len() >= outputs.columns.len() {
        report.add(
            &reader.spot("partition_by"),
            "must leave at least one column in the files",
            None,
        );
    }
    columns.into_iter().map(|column| column.value).collect()
}

fn order(reader: &mut Reader<'_>, outputs: &Outputs, report: &mut Report) -> Vec<String> {
    let plain: Vec<String> = outputs.columns.iter().map(|(name, _)| name.clone()).collect();
    let Some(declared) = reader.texts("order", report) else {
        return plain;
    };
    for (place, column) in declared.iter().enumerate() {
        outputs.type_of(column, report);
        if declared.iter().take(place).any(|earlier| earlier.value == column.value) {
            report.add(&column.at, format!("{:?} is there twice", column.value), None);
        }
    }
    let missing: Vec<&str> = plain
        .iter()
        .filter(|name| !declared.iter().any(|column| column.value == **name))
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        report.add(&reader.spot("order"), format!("lacks {}", missing.join(", ")), None);
    }
    declared.into_iter().map(|column| column.value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_date_of_silver_can_be_a_group() {
        let mut report = Report::new(Path::new("gold.toml"));
        let mut outputs = Outputs::default();
        let name = Written::new(crate::definition::EVENT_DATE.to_owned(), Spot::file());
        outputs.add(&name, Some(DataType::Date32), &mut report);
        assert!(report.is_clean());
        assert_eq!(outputs.type_of(&name, &mut report), Some(DataType::Date32));
    }
}
