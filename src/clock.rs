//! The only place that reads the wall clock.

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

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
    /// By how much the wall clock was set, in microseconds.
    jumped: Arc<AtomicI64>,
}

/// Where [`Clock::elapsed`] counts from.
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands at `now` until [`Clock::set`] moves it: for tests.
    pub fn fixed(now: Micros) -> Self {
        Self {
            fixed: Some(Arc::new(AtomicI64::new(now))),
            jumped: Arc::default(),
        }
    }

    /// Moves a fixed clock; the machine's clock stays as it is.
    pub fn set(&self, now: Micros) {
        if let Some(fixed) = &self.fixed {
            fixed.store(now, Ordering::SeqCst);
        }
    }

    /// Sets the wall clock ahead or back by `micros`, as an operator or a broken time server would: for tests.
    pub fn jump(&self, micros: Micros) {
        self.jumped.fetch_add(micros, Ordering::SeqCst);
    }

    /// Microseconds since some instant, to measure how long something takes: no setting of the wall clock moves it.
    pub fn elapsed(&self) -> Micros {
        match &self.fixed {
            Some(fixed) => fixed.load(Ordering::SeqCst),
            None => i64::try_from(STARTED.elapsed().as_micros()).unwrap_or(i64::MAX),
        }
    }

    /// The time now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may ask")]
    pub fn now(&self) -> Micros {
        let unset = match &self.fixed {
            Some(fixed) => fixed.load(Ordering::SeqCst),
            None => Utc::now().timestamp_micros(),
        };
        unset.saturating_add(self.jumped.load(Ordering::SeqCst))
    }
}

/// `micros` as RFC 3339 in UTC with microseconds, or the bare number where no calendar has it.
pub fn rfc3339(micros: Micros) -> String {
    DateTime::<Utc>::from_timestamp_micros(micros).map_or_else(
        || micros.to_string(),
        |time| time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
    )
}
