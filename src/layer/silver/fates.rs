//! How many records had which fate.

use serde::{Deserialize, Serialize};

use super::reject::Reason;

/// Counts of one step. Every record is counted once: [`Fates::records`] is the number of records that came in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fates {
    /// Rows of silver.
    pub accepted: u64,
    /// Rejected: no JSON of one event.
    pub malformed: u64,
    /// Rejected: JSON, but not what the contract says.
    pub schema: u64,
    /// Rejected: no match in the reference data.
    pub lookup: u64,
    /// Rejected: a rule did not pass, or an expression failed on the row.
    pub expectation: u64,
    /// Rejected: too far ahead of its record's timestamp.
    pub event_time: u64,
    /// Repeats an accepted row.
    pub duplicate: u64,
    /// A rule said to drop it.
    pub dropped: u64,
    /// Ticks, which are no records.
    pub ticks: u64,
    /// Records that the rules were asked about.
    pub judged: u64,
    /// Per rule in declared order: rows that did not pass it, whatever became of them.
    pub failed_rules: Vec<(String, u64)>,
}

impl Fates {
    /// Records in all.
    pub fn records(&self) -> u64 {
        self.accepted + self.rejected()
    }

    /// Records that became a row of rejects.
    pub fn rejected(&self) -> u64 {
        self.malformed + self.schema + self.lookup + self.expectation + self.event_time + self.duplicate + self.dropped
    }

    /// The count for a reason of rejection.
    pub fn of(&self, reason: Reason) -> u64 {
        match reason {
            Reason::Malformed => self.malformed,
            Reason::Schema => self.schema,
            Reason::Lookup => self.lookup,
            Reason::Expectation => self.expectation,
            Reason::EventTime => self.event_time,
            Reason::Duplicate => self.duplicate,
            Reason::Dropped => self.dropped,
        }
    }

    /// Records that did not pass a rule.
    pub fn failed(&self, rule: &str) -> u64 {
        let found = self.failed_rules.iter().find(|(name, _)| name == rule);
        found.map_or(0, |(_, failed)| *failed)
    }

    pub(super) fn count(&mut self, reason: Reason) {
        self.add_rejected(reason, 1);
    }

    /// Adds records that were rejected for a reason.
    pub fn add_rejected(&mut self, reason: Reason, records: u64) {
        *match reason {
            Reason::Malformed => &mut self.malformed,
            Reason::Schema => &mut self.schema,
            Reason::Lookup => &mut self.lookup,
            Reason::Expectation => &mut self.expectation,
            Reason::EventTime => &mut self.event_time,
            Reason::Duplicate => &mut self.duplicate,
            Reason::Dropped => &mut self.dropped,
        } += records;
    }

    /// Adds the counts of another step.
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.malformed += other.malformed;
        self.schema += other.schema;
        self.lookup += other.lookup;
        self.expectation += other.expectation;
        self.event_time += other.event_time;
        self.duplicate += other.duplicate;
        self.dropped += other.dropped;
        self.ticks += other.ticks;
        self.judged += other.judged;
        for (rule, count) in &other.failed_rules {
            match self.failed_rules.iter_mut().find(|(known, _)| known == rule) {
                Some((_, sum)) => *sum += count,
                None => self.failed_rules.push((rule.clone(), *count)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_count_and_all_are_summed() {
        let mut fates = Fates::default();
        for reason in Reason::ALL {
            fates.count(reason);
            assert_eq!(fates.of(reason), 1, "{reason:?}");
        }
        fates.accepted = 3;
        assert_eq!(fates.records(), 10);
        fates.failed_rules.push(("rule".to_owned(), 2));
        let mut sum = fates.clone();
        sum.add(&fates);
        assert_eq!(sum.records(), 20);
        assert_eq!(sum.failed_rules, [("rule".to_owned(), 4)]);
    }
}
