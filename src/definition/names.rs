//! What things may be called: pipelines, tables, columns.

use std::collections::HashMap;

use super::EVENT_DATE;
use super::raw::{Report, Spot};

/// Names of pipelines and gold tables: they are directory names of the lake, on any file system and object store.
pub(super) fn check_table_name(name: &str, at: &Spot, report: &mut Report) {
    let mut letters = name.chars();
    let starts = letters.next().is_some_and(|letter| letter.is_ascii_lowercase());
    let goes_on = letters.all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_');
    if !(starts && goes_on && name.len() <= 63) {
        let rule = "a lower-case letter, then up to 62 lower-case letters, digits or underscores";
        report.add(at, format!("{name:?} cannot name a table"), Some(rule.to_owned()));
    }
}

/// The column names of one table so far.
#[derive(Debug, Default)]
pub(super) struct Columns {
    /// In lower case, and as declared.
    taken: HashMap<String, String>,
}

impl Columns {
    /// The columns of a silver table: `event_date` is taken from the start.
    pub(super) fn of_silver() -> Self {
        Self {
            taken: HashMap::from([(EVENT_DATE.to_owned(), EVENT_DATE.to_owned())]),
        }
    }

    /// Takes `name` for a declared column; a bad or taken name is a problem. Case does not tell columns apart,
    /// because it does not in many engines that read the tables.
    pub(super) fn take(&mut self, name: &str, at: &Spot, report: &mut Report) -> bool {
        if let Some(message) = misshapen(name) {
            report.add(at, message, None);
            return false;
        }
        self.take_as_is(name, at, report)
    }

    /// As [`Columns::take`], for a column that already has its name in another table.
    pub(super) fn take_as_is(&mut self, name: &str, at: &Spot, report: &mut Report) -> bool {
        let lower = name.to_ascii_lowercase();
        if let Some(taken) = self.taken.get(&lower) {
            let message = if taken == EVENT_DATE && name.eq_ignore_ascii_case(EVENT_DATE) {
                format!("column {name:?} collides with {EVENT_DATE}, which every silver row has")
            } else {
                format!("column {name:?} collides with column {taken:?}")
            };
            report.add(at, message, None);
            return false;
        }
        self.taken.insert(lower, name.to_owned());
        true
    }
}

fn misshapen(name: &str) -> Option<String> {
    if name.starts_with('_') {
        return Some(format!(
            "column {name:?} starts with an underscore, which marks medallion's own columns"
        ));
    }
    let starts = name.starts_with(|letter: char| letter.is_ascii_alphabetic());
    let goes_on = name
        .chars()
        .all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    (!(starts && goes_on))
        .then(|| format!("{name:?} cannot name a column: a letter, then letters, digits or underscores"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn messages(check: impl FnOnce(&mut Report)) -> Vec<String> {
        let mut report = Report::new(Path::new("f"));
        check(&mut report);
        report
            .into_problems()
            .into_iter()
            .map(|problem| problem.message)
            .collect()
    }

    #[test]
    fn table_names_are_plain_path_segments() {
        let long = "a".repeat(64);
        for name in ["", "View", "1st", "_x", "a-b", "a/b", "ü", long.as_str()] {
            assert_eq!(
                messages(|report| check_table_name(name, &Spot::file(), report)).len(),
                1,
                "{name}"
            );
        }
        for name in ["view_log", "a", "x9"] {
            assert_eq!(
                messages(|report| check_table_name(name, &Spot::file(), report)).len(),
                0,
                "{name}"
            );
        }
    }

    #[test]
    fn a_column_name_is_shaped_and_free() {
        let mut columns = Columns::of_silver();
        let found = messages(|report| {
            for name in ["id", "userId", "USERID", "_seq", "Event_Date", "a b", "", "9a"] {
                columns.take(name, &Spot::file(), report);
            }
        });
        assert_eq!(found.len(), 6, "{found:?}");
        assert!(found[0].contains("collides with column \"userId\""), "{found:?}");
    }
}
