//! Where each layer was in the last hour, a position a minute: for whoever looks at a run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::clock::{Micros, rfc3339};

/// Minutes that are kept.
const MINUTES: i64 = 60;
const MINUTE: Micros = 60_000_000;

/// Where the layers of one pipeline were at the end of a minute, or now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Minute {
    /// Its begin, RFC 3339.
    pub at: String,
    /// The next seq of each layer that ran here.
    pub positions: BTreeMap<&'static str, i64>,
}

type Positions = BTreeMap<&'static str, i64>;

/// What is kept of one pipeline.
#[derive(Default)]
struct Minutes {
    /// Where its layers were before the first minute that is kept.
    before: Positions,
    /// Where they were at the end of each minute in which they moved.
    moves: BTreeMap<i64, Positions>,
}

impl Minutes {
    /// Forgets the moves before the minute `first`, but not where they led to.
    fn forget_before(&mut self, first: i64) {
        let kept = self.moves.split_off(&first);
        for (_, positions) in std::mem::replace(&mut self.moves, kept) {
            self.before.extend(positions);
        }
    }
}

/// The last hour of all pipelines of a run. Clones share it.
#[derive(Clone, Default)]
pub struct History {
    pipelines: Arc<Mutex<BTreeMap<String, Minutes>>>,
}

impl History {
    /// Notes where a layer is at `now`.
    pub(super) fn note(&self, pipeline: &str, layer: &'static str, position: i64, now: Micros) {
        let mut pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        let minutes = pipelines.entry(pipeline.to_owned()).or_default();
        let minute = now.div_euclid(MINUTE);
        minutes.moves.entry(minute).or_default().insert(layer, position);
        // The minute before the hour is where its first one begins.
        minutes.forget_before(minute - MINUTES);
        // Of a clock that was set back.
        minutes.moves.retain(|at, _| *at <= minute);
    }

    /// The minutes of a pipeline from the first that is known up to `now`; a layer that did nothing in one is where it was.
    pub fn of(&self, pipeline: &str, now: Micros) -> Vec<Minute> {
        let pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(minutes) = pipelines.get(pipeline) else {
            return Vec::new();
        };
        let newest = now.div_euclid(MINUTE);
        let oldest = newest - MINUTES;
        let mut positions = minutes.before.clone();
        for (_, known) in minutes.moves.range(..oldest) {
            positions.extend(known);
        }
        // What was before the hour is known for all of it.
        let first = match minutes.moves.keys().next() {
            Some(first) if positions.is_empty() => *first,
            _ => oldest,
        };
        (first..=newest)
            .map(|minute| {
                positions.extend(minutes.moves.get(&minute).into_iter().flatten());
                Minute {
                    at: rfc3339(minute * MINUTE),
                    positions: positions.clone(),
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_where_it_was_until_it_moves_and_an_hour_is_kept() {
        let history = History::default();
        assert!(history.of("p", 0).is_empty());
        history.note("p", "bronze", 10, 0);
        history.note("p", "silver", 5, MINUTE / 2);
        history.note("p", "bronze", 30, 2 * MINUTE);
        let positions: Vec<_> = history.of("p", 3 * MINUTE).into_iter().map(|it| it.positions).collect();
        let at = |bronze, silver| Positions::from([("bronze", bronze), ("silver", silver)]);
        assert_eq!(positions, [at(10, 5), at(10, 5), at(30, 5), at(30, 5)]);
        history.note("p", "silver", 40, 100 * MINUTE);
        let later = history.of("p", 100 * MINUTE);
        assert_eq!(later.len(), 61);
        assert_eq!(
            later[0].positions,
            at(30, 5),
            "bronze has not moved for an hour, and is not gone"
        );
        assert_eq!(later[60].positions, at(30, 40));
        assert_eq!(later[60].at, rfc3339(100 * MINUTE));
    }

    #[test]
    fn a_pipeline_that_has_not_moved_for_an_hour_is_where_it_was() {
        let history = History::default();
        history.note("p", "bronze", 10, 0);
        history.note("p", "bronze", 20, 30 * MINUTE);
        let hour = history.of("p", 200 * MINUTE);
        assert_eq!(hour.len(), 61);
        assert!(hour.iter().all(|minute| minute.positions["bronze"] == 20), "{hour:?}");
    }

    #[test]
    fn a_clock_that_is_set_back_leaves_no_minutes_to_come() {
        let history = History::default();
        history.note("p", "bronze", 10, 500 * MINUTE);
        history.note("p", "bronze", 20, 400 * MINUTE);
        let minutes = history.of("p", 401 * MINUTE);
        assert_eq!(
            minutes.iter().map(|it| it.positions["bronze"]).collect::<Vec<_>>(),
            [20, 20]
        );
    }
}
