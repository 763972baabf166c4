//! What was written, before it means anything: a tree of values that know their lines.
//!
//! TOML and JSON become the same [`Node`]s. A [`Reader`] takes a table apart key by key and a [`Report`] gathers what
//! is wrong, so that one pass over a file finds every problem in it.

mod interpolate;
mod json;
mod reader;
mod report;
mod toml;
mod units;

pub(super) use json::parse as parse_json;
pub(super) use reader::Reader;
pub(super) use report::{Report, Spot, Written};
pub(super) use toml::parse as parse_toml;
pub(super) use units::{bytes, duration};

/// Looks a variable up in the environment.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A value and the line it starts on.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Line in the file, from 1.
    pub(super) line: usize,
    /// The value.
    pub(super) value: Value,
}

/// A value of TOML or JSON.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// A string, variables filled in.
    Text {
        /// Its characters.
        text: String,
        /// Whether any part of it came from a variable.
        filled: bool,
    },
    /// An integer that fits 64 bits.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A boolean.
    Boolean(bool),
    /// JSON's null.
    Null,
    /// TOML's dates and times, which no key here takes.
    Datetime,
    /// An array.
    List(Vec<Node>),
    /// A table or object in declared order; JSON's may name a key twice.
    Table(Vec<Entry>),
}

/// A key of a table with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The key.
    pub(super) key: String,
    /// The key's line.
    pub(super) line: usize,
    /// The value.
    pub(super) node: Node,
}

impl Value {
    /// The kind of the value, as a person would call it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text { .. } => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Boolean(_) => "a boolean",
            Self::Null => "null",
            Self::Datetime => "a date or time",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Where the lines of a text begin and end.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    /// The line, from 1, of a byte offset.
    fn at(&self, offset: usize) -> usize {
        1 + self.0.partition_point(|end| *end < offset)
    }
}
