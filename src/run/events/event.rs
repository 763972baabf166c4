//! What one commit of a table was, as a row of the table of events.

use chrono::DateTime;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::clock::Micros;
use crate::layer::silver::Fates;
use crate::run::progress::{self, Progress};
use crate::run::totals;
use crate::table::Entry;

/// What kind of thing was done, with Databricks' word for it where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A step of a layer.
    FlowProgress,
    /// A replay has swapped all rows.
    Replay,
    /// The table was made.
    DatasetDefinition,
    /// A changed definition was taken into force for new rows.
    FlowDefinition,
    /// Compaction, vacuum, letting go of old rows, and whatever else leaves the other rows as they are.
    MaintenanceProgress,
    /// Someone else added, removed or changed rows.
    Foreign,
}

impl Kind {
    /// Its word in the table.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::FlowProgress => "flow_progress",
            Self::Replay => "replay",
            Self::DatasetDefinition => "dataset_definition",
            Self::FlowDefinition => "flow_definition",
            Self::MaintenanceProgress => "maintenance_progress",
            Self::Foreign => "foreign",
        }
    }

    fn of(entry: &Entry) -> Self {
        match (entry.is_ours, entry.operation.as_str()) {
            (true, "REPLAY") => Self::Replay,
            (true, "SET TBLPROPERTIES") => Self::FlowDefinition,
            (true, "DELETE") => Self::MaintenanceProgress,
            (true, _) => Self::FlowProgress,
            (false, "CREATE TABLE") => Self::DatasetDefinition,
            (false, _) if entry.changes_rows => Self::Foreign,
            (false, _) => Self::MaintenanceProgress,
        }
    }
}

/// One commit of a table.
pub(super) struct Event {
    pub(super) layer: &'static str,
    pub(super) dataset: String,
    pub(super) kind: Kind,
    pub(super) entry: Entry,
    /// What the step says of itself; none for what is no step, or one of an earlier release.
    pub(super) progress: Option<Progress>,
    /// What became of the records that it read; none but for silver.
    pub(super) fates: Option<Fates>,
}

impl Event {
    /// Of a commit of the table `dataset`.
    pub(super) fn new(layer: &'static str, dataset: &str, mut entry: Entry) -> Self {
        let kind = Kind::of(&entry);
        if kind == Kind::MaintenanceProgress {
            // The state in it is that of a step before it, carried on.
            entry.state = Value::Null;
        }
        Self {
            layer,
            dataset: dataset.to_owned(),
            kind,
            progress: part(&entry.state, progress::KEY),
            fates: part(&entry.state, totals::OF_STEP),
            entry,
        }
    }

    /// A number of the step's progress.
    pub(super) fn progress(&self, number: fn(&Progress) -> Option<u64>) -> Option<i64> {
        long(number(self.progress.as_ref()?)?)
    }

    /// Microseconds of the step's progress, in milliseconds.
    pub(super) fn millis(&self, micros: fn(&Progress) -> Option<u64>) -> Option<f64> {
        Some(micros(self.progress.as_ref()?)? as f64 / 1e3)
    }

    /// A number of the step's fates.
    pub(super) fn fate(&self, number: fn(&Fates) -> u64) -> Option<i64> {
        long(number(self.fates.as_ref()?))
    }

    /// A number of the commit's state.
    pub(super) fn state(&self, key: &str) -> Option<i64> {
        self.entry.state.get(key)?.as_i64()
    }

    /// The seq from which the step went; bronze's is what it reached less its rows, one a seq.
    pub(super) fn start(&self) -> Option<i64> {
        let bronze = || Some(self.state("position")? - self.entry.rows_added?);
        self.state("from")
            .or_else(|| bronze().filter(|_| self.layer == "bronze"))
    }

    /// Bytes of the data files of both tables of the layer.
    pub(super) fn bytes_out(&self) -> Option<i64> {
        let beside = self.progress.as_ref().map_or(0, |progress| progress.beside_bytes);
        long(self.entry.bytes_added + beside)
    }

    /// The event-time watermark after it.
    pub(super) fn watermark(&self) -> Option<Micros> {
        let text = self.entry.state.get("watermark")?.as_str()?;
        Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp_micros())
    }
}

fn part<T: DeserializeOwned>(state: &Value, key: &str) -> Option<T> {
    T::deserialize(state.get(key)?).ok()
}

fn long(number: u64) -> Option<i64> {
    i64::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(is_ours: bool, operation: &str, changes_rows: bool) -> Entry {
        Entry {
            is_ours,
            operation: operation.to_owned(),
            changes_rows,
            ..Entry::default()
        }
    }

    #[test]
    fn a_commit_is_what_was_done_and_who_did_it() {
        for (is_ours, operation, changes_rows, kind) in [
            (true, "STREAMING UPDATE", true, Kind::FlowProgress),
            (true, "STREAMING UPDATE", false, Kind::FlowProgress),
            (true, "REPLAY", true, Kind::Replay),
            (true, "SET TBLPROPERTIES", false, Kind::FlowDefinition),
            (true, "DELETE", true, Kind::MaintenanceProgress),
            (false, "CREATE TABLE", false, Kind::DatasetDefinition),
            (false, "OPTIMIZE", false, Kind::MaintenanceProgress),
            (false, "VACUUM END", false, Kind::MaintenanceProgress),
            (false, "STREAMING UPDATE", true, Kind::Foreign),
            (false, "DELETE", true, Kind::Foreign),
        ] {
            let found = Kind::of(&entry(is_ours, operation, changes_rows));
            assert_eq!(found, kind, "{operation}");
        }
    }

    #[test]
    fn what_a_commit_of_an_earlier_release_does_not_say_is_not_known() {
        let mut bronze = entry(true, "STREAMING UPDATE", true);
        bronze.rows_added = Some(40);
        bronze.state = json!({"position": 100, "bytes": 7});
        let event = Event::new("bronze", "bronze", bronze.clone());
        assert_eq!((event.start(), event.state("position")), (Some(60), Some(100)));
        assert_eq!(event.progress(|progress| Some(progress.rows)), None);
        assert_eq!(event.millis(|progress| Some(progress.read_us)), None);
        let silver = Event::new("silver", "silver", bronze);
        assert_eq!(silver.start(), None, "silver has fewer rows than seqs");
    }

    #[test]
    fn letting_go_of_rows_is_not_the_step_whose_state_it_carries_on() {
        let mut bronze = entry(true, "DELETE", true);
        bronze.state = json!({"position": 100, "from": 60, "let_go": {"rows": 7}});
        let event = Event::new("bronze", "bronze", bronze);
        assert_eq!((event.start(), event.state("position")), (None, None));
    }

    #[test]
    fn the_end_of_time_is_a_watermark_like_any() {
        let mut silver = entry(true, "STREAMING UPDATE", true);
        silver.state = json!({"watermark": crate::clock::rfc3339(crate::clock::END_OF_TIME)});
        let event = Event::new("silver", "silver", silver);
        assert_eq!(event.watermark(), Some(crate::clock::END_OF_TIME));
    }
}
