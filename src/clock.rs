//! The only place that reads the wall clock and the clock of the CPU.

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use cpu_time::ThreadTime;

/// Wall-clock time, in microseconds since the Unix epoch, UTC.
pub type Micros = i64;

/// The instant that stands for "after everything": the last microsecond of the year 9999. Later ones exist in the
/// tables' type, but Python and others cannot show them.
pub const END_OF_TIME: Micros = 253_402_300_799_999_999;

/// The environment variable by which tests set the machine's clock off, in debug builds only: `+1h`, `-1y`, `90s`.
#[cfg(debug_assertions)]
pub const OFFSET_VARIABLE: &str = "MEDALLION_CLOCK_OFFSET";

/// A source of wall-clock time, passed to whoever needs it.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    fixed: Option<Arc<AtomicI64>>,
    /// By how much the wall clock was set, in microseconds.
    jumped: Arc<AtomicI64>,
}

/// A moment in the CPU time of the thread that takes it: only time in which that thread works counts, in user and in
/// system mode; not what others do for it, as tokio's threads that write files.
#[derive(Debug, Clone, Copy)]
pub struct CpuMark(Duration);

impl CpuMark {
    /// Now, on this thread.
    pub fn now() -> Self {
        Self(ThreadTime::now().as_duration())
    }

    /// CPU time since then; to be asked by the thread that took the mark.
    pub fn elapsed(self) -> Duration {
        ThreadTime::now().as_duration().saturating_sub(self.0)
    }

    /// [`CpuMark::elapsed`] in microseconds.
    pub fn micros(self) -> u64 {
        u64::try_from(self.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
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
            None => Utc::now().timestamp_micros().saturating_add(offset()),
        };
        unset.saturating_add(self.jumped.load(Ordering::SeqCst))
    }
}

#[cfg(not(debug_assertions))]
const fn offset() -> Micros {
    0
}

/// How far off the machine's clock is told to be.
#[cfg(debug_assertions)]
fn offset() -> Micros {
    static OFFSET: std::sync::OnceLock<Micros> = std::sync::OnceLock::new();
    let read = || {
        let Ok(text) = std::env::var(OFFSET_VARIABLE) else {
            return 0;
        };
        parse_offset(&text).unwrap_or_else(|| {
            eprintln!("{OFFSET_VARIABLE}={text}: wanted is a number and s, m, h, d or y, such as +1h");
            std::process::exit(2);
        })
    };
    *OFFSET.get_or_init(read)
}

#[cfg(debug_assertions)]
fn parse_offset(text: &str) -> Option<Micros> {
    let unit = text.chars().next_back()?;
    let seconds: Micros = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'y' => 365 * 86_400,
        _ => return None,
    };
    let number: Micros = text.strip_suffix(unit)?.parse().ok()?;
    number.checked_mul(seconds)?.checked_mul(1_000_000)
}

/// `micros` as RFC 3339 in UTC with microseconds, or the bare number where no calendar has it.
pub fn rfc3339(micros: Micros) -> String {
    DateTime::<Utc>::from_timestamp_micros(micros).map_or_else(
        || micros.to_string(),
        |time| time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_a_signed_number_and_a_unit() {
        for (text, seconds) in [
            ("+1h", 3_600),
            ("-1y", -31_536_000),
            ("90s", 90),
            ("-2d", -172_800),
            ("5m", 300),
        ] {
            assert_eq!(parse_offset(text), Some(seconds * 1_000_000), "{text}");
        }
        for wrong in ["", "h", "1", "1w", "one h", "1.5h"] {
            assert_eq!(parse_offset(wrong), None, "{wrong}");
        }
    }
}
