//! Taking a table apart: every key is asked for once by name and type; what nobody asked for is unknown.

use std::collections::HashSet;
use std::time::Duration;

use validator::Validate;

use super::report::join;
use super::{Entry, Node, Report, Spot, Value, Written, bytes, duration};
use crate::definition::near::did_you_mean_or_list;

/// A table being read. Getters answer none where the key is absent, and where its value is wrong, which they report.
pub(in crate::definition) struct Reader<'n> {
    entries: &'n [Entry],
    path: String,
    line: usize,
    asked: Vec<&'static str>,
}

impl<'n> Reader<'n> {
    /// Reads `node` as the table at `path`; reports where it is none.
    pub(in crate::definition) fn new(node: &'n Node, path: &str, report: &mut Report) -> Option<Self> {
        let Value::Table(entries) = &node.value else {
            let message = format!("must be a table, not {}", node.value.kind());
            report.add(&Spot::new(node.line, path), message, None);
            return None;
        };
        let mut seen = HashSet::new();
        for entry in entries {
            if !seen.insert(entry.key.as_str()) {
                report.add(&Spot::new(entry.line, join(path, &entry.key)), "is there twice", None);
            }
        }
        Some(Self {
            entries,
            path: path.to_owned(),
            line: node.line,
            asked: Vec::new(),
        })
    }

    /// Where `key` stands, or the table where it is absent.
    pub(in crate::definition) fn spot(&self, key: &str) -> Spot {
        let line = self
            .entries
            .iter()
            .find(|entry| entry.key == key)
            .map_or(self.line, |entry| entry.line);
        Spot::new(line, join(&self.path, key))
    }

    /// The value of `key`, whatever it is.
    pub(in crate::definition) fn node(&mut self, key: &'static str) -> Option<&'n Node> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        self.entries
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.node)
    }

    /// The path of `key` from the root of the file.
    pub(in crate::definition) fn path(&self, key: &str) -> String {
        join(&self.path, key)
    }

    pub(in crate::definition) fn text(&mut self, key: &'static str, report: &mut Report) -> Option<Written<String>> {
        let node = self.node(key)?;
        text(node, &self.spot(key), report)
    }

    /// As [`Reader::text`]; an absent key is a problem.
    pub(in crate::definition) fn need_text(
        &mut self,
        key: &'static str,
        report: &mut Report,
    ) -> Option<Written<String>> {
        self.need(key, report).then(|| self.text(key, report)).flatten()
    }

    /// Whether `key` is there; an absent key is a problem.
    pub(in crate::definition) fn need(&mut self, key: &'static str, report: &mut Report) -> bool {
        let found = self.node(key).is_some();
        if !found {
            report.add(&self.spot(key), "is missing", None);
        }
        found
    }

    pub(in crate::definition) fn integer(&mut self, key: &'static str, report: &mut Report) -> Option<Written<i64>> {
        let node = self.node(key)?;
        let at = self.spot(key);
        match node.value {
            Value::Integer(value) => Some(Written::new(value, at)),
            _ => mistyped("an integer", node, &at, report),
        }
    }

    /// A size: an integer of bytes, or a string with a unit.
    pub(in crate::definition) fn bytes(&mut self, key: &'static str, report: &mut Report) -> Option<Written<u64>> {
        let node = self.node(key)?;
        let at = self.spot(key);
        let parsed = match &node.value {
            Value::Integer(value) => u64::try_from(*value).map_err(|_| "must not be negative".to_owned()),
            Value::Text { text, .. } => bytes(text),
            _ => return mistyped("a size such as \"64MiB\", or an integer of bytes", node, &at, report),
        };
        match parsed {
            Ok(value) => Some(Written::new(value, at)),
            Err(message) => refuse(message, &at, report),
        }
    }

    pub(in crate::definition) fn duration(
        &mut self,
        key: &'static str,
        report: &mut Report,
    ) -> Option<Written<Duration>> {
        let written = self.text(key, report)?;
        match duration(&written.value) {
            Ok(value) => Some(Written::new(value, written.at)),
            Err(message) => refuse(message, &written.at, report),
        }
    }

    /// One of a few words, given with what each means.
    pub(in crate::definition) fn word<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&str, T)],
        report: &mut Report,
    ) -> Option<Written<T>> {
        let written = self.text(key, report)?;
        match words.iter().find(|(word, _)| *word == written.value) {
            Some((_, value)) => Some(Written::new(*value, written.at)),
            None => {
                let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                let suggestion = did_you_mean_or_list(&written.value, &known);
                report.add(&written.at, format!("{:?} is not known", written.value), suggestion);
                None
            }
        }
    }

    /// A list of strings, each with its own line.
    pub(in crate::definition) fn texts(
        &mut self,
        key: &'static str,
        report: &mut Report,
    ) -> Option<Vec<Written<String>>> {
        let node = self.node(key)?;
        let at = self.spot(key);
        let Value::List(items) = &node.value else {
            return mistyped("a list of strings", node, &at, report);
        };
        let each = items
            .iter()
            .map(|item| text(item, &Spot::new(item.line, at.key.clone()), report));
        each.collect::<Vec<_>>().into_iter().collect()
    }

    /// A table, to be read on.
    pub(in crate::definition) fn table(&mut self, key: &'static str, report: &mut Report) -> Option<Reader<'n>> {
        let node = self.node(key)?;
        Reader::new(node, &self.path(key), report)
    }

    /// A list of tables: `[[key]]`.
    pub(in crate::definition) fn tables(&mut self, key: &'static str, report: &mut Report) -> Vec<Reader<'n>> {
        let Some(node) = self.node(key) else {
            return Vec::new();
        };
        let Value::List(items) = &node.value else {
            let at = self.spot(key);
            mistyped::<()>(&format!("a list of tables, [[{key}]]"), node, &at, report);
            return Vec::new();
        };
        let read = |(place, item)| Reader::new(item, &format!("{}[{place}]", self.path(key)), report);
        items.iter().enumerate().filter_map(read).collect()
    }

    /// The entries of the table, all of them known.
    pub(in crate::definition) fn entries(&self) -> &'n [Entry] {
        self.entries
    }

    /// Reports what `raw` says about itself, at the keys that its fields are named after.
    pub(in crate::definition) fn validate(&self, raw: &impl Validate, report: &mut Report) {
        let Err(errors) = raw.validate() else { return };
        for (field, errors) in errors.field_errors() {
            for error in errors {
                let message = error
                    .message
                    .as_ref()
                    .map_or_else(|| error.code.to_string(), ToString::to_string);
                report.add(&self.spot(&field), message, None);
            }
        }
    }

    /// Reports every key that nobody asked for.
    pub(in crate::definition) fn finish(self, report: &mut Report) {
        self.finish_with(report, |key, asked| {
            ("unknown key".to_owned(), did_you_mean_or_list(key, asked))
        });
    }

    /// Reports every key that nobody asked for, in words made from it and the keys asked for.
    pub(in crate::definition) fn finish_with(
        self,
        report: &mut Report,
        words: impl Fn(&str, &[&'static str]) -> (String, Option<String>),
    ) {
        for entry in self.entries {
            if !self.asked.contains(&entry.key.as_str()) {
                let at = Spot::new(entry.line, join(&self.path, &entry.key));
                let (message, suggestion) = words(&entry.key, &self.asked);
                report.add(&at, message, suggestion);
            }
        }
    }

    /// The same table, said to stand on `line`: where its key is, for what it lacks.
    pub(in crate::definition) fn on_line(mut self, line: usize) -> Self {
        self.line = line;
        self
    }
}

fn text(node: &Node, at: &Spot, report: &mut Report) -> Option<Written<String>> {
    match &node.value {
        Value::Text { text, .. } => Some(Written::new(text.clone(), at.clone())),
        _ => mistyped("a string", node, at, report),
    }
}

fn mistyped<T>(wanted: &str, node: &Node, at: &Spot, report: &mut Report) -> Option<T> {
    refuse(format!("must be {wanted}, not {}", node.value.kind()), at, report)
}

fn refuse<T>(message: String, at: &Spot, report: &mut Report) -> Option<T> {
    report.add(at, message, None);
    None
}
