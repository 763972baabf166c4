//! The readable copy of a layer's positions, written beside the run and never read by it.

use std::time::{Duration, Instant};

use super::driver::Components;
use crate::checkpoint::{Folder, TablePosition};
use crate::clock::Clock;

/// How often it is written while the layer moves.
const EVERY: Duration = Duration::from_secs(10);

/// Writes where one layer stands, now and then and at the end.
pub struct Mirror<'a> {
    folder: Option<Folder>,
    clock: &'a Clock,
    pipeline: &'a str,
    layer: &'static str,
    written: Option<Instant>,
    failing: bool,
}

impl<'a> Mirror<'a> {
    /// Of a layer that has not moved yet.
    pub fn new(components: &'a Components, pipeline: &'a str, layer: &'static str) -> Self {
        Self {
            folder: components.checkpoints.of(pipeline),
            clock: components.lake.clock(),
            pipeline,
            layer,
            written: None,
            failing: false,
        }
    }

    /// After a commit: writes where that was not done for a while.
    pub fn follow(&mut self, positions: impl FnOnce() -> Vec<TablePosition>) {
        if self.written.is_none_or(|written| written.elapsed() >= EVERY) {
            self.write(positions());
        }
    }

    /// Writes. A failure is said once, until it works again: the run is none the worse.
    pub fn write(&mut self, positions: Vec<TablePosition>) {
        let Some(folder) = &self.folder else {
            return;
        };
        self.written = Some(Instant::now());
        let Err(error) = folder.write_positions(self.pipeline, self.layer, &positions, self.clock.now()) else {
            self.failing = false;
            return;
        };
        if !std::mem::replace(&mut self.failing, true) {
            let (pipeline, layer) = (self.pipeline, self.layer);
            tracing::warn!(pipeline, layer, %error, "positions are not mirrored; the run goes on");
        }
    }
}
