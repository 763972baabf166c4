//! TOML as nodes: declared order, lines from the parser's spans, variables filled in after parsing.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::interpolate::interpolate;
use super::{Entry, Env, Lines, Node, Report, Spot, Value};

/// The document as a table node; syntax errors and unset variables go to `report`. None where it is no TOML at all.
pub(in crate::definition) fn parse(text: &str, env: Env<'_>, report: &mut Report) -> Option<Node> {
    let (root, errors) = DeTable::parse_recoverable(text);
    let lines = Lines::of(text);
    for error in &errors {
        let line = error.span().map_or(1, |span| lines.at(span.start));
        report.add(&Spot::line(line), error.message(), None);
    }
    if !errors.is_empty() {
        return None;
    }
    let mut builder = Builder { lines, env, report };
    let value = builder.table(root.get_ref(), "");
    Some(Node { line: 1, value })
}

struct Builder<'a> {
    lines: Lines,
    env: Env<'a>,
    report: &'a mut Report,
}

impl Builder<'_> {
    fn table(&mut self, table: &DeTable<'_>, path: &str) -> Value {
        let mut entries: Vec<_> = table.iter().collect();
        // The parser sorts by key; what was written first comes first here.
        entries.sort_by_key(|(key, _)| key.span().start);
        let build = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let name: String = AsRef::<str>::as_ref(key.get_ref()).to_owned();
            let line = self.lines.at(key.span().start);
            let node = self.node(value, line, &super::report::join(path, &name));
            Entry { key: name, line, node }
        };
        Value::Table(entries.into_iter().map(build).collect())
    }

    fn node(&mut self, value: &Spanned<DeValue<'_>>, key_line: usize, path: &str) -> Node {
        // Tables made by dotted keys have no place of their own.
        let line = match value.span() {
            span if span.end > span.start => self.lines.at(span.start),
            _ => key_line,
        };
        let value = match value.get_ref() {
            DeValue::String(text) => self.string(text, line, path),
            DeValue::Integer(digits) => i64::from_str_radix(&digits.as_str().replace('_', ""), digits.radix())
                .map_or(Value::Float(f64::NAN), Value::Integer),
            DeValue::Float(digits) => Value::Float(digits.as_str().replace('_', "").parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(value) => Value::Boolean(*value),
            DeValue::Datetime(_) => Value::Datetime,
            DeValue::Array(items) => {
                let item = |(place, item)| self.node(item, line, &format!("{path}[{place}]"));
                Value::List(items.iter().enumerate().map(item).collect())
            }
            DeValue::Table(table) => self.table(table, path),
        };
        Node { line, value }
    }

    fn string(&mut self, text: &str, line: usize, path: &str) -> Value {
        match interpolate(text, self.env) {
            Ok((text, filled)) => Value::Text { text, filled },
            Err(message) => {
                self.report.add(&Spot::new(line, path), message, None);
                // The problem is told; the literal text keeps later checks quiet where they can be.
                Value::Text {
                    text: text.to_owned(),
                    filled: true,
                }
            }
        }
    }
}
