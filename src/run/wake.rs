//! Wake-ups between layers of one process, and the wish to stop.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Rung when a layer commits; whoever reads its table waits for it. Rows never travel through it.
#[derive(Clone, Default)]
pub struct Bell {
    state: Arc<(Mutex<u64>, Condvar)>,
}

impl Bell {
    /// Wakes all waiters.
    pub fn ring(&self) {
        let (count, changed) = &*self.state;
        *count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        changed.notify_all();
    }

    /// How often it has been rung.
    pub fn count(&self) -> u64 {
        *self.state.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it has been rung more than `seen` times, or for `limit`.
    pub fn wait(&self, seen: u64, limit: Duration) {
        let (count, changed) = &*self.state;
        let guard = count.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(guard, limit, |count| *count <= seen);
        drop(waited);
    }
}

/// Whether the run should end: set by a signal or by a layer that failed.
#[derive(Clone, Default)]
pub struct Stop {
    flag: Arc<std::sync::atomic::AtomicBool>,
    bell: Bell,
}

impl Stop {
    /// Asks everyone to finish the step at hand and end.
    pub fn ask(&self) {
        self.flag.store(true, std::sync::atomic::Ordering::SeqCst);
        self.bell.ring();
    }

    /// Whether someone asked.
    pub fn asked(&self) -> bool {
        self.flag.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Sleeps for `time`, or until someone asks.
    pub fn sleep(&self, time: Duration) {
        if !self.asked() {
            self.bell.wait(0, time);
        }
    }
}
