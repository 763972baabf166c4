//! The only place that reads the wall clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};

/// Wall-clock time, in microseconds since the Unix epoch, UTC.
pub type Micros = i64;

/// The instant that stands for "after everything": the last microsecond of the year 9999. Later ones exist in the
/// tables' type, but Python and others cannot show them.
pub const END_OF_TIME: Micros = 253_402_300_799_999_999;

/// A source of wall-clock time, passed to whoever needs it.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    fixed: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands at `now` until [`Clock::set`] moves it: for tests.
    pub fn fixed(now: Micros) -> Self {
        Self {
            fixed: Some(Arc::new(AtomicI64::new(now))),
        }
    }

    /// Moves a fixed clock; the machine's clock stays as it is.
    pub fn set(&self, now: Micros) {
        if let Some(fixed) = &self.fixed {
            fixed.store(now, Ordering::SeqCst);
        }
    }

    /// The time now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may ask")]
    pub fn now(&self) -> Micros {
        match &self.fixed {
            Some(fixed) => fixed.load(Ordering::SeqCst),
            None => Utc::now().timestamp_micros(),
        }
    }
}

/// `micros` as RFC 3339 in UTC with microseconds, or the bare number where no calendar has it.
pub fn rfc3339(micros: Micros) -> String {
    DateTime::<Utc>::from_timestamp_micros(micros).map_or_else(
        || micros.to_string(),
        |time| time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
    )
}
