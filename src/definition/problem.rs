//! One thing wrong with a declaration, and where.

use std::fmt;
use std::path::PathBuf;

/// One problem of a declared file: `file:line:key: message (suggestion)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The declared file, as the user would open it.
    pub file: PathBuf,
    /// Line in the file, from 1; 0 where the problem is the whole file.
    pub line: usize,
    /// Dotted key, `dedupe.key`; empty where there is none.
    pub key: String,
    /// What is wrong, with the offending value.
    pub message: String,
    /// What to write instead, where we can tell.
    pub suggestion: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.key.is_empty() {
            write!(f, ":{}", self.key)?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(suggestion) = &self.suggestion {
            write!(f, " ({suggestion})")?;
        }
        Ok(())
    }
}
