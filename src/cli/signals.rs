//! SIGINT and SIGTERM: the first finishes the step at hand, the second leaves at once.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};

use crate::error::{Context, Kind, Result};
use crate::run::wake::{Bell, Stop};

/// Exit codes of a process that a signal ended before it was done, by the shells' custom: 128 and the signal's number.
const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;

/// The first signal, once it has come. Clones share it.
#[derive(Clone, Default)]
pub struct First {
    code: Arc<OnceLock<u8>>,
    bell: Bell,
}

impl First {
    /// The exit code of what it ended before it was done.
    pub fn code(&self) -> u8 {
        *self.code.get().unwrap_or(&TERMINATED)
    }

    /// Waits until it has come, for at most `limit`.
    pub fn wait(&self, limit: Duration) {
        self.bell.wait(0, limit);
    }
}

/// Asks `stop` at the first signal and ends the process at the second: what is not committed then comes again.
pub fn listen(runtime: &Handle, stop: Stop) -> Result<First> {
    let _guard = runtime.enter();
    let listen = |kind| signal(kind).or_fail(Kind::Unavailable, || "listening for signals");
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let first = First::default();
    let came = first.clone();
    runtime.spawn(async move {
        loop {
            let code = tokio::select! {
                _ = interrupt.recv() => INTERRUPTED,
                _ = terminate.recv() => TERMINATED,
            };
            if came.code.set(code).is_err() {
                tracing::warn!("left at once; what is not committed is read again by the next start");
                std::process::exit(i32::from(code));
            }
            tracing::info!("stopping after the step at hand; once more to leave at once");
            came.bell.ring();
            stop.ask();
        }
    });
    Ok(first)
}
