//! What is looked at beside the layers while they run: do their turns come back, and are the declarations still good?
//!
//! A run works with the declarations that it started with. What is written into the files meanwhile is checked and
//! told, never applied: a new declaration needs a replay or an explicit `--apply-from-here`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::health::{Health, STALLED_AFTER};
use super::wake::Bell;
use crate::definition::Pipeline;
use crate::error::Result;
use crate::metrics;

/// How often turns are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the declarations are read.
const READ_EVERY: Duration = Duration::from_secs(2);

/// Reads the declaration of a pipeline as it is on disk now.
pub type Reload = Arc<dyn Fn(&str) -> Result<Pipeline> + Send + Sync>;

/// The end of a run, awaited by its watch.
#[derive(Default)]
pub struct RunEnd {
    bell: Bell,
    over: AtomicBool,
}

impl RunEnd {
    /// Waits until the run is over, for `limit` at most. Whether it is.
    pub fn wait(&self, limit: Duration) -> bool {
        if !self.is_over() {
            self.bell.wait(0, limit);
        }
        self.is_over()
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// The run is over.
    pub fn tell(&self) {
        self.over.store(true, Ordering::SeqCst);
        self.bell.ring();
    }
}

/// Looks until the run is over.
pub fn watch(pipelines: &[Pipeline], reload: Option<&Reload>, health: &Health, end: &RunEnd) {
    let mut declared: Vec<_> = pipelines.iter().map(Declared::new).collect();
    let mut read = Instant::now();
    while !end.wait(LOOK_EVERY) {
        health.look(STALLED_AFTER);
        if let Some(reload) = reload
            && read.elapsed() >= READ_EVERY
        {
            for declared in &mut declared {
                declared.look(reload);
            }
            read = Instant::now();
        }
    }
}

/// What the files of a declaration hold, beside what is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
enum OnDisk {
    InForce,
    Changed,
    Broken(String),
}

struct Declared<'a> {
    in_force: &'a Pipeline,
    on_disk: OnDisk,
}

impl<'a> Declared<'a> {
    fn new(in_force: &'a Pipeline) -> Self {
        metrics::declaration(&in_force.name, false, false);
        Self {
            in_force,
            on_disk: OnDisk::InForce,
        }
    }

    /// Reads the files and tells when what they hold has become something else.
    fn look(&mut self, reload: &Reload) {
        let name = &self.in_force.name;
        let on_disk = match reload(name) {
            // Their readable forms hold everything but the values of secrets.
            Ok(read) if format!("{read:?}") == format!("{:?}", self.in_force) => OnDisk::InForce,
            Ok(_) => OnDisk::Changed,
            Err(error) => OnDisk::Broken(error.to_string()),
        };
        if on_disk == self.on_disk {
            return;
        }
        match &on_disk {
            OnDisk::InForce => tracing::info!(pipeline = name, "the declaration on disk is the one in force again"),
            OnDisk::Changed => tracing::warn!(
                pipeline = name,
                "the declaration on disk has changed; this run goes on with the one it started with: stop it, then \
                 replay, or run with --apply-from-here"
            ),
            OnDisk::Broken(why) => tracing::warn!(
                pipeline = name,
                "the declaration on disk is broken; this run goes on with the one it started with: {why}"
            ),
        }
        let broken = matches!(on_disk, OnDisk::Broken(_));
        metrics::declaration(name, broken, on_disk == OnDisk::Changed);
        self.on_disk = on_disk;
    }
}
