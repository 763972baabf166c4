//! Silver's archive of keys: the volumes among its checkpoints.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::checkpoint::Volumes;
use crate::checkpoint::snapshot::Entry;
use crate::error::Result;
use crate::layer::silver::{Archive, First, Key};
use crate::metrics;

/// The volumes of a state: the state looks into them, and the keeper of its snapshots names them there.
#[derive(Debug, Clone)]
pub struct VolumeArchive {
    pipeline: String,
    volumes: Arc<Mutex<Volumes>>,
}

impl VolumeArchive {
    /// The archive of this pipeline's silver.
    pub fn new(pipeline: &str, volumes: Volumes) -> Self {
        Self {
            pipeline: pipeline.to_owned(),
            volumes: Arc::new(Mutex::new(volumes)),
        }
    }

    /// The volumes, for this one thread.
    pub fn volumes(&self) -> MutexGuard<'_, Volumes> {
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Archive for VolumeArchive {
    fn add(&mut self, lot: &mut dyn Iterator<Item = (Key, First)>) -> bool {
        let lot = lot.map(|(key, First { seq, event_time })| Entry { key, seq, event_time });
        let added = self.volumes().add(lot.collect());
        if let Err(error) = &added {
            metrics::snapshot_failed(&self.pipeline);
            tracing::warn!(pipeline = self.pipeline, %error, "older keys stay in memory; the run goes on");
        }
        added.is_ok()
    }

    fn look_up(&self, keys: &[Key]) -> Result<Vec<(usize, First)>> {
        let found = self.volumes().look_up(keys)?;
        let firsts = found
            .into_iter()
            .map(|(at, Entry { seq, event_time, .. })| (at, First { seq, event_time }));
        Ok(firsts.collect())
    }

    fn forget(&mut self, forgotten: &dyn Fn(i64) -> bool) {
        self.volumes().forget(forgotten);
    }

    fn keys(&self) -> usize {
        usize::try_from(self.volumes().keys()).unwrap_or(usize::MAX)
    }

    fn bytes(&self) -> usize {
        self.volumes().bytes()
    }
}
