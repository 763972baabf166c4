//! How each layer fares: one truth for the log, the metrics and whoever looks.
//!
//! **Invariant: a layer that does no work never looks like one that does.** A turn that fails makes it `retrying` until
//! a turn succeeds; one that does not come back in time makes it `stalled`; one that ended is `ended` or `failed`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::clock::{Clock, Micros};
use crate::error::Error;
use crate::metrics;

/// A turn that takes longer than this has stalled: many times what the largest step takes.
pub const STALLED_AFTER: Duration = Duration::from_secs(60);

/// What a layer is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Opening its tables; it has not turned yet.
    Starting,
    /// Turning, with or without anything to do.
    Working,
    /// Its last turn failed in a way that may pass; it opens anew after a pause.
    Retrying,
    /// A turn has not come back for [`STALLED_AFTER`], or the turns bring nothing on although there is something.
    Stalled,
    /// It ended as it was to.
    Ended,
    /// It failed for good.
    Failed,
}

impl State {
    /// Whether an operator may sleep.
    pub fn is_well(self) -> bool {
        matches!(self, Self::Starting | Self::Working | Self::Ended)
    }
}

/// What is wrong with a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// What happened, and where.
    pub why: String,
    /// What to do about it.
    pub next: String,
}

impl From<&Error> for Trouble {
    fn from(error: &Error) -> Self {
        Self {
            why: error.what(),
            next: error.advice().to_owned(),
        }
    }
}

/// How one layer fares.
#[derive(Debug, Clone)]
pub struct Fare {
    /// What it is doing.
    pub state: State,
    /// Since when, in UTC microseconds.
    pub since: Micros,
    /// What is wrong, where it is not well.
    pub trouble: Option<Trouble>,
    turned: Instant,
}

type Layers = BTreeMap<(String, &'static str), Fare>;

/// How all layers of a run fare. Clones share it.
#[derive(Clone)]
pub struct Health {
    clock: Clock,
    layers: Arc<Mutex<Layers>>,
}

impl Health {
    /// Nothing is known yet.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            layers: Arc::default(),
        }
    }

    /// The layer begins.
    pub fn begins(&self, pipeline: &str, layer: &'static str) {
        self.set(pipeline, layer, State::Starting, None);
    }

    /// The layer came back from a turn in good order.
    pub fn turned(&self, pipeline: &str, layer: &'static str) {
        self.set(pipeline, layer, State::Working, None);
    }

    /// Its turns come back and bring nothing on, although there is something.
    pub fn stalled(&self, pipeline: &str, layer: &'static str, trouble: Trouble) {
        self.set(pipeline, layer, State::Stalled, Some(trouble));
    }

    /// A turn failed; the layer will try again.
    pub fn retrying(&self, pipeline: &str, layer: &'static str, error: &Error) {
        self.set(pipeline, layer, State::Retrying, Some(error.into()));
    }

    /// The layer is gone: as it was to, or by an error.
    pub fn ended(&self, pipeline: &str, layer: &'static str, error: Option<&Error>) {
        let state = if error.is_some() { State::Failed } else { State::Ended };
        self.set(pipeline, layer, state, error.map(Trouble::from));
    }

    /// Finds the layers whose turn has not come back for `limit`.
    pub fn look(&self, limit: Duration) {
        let stuck: Vec<_> = self
            .lock()
            .iter()
            .filter(|(_, fare)| matches!(fare.state, State::Starting | State::Working) && fare.turned.elapsed() > limit)
            .map(|(name, _)| name.clone())
            .collect();
        for (pipeline, layer) in stuck {
            let trouble = Trouble {
                why: format!("a step has not come back for {} s", limit.as_secs()),
                next: "look at the disk, the store and the broker; where they are in order, restart the process"
                    .to_owned(),
            };
            tracing::warn!(pipeline, layer, "{}: {}", trouble.why, trouble.next);
            self.set(&pipeline, layer, State::Stalled, Some(trouble));
        }
    }

    /// How every layer fares, by pipeline and layer.
    pub fn all(&self) -> Vec<((String, &'static str), Fare)> {
        let layers = self.lock();
        layers.iter().map(|(name, fare)| (name.clone(), fare.clone())).collect()
    }

    /// How one layer fares; none before it began.
    pub fn of(&self, pipeline: &str, layer: &str) -> Option<Fare> {
        let all = self.all();
        all.into_iter()
            .find(|((at, name), _)| at == pipeline && *name == layer)
            .map(|(_, fare)| fare)
    }

    fn set(&self, pipeline: &str, layer: &'static str, state: State, trouble: Option<Trouble>) {
        let now = self.clock.now();
        let mut layers = self.lock();
        let before = layers.get(&(pipeline.to_owned(), layer));
        let was = before.map(|fare| (fare.state, fare.since));
        let since = match was {
            Some((before, since)) if before == state => since,
            _ => now,
        };
        if let Some((before, since)) = was
            && !before.is_well()
            && state == State::Working
        {
            let seconds = (now - since) / 1_000_000;
            tracing::info!(pipeline, layer, seconds, "works again");
        }
        if was.is_none_or(|(before, _)| before != state) {
            metrics::layer_state(pipeline, layer, state.is_well(), since);
        }
        let fare = Fare {
            state,
            since,
            trouble,
            turned: Instant::now(),
        };
        layers.insert((pipeline.to_owned(), layer), fare);
    }

    fn lock(&self) -> MutexGuard<'_, Layers> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn state(health: &Health) -> (State, Micros) {
        let fare = health.of("p", "silver").unwrap();
        (fare.state, fare.since)
    }

    #[test]
    fn trouble_lasts_from_the_first_failure_to_the_next_good_turn() {
        let clock = Clock::fixed(10);
        let health = Health::new(clock.clone());
        assert!(health.of("p", "silver").is_none());
        health.turned("p", "silver");
        assert_eq!(state(&health), (State::Working, 10));
        let error = Error::new(Kind::Unavailable, "the disk is full");
        for now in [20, 30] {
            clock.set(now);
            health.retrying("p", "silver", &error);
            assert_eq!(state(&health), (State::Retrying, 20));
        }
        let told = health.of("p", "silver").unwrap().trouble.unwrap();
        assert_eq!(told.why, "the disk is full");
        assert!(
            told.next.starts_with("bring back the broker, disk or store"),
            "{told:?}"
        );
        health.retrying("p", "silver", &error.with_next("make room"));
        assert_eq!(health.of("p", "silver").unwrap().trouble.unwrap().next, "make room");
        let error = Error::new(Kind::Bug, "the layer is gone");
        clock.set(40);
        health.turned("p", "silver");
        assert_eq!(state(&health), (State::Working, 40));
        health.ended("p", "silver", Some(&error));
        assert_eq!(state(&health), (State::Failed, 40));
    }

    #[test]
    fn a_turn_that_does_not_come_back_is_stalled_until_it_does() {
        let health = Health::new(Clock::fixed(0));
        health.turned("p", "silver");
        health.look(Duration::from_secs(60));
        assert_eq!(state(&health).0, State::Working);
        health.look(Duration::ZERO);
        assert_eq!(state(&health).0, State::Stalled);
        health.turned("p", "silver");
        assert_eq!(state(&health).0, State::Working);
    }
}
