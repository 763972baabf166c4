//! SIGINT and SIGTERM: the first finishes the step at hand, the second leaves at once.

use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};

use crate::error::{Context, Kind, Result};
use crate::run::wake::Stop;

/// Exit codes of a process that a second signal ended, by the shells' custom: 128 and the signal's number.
const INTERRUPTED: i32 = 130;
const TERMINATED: i32 = 143;

/// Asks `stop` at the first signal and ends the process at the second: what is not committed then comes again.
pub fn listen(runtime: &Handle, stop: Stop) -> Result<()> {
    let _guard = runtime.enter();
    let listen = |kind| signal(kind).or_fail(Kind::Unavailable, || "listening for signals");
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    runtime.spawn(async move {
        let mut asked = false;
        loop {
            let code = tokio::select! {
                _ = interrupt.recv() => INTERRUPTED,
                _ = terminate.recv() => TERMINATED,
            };
            if asked {
                tracing::warn!("left at once; what is not committed is read again by the next start");
                std::process::exit(code);
            }
            asked = true;
            tracing::info!("stopping after the step at hand; once more to leave at once");
            stop.ask();
        }
    });
    Ok(())
}
