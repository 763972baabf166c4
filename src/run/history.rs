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
type Minutes = BTreeMap<i64, Positions>;

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
        minutes.entry(minute).or_default().insert(layer, position);
        // The minute before the hour is where its first one begins.
        minutes.retain(|at, _| *at >= minute - MINUTES && *at <= minute);
    }

    /// The minutes of a pipeline from the first that is known up to `now`; a layer that did nothing in one is where it was.
    pub fn of(&self, pipeline: &str, now: Micros) -> Vec<Minute> {
        let pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(minutes) = pipelines.get(pipeline) else {
            return Vec::new();
        };
        let newest = now.div_euclid(MINUTE);
        let mut positions = Positions::new();
        let first = minutes.keys().next().copied().unwrap_or(newest).max(newest - MINUTES);
        for (_, known) in minutes.range(..first) {
            positions.extend(known);
        }
        (first..=newest)
            .map(|minute| {
                positions.extend(minutes.get(&minute).into_iter().flatten());
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
        assert_eq!(later.len(), 1);
        assert_eq!(later[0].positions, Positions::from([("silver", 40)]));
    }
}
