//! Threads of a run: each has the name of its layer, which `top -H` and profilers show, and none dies unnoticed.

use std::thread::{Builder, Scope, ScopedJoinHandle};

use super::wake::Stop;
use crate::error::{Context, Error, Kind, Result};

/// A thread of a run, or why there is none.
pub(super) type Started<'scope, T> = Result<ScopedJoinHandle<'scope, Result<T>>>;

/// Starts `work` on a thread called `name`. Where the system has no more threads, the run is asked to stop.
pub(super) fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    stop: &Stop,
    work: impl FnOnce() -> Result<T> + Send + 'scope,
) -> Started<'scope, T> {
    let started = Builder::new().name(name.to_owned()).spawn_scoped(scope, work);
    if started.is_err() {
        stop.ask();
    }
    started.or_fail(Kind::Unavailable, || format!("starting the thread of {name}"))
}

/// What a thread came to; one that panicked ends the run, never leaves a dead layer behind.
pub(super) fn ended<T>(thread: Started<'_, T>, stop: &Stop) -> Result<T> {
    thread?.join().unwrap_or_else(|panic| {
        stop.ask();
        let what = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(Error::new(Kind::Bug, format!("a layer panicked: {what}"))
            .with_next("nothing is lost: start again; please report this"))
    })
}
