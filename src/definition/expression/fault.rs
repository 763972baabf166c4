//! What is wrong with an expression, in words for the person who wrote it.

use std::fmt;

use arrow::datatypes::Schema;
use datafusion::common::{DataFusionError, SchemaError};

use crate::definition::near::did_you_mean;

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub message: String,
    /// What to write instead, where we can tell.
    pub suggestion: Option<String>,
    /// The column that is not there, where that is what is wrong.
    pub unknown: Option<String>,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            suggestion: None,
            unknown: None,
        }
    }

    pub(super) fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }

    /// DataFusion's error without its prefixes and line breaks; unknown columns in our own words.
    pub(super) fn of(error: &DataFusionError, schema: &Schema) -> Self {
        if let DataFusionError::SchemaError(inner, _) = error.find_root()
            && let SchemaError::FieldNotFound { field, .. } = inner.as_ref()
        {
            let names = schema.fields().iter().map(|field| field.name().as_str());
            return Self {
                message: format!("there is no column {:?}", field.name),
                suggestion: did_you_mean(&field.name, names),
                unknown: Some(field.name.clone()),
            };
        }
        let text = error.strip_backtrace();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut text = text.as_str();
        while let Some(rest) = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
            text = rest;
        }
        if text.starts_with("table '") {
            return Self::new("reads another table, but an expression sees only its own row")
                .suggest("bring reference data in with [[lookup]]");
        }
        // What follows is DataFusion's view of itself: a list of all signatures, or a plea for a bug report.
        let end = NOISE
            .iter()
            .filter_map(|noise| text.find(noise))
            .min()
            .unwrap_or(text.len());
        let text = text.get(..end).unwrap_or(text);
        let parsed = text
            .strip_prefix("ParserError(\"")
            .and_then(|rest| rest.strip_suffix("\")"));
        Self::new(parsed.unwrap_or(text).replace("\\\"", "\""))
    }
}

const NOISE: [&str; 2] = [", errors: ", ". This issue was likely caused by"];

const PREFIXES: [&str; 7] = [
    "Error during planning: ",
    "SQL error: ",
    "type_coercion caused by ",
    "Execution error: ",
    "Arrow error: ",
    "Internal error: ",
    "Optimizer rule 'simplify_expressions' failed caused by ",
];

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, " ({suggestion})"),
            None => Ok(()),
        }
    }
}
