//! SIGINT and SIGTERM: the first finishes the step at hand, the second leaves at once.

use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};

use crate::error::{Context, Kind, Result};
use crate::run::wake::Stop;

/// Exit code after a second signal.
const IMPATIENT: i32 = 130;

/// Asks `stop` at the first signal and ends the process at the second: what is not committed then comes again.
pub fn listen(runtime: &Handle, stop: Stop) -> Result<()> {
    let _guard = runtime.enter();
    let listen = |kind| signal(kind).or_fail(Kind::Unavailable, || "listening for signals");
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    runtime.spawn(async move {
        let mut asked = false;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if asked {
                std::process::exit(IMPATIENT);
            }
            asked = true;
            tracing::info!("stopping after the step at hand; once more to leave at once");
            stop.ask();
        }
    });
    Ok(())
}
