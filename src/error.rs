//! One error type, whose kind says what to do next.
//!
//! Expected outcomes (a lost commit race, the end of the input, a rejected record) are values, not errors.
//! An [`Error`] reaches a person: its message says what happened and where, [`Error::next`] what to do about it.

use std::fmt;

use crate::definition::Problem;

/// What an operator, or the loop above, should do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The declaration is wrong: mend the file and start again. Exit code 4.
    Definition,
    /// The command line is wrong. Exit code 2.
    Usage,
    /// A quality gate or the audit failed. Exit code 3.
    Gate,
    /// Records are gone upstream: stays stopped until `accept-gap` records the loss.
    DataLoss,
    /// Another writer holds the table: stop, it goes on.
    Fenced,
    /// A table or file is not what we left there: restore it or rebuild it.
    Damaged,
    /// The outside world failed (broker, store, disk): try again later, nothing is lost.
    Unavailable,
    /// A defect of medallion itself.
    Bug,
}

impl Kind {
    /// Its name in metrics, logs and spans, in small letters.
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// Problems that a message tells; nobody reads on.
const PROBLEMS_TOLD: usize = 100;

/// Something that stops a command.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    next: Option<String>,
    problems: Vec<Problem>,
}

/// The result of everything fallible here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`; the message names what happened and where.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            next: None,
            problems: Vec::new(),
        }
    }

    /// All problems found in the declarations, as one error.
    pub fn definition(problems: Vec<Problem>) -> Self {
        let count = problems.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        let mut error = Self::new(Kind::Definition, format!("the definitions have {count} {noun}"));
        error.problems = problems;
        error
    }

    /// Adds what to do next, as one sentence.
    #[must_use]
    pub fn with_next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// Puts `what` in front of the message: what was being done when it happened.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// What to do about it.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What to do next, where there is a definite answer.
    pub fn next(&self) -> Option<&str> {
        self.next.as_deref()
    }

    /// What happened, and where: all that [`fmt::Display`] says but what to do next.
    pub fn what(&self) -> String {
        let told = self.problems.iter().take(PROBLEMS_TOLD);
        let problems: String = told.map(|problem| format!("\n  {problem}")).collect();
        let more = match self.problems.len().saturating_sub(PROBLEMS_TOLD) {
            0 => String::new(),
            more => format!("\n  and {more} more"),
        };
        format!("{}{problems}{more}", self.message)
    }

    /// What to do next in any case: its own answer, else that of its kind.
    pub fn advice(&self) -> &str {
        self.next().unwrap_or(match self.kind {
            Kind::Definition | Kind::Usage => "mend what this names, then start again",
            Kind::Gate => "mend the producer or the rule, then start again",
            Kind::DataLoss => "bring the records back, or record the loss with `medallion accept-gap`",
            Kind::Fenced => "decide which of the two writers is to run, and stop the other",
            Kind::Damaged => "restore the table, or rebuild it with `medallion replay`",
            Kind::Unavailable => "bring back the broker, disk or store that this names; nothing is lost meanwhile",
            Kind::Bug => "start again, nothing is lost; please report this",
        })
    }

    /// The problems of the declarations, empty for other kinds.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The process exit code of the design's section 7.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Usage => 2,
            Kind::Gate => 3,
            Kind::Definition => 4,
            _ => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what())?;
        if let Some(next) = &self.next {
            write!(f, "\n  next: {next}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Adds the kind and the place to a foreign error.
pub trait Context<T> {
    /// Turns a foreign error into one of `kind` that says what was being done.
    fn or_fail<D: fmt::Display>(self, kind: Kind, what: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for std::result::Result<T, E> {
    fn or_fail<D: fmt::Display>(self, kind: Kind, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| Error::new(kind, format!("{}: {error}", what())))
    }
}
