//! JSON as nodes: declared order and repeated keys are kept, and every key and string knows its line.
//!
//! serde_json reads the values; the lines come from a second look at the text, whose string tokens stand in the
//! order in which a walk of the tree meets keys and strings.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{Entry, Node, Value};

/// The document, or the line and message of its syntax error.
pub(in crate::definition) fn parse(text: &str) -> Result<Node, (usize, String)> {
    let mut root: Node = serde_json::from_str(text).map_err(|error| {
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or(&message).to_owned();
        (error.line(), message)
    })?;
    let mut lines = string_lines(text).into_iter();
    let first = text.find(|letter: char| !letter.is_whitespace()).unwrap_or(0);
    place(&mut root, super::Lines::of(text).at(first), &mut lines);
    Ok(root)
}

fn place(node: &mut Node, line: usize, lines: &mut impl Iterator<Item = usize>) {
    node.line = line;
    match &mut node.value {
        Value::Text { .. } => node.line = lines.next().unwrap_or(line),
        Value::List(items) => items.iter_mut().for_each(|item| place(item, line, lines)),
        Value::Table(entries) => {
            for entry in entries {
                entry.line = lines.next().unwrap_or(line);
                place(&mut entry.node, entry.line, lines);
            }
        }
        _ => {}
    }
}

/// The line on which each string token of well-formed JSON starts, in document order.
fn string_lines(text: &str) -> Vec<usize> {
    let mut lines = Vec::new();
    let (mut line, mut inside, mut escaped) = (1, false, false);
    for byte in text.bytes() {
        match byte {
            b'\n' => line += 1,
            _ if escaped => escaped = false,
            b'\\' if inside => escaped = true,
            b'"' => {
                if !inside {
                    lines.push(line);
                }
                inside = !inside;
            }
            _ => {}
        }
    }
    lines
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = deserializer.deserialize_any(NodeVisitor)?;
        Ok(Self { line: 0, value })
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "an integer beyond 64 bits is refused wherever it matters"
        )]
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        let text = value.to_owned();
        Ok(Value::Text { text, filled: false })
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut table = Vec::new();
        while let Some((key, node)) = entries.next_entry()? {
            table.push(Entry { key, line: 0, node });
        }
        Ok(Value::Table(table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(node: &Node, found: &mut Vec<(String, usize)>) {
        match &node.value {
            Value::Table(entries) => {
                for entry in entries {
                    found.push((entry.key.clone(), entry.line));
                    keys(&entry.node, found);
                }
            }
            Value::List(items) => items.iter().for_each(|item| keys(item, found)),
            Value::Text { text, .. } => found.push((text.clone(), node.line)),
            _ => {}
        }
    }

    #[test]
    fn keys_keep_their_order_repetition_and_lines() {
        let text = "\n{ \"z\": 1,\n  \"a\\\"b\": [\"x\",\n \"\\\\\"],\n \"z\": {\"b\": null}}";
        let mut found = Vec::new();
        keys(&parse(text).unwrap(), &mut found);
        let expected = [("z", 2), ("a\"b", 3), ("x", 3), ("\\", 4), ("z", 5), ("b", 5)];
        assert_eq!(found, expected.map(|(key, line)| (key.to_owned(), line)));
    }

    #[test]
    fn a_syntax_error_has_its_line() {
        let (line, message) = parse("{\n \"a\": 1,\n}").unwrap_err();
        assert_eq!((line, message.as_str()), (3, "trailing comma"));
    }
}
