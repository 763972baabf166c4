//! The columns of the silver and gold tables, as Arrow schemas in table order.
//!
//! Comments ride in the field metadata under `comment`; types are the stored ones of [`super::expression`].

use std::sync::Arc;

use arrow::datatypes::{DataType, Field as Column, Schema, SchemaRef};

use super::expression::{Fault, check_aggregate, check_scalar, instant};
use super::{Contract, FieldKind, Gold, Lookup, Silver};
use crate::error::{Error, Kind, Result};

/// Silver's partition column, the UTC date of the event time.
pub const EVENT_DATE: &str = "event_date";

/// Columns that silver adds to every row, after `event_date`.
pub const LINEAGE: [&str; 5] = ["_seq", "_partition", "_offset", "_timestamp", "_watermark"];

impl FieldKind {
    /// The Arrow type of its column.
    pub fn data_type(self) -> DataType {
        match self {
            Self::String => DataType::Utf8,
            Self::Boolean => DataType::Boolean,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Float64 => DataType::Float64,
            Self::Timestamp => instant(),
            Self::Date => DataType::Date32,
        }
    }
}

/// The row that silver's expressions see once everything is computed: contract, looked-up, then derived columns.
/// A lookup sees the contract only; a derived column sees contract, lookups and the derived columns before it.
///
/// # Errors
/// `Kind::Definition` where a derived column does not check.
pub fn row_schema(silver: &Silver) -> Result<Schema> {
    let mut columns = event_columns(&silver.contract, &silver.lookups);
    for derive in &silver.derive {
        let found =
            check_scalar(&derive.sql, &Schema::new(columns.clone())).map_err(|fault| unsound(&derive.name, &fault))?;
        columns.push(column(
            &derive.name,
            found.data_type,
            found.nullable,
            &derive.description,
        ));
    }
    Ok(Schema::new(columns))
}

/// The columns of the silver table in table order: the row, `event_date`, then [`LINEAGE`].
///
/// # Errors
/// `Kind::Definition` where a derived column does not check.
pub fn silver_schema(silver: &Silver) -> Result<SchemaRef> {
    let row = row_schema(silver)?;
    let mut columns: Vec<Column> = row.fields().iter().map(|field| field.as_ref().clone()).collect();
    columns.extend(added_columns(&silver.event_time));
    Ok(Arc::new(Schema::new(columns)))
}

/// The columns of a gold table in table order.
///
/// # Errors
/// `Kind::Definition` where a declared expression does not check.
pub fn gold_schema(gold: &Gold, silver: &Silver) -> Result<SchemaRef> {
    gold_columns(gold, silver_schema(silver)?.as_ref())
}

/// The columns of a gold table over a silver table with the schema `silver`, in table order.
///
/// # Errors
/// `Kind::Definition` where a declared expression does not check.
pub fn gold_columns(gold: &Gold, silver: &Schema) -> Result<SchemaRef> {
    let mut columns = group_columns(gold, silver);
    for aggregate in &gold.columns {
        let found = check_aggregate(&aggregate.sql, silver, &gold.group_by)
            .map_err(|fault| unsound(&aggregate.name, &fault))?;
        columns.push(column(
            &aggregate.name,
            found.data_type,
            found.nullable,
            &aggregate.description,
        ));
    }
    let place = |name: &str| gold.column_order.iter().position(|it| it == name);
    columns.sort_by_key(|column| place(column.name()));
    Ok(Arc::new(Schema::new(columns)))
}

/// Contract and looked-up columns: what the first derived column sees.
pub(super) fn event_columns(contract: &Contract, lookups: &[Lookup]) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for field in &contract.fields {
        columns.push(column(
            &field.name,
            field.kind.data_type(),
            field.nullable || !field.required,
            &field.description,
        ));
    }
    for lookup in lookups {
        for (name, kind) in &lookup.take {
            let comment = format!(
                "{name} of {}, looked up by {}",
                lookup.file.display(),
                lookup.on.join(", ")
            );
            // An empty value of the file is null, so the column can be null whatever becomes of a miss.
            columns.push(column(name, kind.data_type(), true, &comment));
        }
    }
    columns
}

/// `event_date` and the lineage columns.
pub(super) fn added_columns(event_time: &str) -> [Column; 6] {
    let date = format!("UTC date of {event_time}");
    [
        column(EVENT_DATE, DataType::Date32, false, &date),
        column("_seq", DataType::Int64, false, "position of the record in bronze"),
        column(
            "_partition",
            DataType::Int32,
            false,
            "Kafka partition of the record, 0 for a file",
        ),
        column(
            "_offset",
            DataType::Int64,
            false,
            "Kafka offset of the record, or line number of the file from 0",
        ),
        column("_timestamp", instant(), true, "Kafka timestamp of the record, UTC"),
        column(
            "_watermark",
            instant(),
            true,
            "event-time watermark just before the row, UTC; null: none yet",
        ),
    ]
}

/// The group columns of a gold table, then its window columns, in undeclared order.
pub(super) fn group_columns(gold: &Gold, silver: &Schema) -> Vec<Column> {
    let mut columns: Vec<Column> = gold
        .group_by
        .iter()
        .filter_map(|name| silver.field_with_name(name).ok().cloned())
        .collect();
    columns.push(column(&gold.window.start, instant(), false, "start of the window, UTC"));
    if let Some(date) = &gold.window.date {
        columns.push(column(date, DataType::Date32, false, "UTC date of the window's start"));
    }
    columns
}

pub(super) fn column(name: &str, data_type: DataType, nullable: bool, comment: &str) -> Column {
    let column = Column::new(name, data_type, nullable);
    if comment.is_empty() {
        return column;
    }
    column.with_metadata([("comment".to_owned(), comment.to_owned())].into())
}

fn unsound(name: &str, fault: &Fault) -> Error {
    Error::new(Kind::Definition, format!("column {name:?}: {fault}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::samples;

    #[test]
    fn silver_has_contract_lookups_derived_then_lineage() {
        let schema = silver_schema(&samples::silver()).unwrap();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(
            names,
            [
                "id",
                "at",
                "size",
                "region",
                "large",
                "event_date",
                "_seq",
                "_partition",
                "_offset",
                "_timestamp",
                "_watermark"
            ]
        );
        assert_eq!(schema.field(4).data_type(), &DataType::Boolean);
        assert!(
            schema
                .fields()
                .iter()
                .all(|field| field.metadata().contains_key("comment"))
        );
        assert!(schema.field(2).is_nullable() && !schema.field(1).is_nullable());
    }

    #[test]
    fn gold_columns_stand_in_declared_order() {
        let schema = gold_schema(&samples::gold(), &samples::silver()).unwrap();
        let columns: Vec<(&str, &DataType)> = schema
            .fields()
            .iter()
            .map(|it| (it.name().as_str(), it.data_type()))
            .collect();
        let instant = instant();
        assert_eq!(
            columns,
            [
                ("minute", &instant),
                ("region", &DataType::Utf8),
                ("day", &DataType::Date32),
                ("total", &DataType::Int64)
            ]
        );
    }
}
