//! Rules over the row: which it fails, and what becomes of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Schema;
use arrow::util::display::array_value_to_string;
use datafusion::physical_expr::PhysicalExpr;

use super::decode::shorten;
use super::evaluate::evaluate;
use super::reject::{Reason, Rejection};
use crate::definition::expression::{check_scalar, compile};
use crate::definition::{Expect, OnFail};
use crate::error::{Error, Kind, Result};

/// A rule ready to run.
#[derive(Debug)]
pub struct Rule {
    name: String,
    sql: String,
    expr: Arc<dyn PhysicalExpr>,
    /// The columns that the rule reads, shown with a failure.
    reads: Vec<String>,
    on_fail: OnFail,
}

/// A rule that a row fails.
#[derive(Debug)]
struct Failure {
    rule: usize,
    /// Why it could not be evaluated; none: its value was not true.
    error: Option<String>,
    /// What the failure asks for. A rule that cannot be evaluated never lets its row pass.
    action: OnFail,
}

/// What the rules say of a batch.
#[derive(Debug, Default)]
pub struct Judgement {
    /// Rows that do not pass, and why.
    pub rejections: BTreeMap<usize, Rejection>,
    /// The first row that a rule stops the layer at: its place and the words for it.
    pub halt: Option<(usize, String)>,
    /// Per rule: rows that did not pass it.
    pub failed: Vec<(String, u64)>,
}

impl Rule {
    /// Compiles an expectation over rows of the schema `row`.
    ///
    /// # Errors
    /// `Kind::Definition` where its expression does not check.
    pub fn compile(expect: &Expect, row: &Schema) -> Result<Self> {
        let reads = check_scalar(&expect.sql, row)
            .map(|found| found.reads)
            .unwrap_or_default();
        Ok(Self {
            name: expect.name.clone(),
            sql: expect.sql.clone(),
            expr: compile(&expect.sql, row).map_err(|error| error.context(format!("rule {:?}", expect.name)))?,
            reads,
            on_fail: expect.on_fail,
        })
    }

    fn describe(&self, failure: &Failure, batch: &RecordBatch, row: usize) -> String {
        let reads = self.reads.iter().filter_map(|name| {
            let column = batch.column_by_name(name)?;
            Some(format!("{name} = {}", shown(column, row)))
        });
        let values: Vec<String> = reads.collect();
        let what = failure.error.as_deref().unwrap_or("not true");
        format!("{}: {}: {what} ({})", self.name, self.sql, values.join(", "))
    }
}

/// A value for a message.
pub(super) fn shown(column: &dyn Array, row: usize) -> String {
    if column.is_null(row) {
        return "null".to_owned();
    }
    shorten(&array_value_to_string(column, row).unwrap_or_default())
}

/// Runs all rules over all rows. A rule passes only when it is true.
///
/// # Errors
/// `Kind::Bug` only: a rule that fails on a row is the row's failure.
pub fn judge(rules: &[Rule], batch: &RecordBatch) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    let mut failures: BTreeMap<usize, Vec<Failure>> = BTreeMap::new();
    for (place, rule) in rules.iter().enumerate() {
        let evaluated = evaluate(&rule.expr, batch)?;
        let Some(values) = evaluated.values.as_boolean_opt() else {
            return Err(Error::new(
                Kind::Definition,
                format!("rule {:?} is not a boolean: {}", rule.name, rule.sql),
            ));
        };
        let failed = batch.num_rows() - values.true_count();
        judgement.failed.push((rule.name.clone(), failed as u64));
        if failed == 0 || (rule.on_fail == OnFail::Warn && evaluated.failed.is_empty()) {
            continue;
        }
        let mut errors = evaluated.failed.into_iter().peekable();
        for row in (0..values.len()).filter(|row| values.is_null(*row) || !values.value(*row)) {
            let error = errors.next_if(|(failed, _)| *failed == row).map(|(_, error)| error);
            let action = if error.is_some() {
                rule.on_fail.max(OnFail::Reject)
            } else {
                rule.on_fail
            };
            if action > OnFail::Warn {
                let failure = Failure {
                    rule: place,
                    error,
                    action,
                };
                failures.entry(row).or_default().push(failure);
            }
        }
    }
    for (row, failures) in failures {
        let rejection = sentence(rules, batch, row, &failures);
        if failures.iter().any(|failure| failure.action == OnFail::Halt) {
            judgement.halt = Some((row, rejection.detail));
            break;
        }
        judgement.rejections.insert(row, rejection);
    }
    Ok(judgement)
}

/// What becomes of a row that fails: the strongest action wins, every failed rule is named.
fn sentence(rules: &[Rule], batch: &RecordBatch, row: usize, failures: &[Failure]) -> Rejection {
    let dropped = failures.iter().all(|failure| failure.action == OnFail::Drop);
    let reason = if dropped { Reason::Dropped } else { Reason::Expectation };
    let failed = || {
        failures
            .iter()
            .filter_map(|failure| Some((failure, rules.get(failure.rule)?)))
    };
    let details: Vec<String> = failed()
        .map(|(failure, rule)| rule.describe(failure, batch, row))
        .collect();
    let mut rejection = Rejection::new(reason, details.join("; "));
    rejection.rules = failed().map(|(_, rule)| rule.name.clone()).collect();
    rejection
}
