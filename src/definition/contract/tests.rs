use std::io::Write;

use super::*;
use crate::definition::{Check, FieldKind};

fn contract(text: &str) -> Result<Contract, Vec<String>> {
    let mut file = tempfile::Builder::new()
        .prefix("schema")
        .suffix(".json")
        .tempfile()
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let whole = |problem: &Problem| format!("{}:{}: {}", problem.line, problem.key, problem.message);
    read(file.path()).map_err(|problems| problems.iter().map(whole).collect())
}

/// The contract with one property `x` of the given body.
fn one(body: &str) -> Result<Field, Vec<String>> {
    let text = format!("{{\"type\": \"object\",\n\"properties\": {{\n\"x\": {body}\n}}}}");
    contract(&text).map(|contract| contract.fields[0].clone())
}

#[test]
fn every_type_has_its_column_type() {
    for (body, kind, nullable) in [
        (r#"{"type": "string"}"#, FieldKind::String, false),
        (r#"{"type": ["string", "null"]}"#, FieldKind::String, true),
        (
            r#"{"type": ["null", "integer"], "format": "int32"}"#,
            FieldKind::Int32,
            true,
        ),
        (r#"{"type": "integer"}"#, FieldKind::Int64, false),
        (r#"{"type": "integer", "format": "int64"}"#, FieldKind::Int64, false),
        (r#"{"type": "number"}"#, FieldKind::Float64, false),
        (r#"{"type": "boolean"}"#, FieldKind::Boolean, false),
        (
            r#"{"type": "string", "format": "date-time"}"#,
            FieldKind::Timestamp,
            false,
        ),
        (r#"{"type": ["string"], "format": "date"}"#, FieldKind::Date, false),
    ] {
        let field = one(body).unwrap_or_else(|problems| panic!("{body}: {problems:?}"));
        assert_eq!((field.kind, field.nullable), (kind, nullable), "{body}");
    }
}

#[test]
fn constraints_take_the_type_of_the_column() {
    for (body, expected) in [
        (r#"{"type": "integer", "minimum": 1.0}"#, "[MinInt(1)]"),
        (
            r#"{"type": "integer", "minimum": 1.5, "maximum": 9.5}"#,
            "[MinInt(2), MaxInt(9)]",
        ),
        (
            r#"{"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 10}"#,
            "[MinInt(1), MaxInt(9)]",
        ),
        (
            r#"{"type": "integer", "exclusiveMinimum": 0.5, "exclusiveMaximum": 9.5}"#,
            "[MinInt(1), MaxInt(9)]",
        ),
        (
            r#"{"type": "number", "minimum": 1, "exclusiveMaximum": 2.5}"#,
            "[MinFloat(1.0, false), MaxFloat(2.5, true)]",
        ),
        (
            r#"{"type": "string", "minLength": 1, "maxLength": 3.0}"#,
            "[MinLength(1), MaxLength(3)]",
        ),
        (
            r#"{"type": ["string", "null"], "enum": ["a", null]}"#,
            r#"[OneOf(["a"])]"#,
        ),
        (r#"{"type": "integer", "const": 3.0}"#, "[OneOfInt([3])]"),
        (
            r#"{"type": "string", "pattern": "^a.c$"}"#,
            r#"[Pattern(Regex("^a.c$"))]"#,
        ),
    ] {
        let field = one(body).unwrap_or_else(|problems| panic!("{body}: {problems:?}"));
        assert_eq!(format!("{:?}", field.checks), expected, "{body}");
    }
    let matches = |field: &Field| matches!(&field.checks[..], [Check::Pattern(regex)] if regex.is_match("xabcx"));
    assert!(matches(&one(r#"{"type": "string", "pattern": "b"}"#).unwrap()));
}

#[test]
fn what_the_subset_lacks_is_named_with_its_line() {
    for (body, expected) in [
        (
            r#"{"type": "array"}"#,
            "3:properties.x.type: the type \"array\" has no column type",
        ),
        (
            r#"{"type": ["string", "integer"]}"#,
            "3:properties.x.type: must be one type, or one type and \"null\"",
        ),
        (r#"{}"#, "3:properties.x.type: is missing"),
        (
            "{\"type\": \"string\",\n\"default\": \"a\"}",
            "4:properties.x.default: the keyword \"default\" is not supported",
        ),
        (
            "{\"type\": \"integer\",\n\"multipleOf\": 2}",
            "4:properties.x.multipleOf: the keyword \"multipleOf\" is not supported",
        ),
        (
            r#"{"type": "string", "format": "email"}"#,
            "3:properties.x.format: the format \"email\" of a string is not supported",
        ),
        (
            r#"{"type": "number", "format": "int32"}"#,
            "3:properties.x.format: the format \"int32\" of a number is not supported",
        ),
        (
            r#"{"type": "string", "minimum": 1}"#,
            "3:properties.x.minimum: minimum is not supported for a string",
        ),
        (
            r#"{"type": "integer", "minimum": "1"}"#,
            "3:properties.x.minimum: must be a number, not a string",
        ),
        (
            r#"{"type": "integer", "minimum": 1e30}"#,
            "3:properties.x.minimum: does not fit a 64-bit integer",
        ),
        (
            r#"{"type": "integer", "minimum": 2, "maximum": 1}"#,
            "3:properties.x.maximum: leaves no value that would be allowed",
        ),
        (
            r#"{"type": "integer", "format": "int32", "minimum": 3000000000}"#,
            "3:properties.x.minimum: leaves no value that would be allowed",
        ),
        (
            r#"{"type": "string", "minLength": -1}"#,
            "3:properties.x.minLength: must be an integer of at least 0",
        ),
        (
            r#"{"type": "string", "pattern": "("}"#,
            "3:properties.x.pattern: \"(\" is not a regular expression: unclosed group",
        ),
        (
            r#"{"type": "string", "enum": [1]}"#,
            "3:properties.x.enum: must have strings only, not an integer",
        ),
        (
            r#"{"type": "boolean", "const": true}"#,
            "3:properties.x.const: const is not supported for a boolean",
        ),
        (
            r#"{"type": "string", "type": "string"}"#,
            "3:properties.x.type: is there twice",
        ),
    ] {
        assert_eq!(one(body).expect_err(body), [expected], "{body}");
    }
}

#[test]
fn columns_stand_in_declared_order_and_all_problems_come_at_once() {
    let text = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "t", "description": "an event", "type": "object", "additionalProperties": false,
  "required": ["z"],
  "properties": { "z": {"type": "string", "description": "last letter"}, "a": {"type": "integer"} }
}"#;
    let good = contract(text).unwrap();
    let names: Vec<_> = good
        .fields
        .iter()
        .map(|field| (field.name.as_str(), field.required))
        .collect();
    assert_eq!(names, [("z", true), ("a", false)]);
    assert!(good.closed && good.description == "an event" && good.fields[0].description == "last letter");

    let bad = text
        .replace("2020-12", "draft-07")
        .replace("[\"z\"]", "[\"zz\", \"a\", \"a\"]")
        .replace("\"z\":", "\"_z\":");
    assert_eq!(
        contract(&bad).unwrap_err(),
        [
            "2:$schema: \"https://json-schema.org/draft/draft-07/schema\" is not the dialect read here",
            "4:required: \"zz\" is not in properties",
            "4:required: \"a\" is there twice",
            "5:properties._z: column \"_z\" starts with an underscore, which marks medallion's own columns",
        ]
    );
    assert_eq!(contract("{\n\"type\": }").unwrap_err(), ["2:: expected value"]);
    assert_eq!(contract("[]").unwrap_err(), ["1:: must be a table, not a list"]);
}
