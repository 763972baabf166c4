//! Which window an event belongs to and when a window is over: pure arithmetic on microseconds since the Unix epoch.
//!
//! Invariant: `is_over(end(start), watermark)` exactly when `end(start) <= closed(watermark)`. Nothing overflows:
//! windows at the edges of the time line are cut off there, and one that reaches the upper edge is over only when the
//! watermark is infinite (`i64::MAX`).

use std::time::Duration;

use crate::definition;
use crate::error::{Error, Kind, Result};

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// Tumbling windows `[start, start + length)`, starts at multiples of the length since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tumbling {
    length: i64,
    delay: i64,
}

impl Tumbling {
    /// The windows of a gold table; fails with [`Kind::Definition`] where the length is below a microsecond or a
    /// duration is beyond the time line.
    pub fn new(definition: &definition::Gold) -> Result<Self> {
        let micros = |what: &str, duration: Duration| {
            i64::try_from(duration.as_micros()).map_err(|_| {
                let message = format!("gold table '{}': {what} {duration:?} is too long", definition.name);
                Error::new(Kind::Definition, message)
            })
        };
        let length = micros("the window length", definition.window.length)?;
        if length == 0 {
            let message = format!("gold table '{}': a window must be at least 1 us long", definition.name);
            return Err(Error::new(Kind::Definition, message));
        }
        let delay = micros("the watermark delay", definition.watermark)?;
        Ok(Self { length, delay })
    }

    /// The start of the window that `event` belongs to.
    pub fn start(self, event: i64) -> i64 {
        event
            .div_euclid(self.length)
            .checked_mul(self.length)
            .unwrap_or(i64::MIN)
    }

    /// The end of the window that begins at `start`; the end itself belongs to the next window.
    pub fn end(self, start: i64) -> i64 {
        // The first window of the time line is cut off, so its start need not be a multiple of the length.
        start.saturating_add(self.length - start.rem_euclid(self.length))
    }

    /// Whether a window that ends at `end` is over at `watermark`: then it closes, and its rows from here on are late.
    pub fn is_over(self, end: i64, watermark: i64) -> bool {
        end.saturating_add(self.delay) <= watermark
    }

    /// The end of the last window that is over at `watermark`; `i64::MIN` where none is, `i64::MAX` where all are.
    pub fn closed(self, watermark: i64) -> i64 {
        if watermark == i64::MAX {
            return i64::MAX;
        }
        let Some(reached) = watermark.checked_sub(self.delay) else {
            return i64::MIN;
        };
        self.start(reached)
    }

    /// The UTC date of a window's start, in days since the Unix epoch.
    pub fn date(start: i64) -> i32 {
        i32::try_from(start.div_euclid(DAY)).unwrap_or(i32::MAX)
    }
}
