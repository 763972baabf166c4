//! Gathering problems: where a value stood, and what is wrong there.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::super::Problem;

/// Longest file of a declaration, in bytes. People write those; what is longer is another file by mistake, and checking
/// it could take for ever.
const LONGEST: u64 = 256 * 1024;

/// Characters of a problem's words.
const QUOTED: usize = 1000;

/// Where in a file: a line and a dotted key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::definition) struct Spot {
    /// Line from 1; 0: the whole file.
    pub(in crate::definition) line: usize,
    /// Dotted key, may be empty.
    pub(in crate::definition) key: String,
}

impl Spot {
    pub(in crate::definition) fn new(line: usize, key: impl Into<String>) -> Self {
        Self { line, key: key.into() }
    }

    /// A line, without a key.
    pub(in crate::definition) fn line(line: usize) -> Self {
        Self::new(line, "")
    }

    /// The file as a whole.
    pub(in crate::definition) fn file() -> Self {
        Self::line(0)
    }
}

/// A value and where it was written.
#[derive(Debug, Clone)]
pub(in crate::definition) struct Written<T> {
    /// The value.
    pub(in crate::definition) value: T,
    /// Where it stands.
    pub(in crate::definition) at: Spot,
}

impl<T> Written<T> {
    pub(in crate::definition) fn new(value: T, at: Spot) -> Self {
        Self { value, at }
    }
}

/// The problems of one file.
#[derive(Debug)]
pub(in crate::definition) struct Report {
    file: PathBuf,
    problems: Vec<Problem>,
}

impl Report {
    pub(in crate::definition) fn new(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            problems: Vec::new(),
        }
    }

    /// Notes one problem.
    pub(in crate::definition) fn add(&mut self, at: &Spot, message: impl Into<String>, suggestion: Option<String>) {
        self.problems.push(Problem {
            file: self.file.clone(),
            line: at.line,
            key: shortened(at.key.clone()),
            message: shortened(message.into()),
            suggestion,
        });
    }

    /// Whether nothing is wrong so far.
    pub(in crate::definition) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// The problems in the order of their lines.
    pub(in crate::definition) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| problem.line);
        self.problems
    }

    /// The text of a declaration; a file that cannot be read, is not UTF-8 or too long is a problem.
    pub(in crate::definition) fn read(&mut self) -> Option<String> {
        self.read_up_to(LONGEST)
    }

    /// As [`Report::read`], for data, which may be of any length.
    pub(in crate::definition) fn read_data(&mut self) -> Option<String> {
        self.read_up_to(u64::MAX)
    }

    fn read_up_to(&mut self, longest: u64) -> Option<String> {
        let bytes = match bytes(&self.file, longest) {
            Ok(bytes) if bytes.len() as u64 > longest => {
                let message = format!("has more than the {} KiB that a declaration may have", longest / 1024);
                self.add(&Spot::file(), message, None);
                return None;
            }
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.add(&Spot::file(), "there is no such file", None);
                return None;
            }
            Err(error) => {
                self.add(&Spot::file(), format!("cannot be read: {error}"), None);
                return None;
            }
        };
        match String::from_utf8(bytes) {
            Ok(text) => Some(text),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let line = 1 + error
                    .as_bytes()
                    .iter()
                    .take(valid)
                    .filter(|byte| **byte == b'\n')
                    .count();
                self.add(&Spot::line(line), "is not UTF-8", None);
                None
            }
        }
    }
}

/// A text that may quote what was written, however long that is.
fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(QUOTED) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

/// The bytes of a plain file, one more than `longest` where it has more. A pipe would be waited for, and a device may
/// have no end.
fn bytes(file: &Path, longest: u64) -> std::io::Result<Vec<u8>> {
    if !std::fs::metadata(file)?.is_file() {
        return Err(std::io::Error::other("it is not a plain file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(file)?
        .take(longest.saturating_add(1))
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// `path.key`, or `key` at the root.
pub(in crate::definition) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
