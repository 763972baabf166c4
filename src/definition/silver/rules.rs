//! Derived columns and rules: SQL over the row.

use arrow::datatypes::{DataType, Field as Column, Schema};

use super::super::columns::column;
use super::super::expression::check_scalar;
use super::super::names::Columns;
use super::super::raw::{Reader, Report, Spot, Written};
use super::super::{Contract, Derive, Expect, FieldKind, OnFail};

/// What an expression can see at one point of silver's evaluation order.
pub(super) struct Scope<'c> {
    /// The event's own columns; none where the schema is wrong.
    pub(super) contract: Option<&'c Contract>,
    /// Names taken so far.
    pub(super) names: Columns,
    /// Names declared but wrong: an expression that reads one is not judged.
    pub(super) broken: Vec<String>,
    /// Columns an expression can read; none where the schema is wrong and nothing can be said.
    row: Option<Vec<Column>>,
}

impl<'c> Scope<'c> {
    pub(super) fn new(contract: Option<&'c Contract>) -> Self {
        let mut names = Columns::of_silver();
        // The schema's own report has judged these; here they are only taken.
        let mut aside = Report::new(std::path::Path::new(""));
        for field in contract.iter().flat_map(|contract| &contract.fields) {
            names.take(&field.name, &Spot::file(), &mut aside);
        }
        Self {
            contract,
            names,
            broken: Vec::new(),
            row: None,
        }
    }

    /// Sets the columns that expressions can read from here on.
    pub(super) fn see(&mut self, row: Vec<Column>) {
        self.row = Some(row);
    }

    /// The type of a field of the contract.
    pub(super) fn kind(&self, name: &str) -> Option<FieldKind> {
        let fields = &self.contract?.fields;
        fields.iter().find(|field| field.name == name).map(|field| field.kind)
    }

    /// Type and nullability of an expression; none where it is wrong or nothing can be said.
    fn check(&self, sql: &Written<String>, report: &mut Report) -> Option<(DataType, bool)> {
        let schema = Schema::new(self.row.clone()?);
        match check_scalar(&sql.value, &schema) {
            Ok(found) => Some((found.data_type, found.nullable)),
            Err(fault) => {
                let excused = fault.unknown.as_ref().is_some_and(|name| self.broken.contains(name));
                if !excused {
                    report.add(&sql.at, fault.message, fault.suggestion);
                }
                None
            }
        }
    }
}

/// `[[derive]]`: each sees the columns before it and becomes one itself.
pub(super) fn derive(root: &mut Reader<'_>, scope: &mut Scope<'_>, report: &mut Report) -> Vec<Derive> {
    let mut derived = Vec::new();
    for mut reader in root.tables("derive", report) {
        let name = reader.need_text("name", report);
        let sql = reader.need_text("sql", report);
        let description = reader
            .text("description", report)
            .map(|it| it.value)
            .unwrap_or_default();
        reader.finish(report);
        let yields = sql.as_ref().and_then(|sql| scope.check(sql, report));
        let Some(name) = name else { continue };
        if !scope.names.take(&name.value, &name.at, report) {
            continue;
        }
        match (&mut scope.row, yields) {
            (Some(row), Some((data_type, nullable))) => {
                row.push(column(&name.value, data_type, nullable, &description))
            }
            _ => scope.broken.push(name.value.clone()),
        }
        derived.push(Derive {
            name: name.value,
            sql: sql.map(|sql| sql.value).unwrap_or_default(),
            description,
        });
    }
    derived
}

/// `[[expect]]`: each is a boolean over the whole row.
pub(super) fn expect(root: &mut Reader<'_>, scope: &Scope<'_>, report: &mut Report) -> Vec<Expect> {
    let words = [
        ("reject", OnFail::Reject),
        ("drop", OnFail::Drop),
        ("warn", OnFail::Warn),
        ("halt", OnFail::Halt),
    ];
    let mut rules: Vec<Expect> = Vec::new();
    for mut reader in root.tables("expect", report) {
        let name = reader.need_text("name", report);
        let check = reader.need_text("check", report);
        let on_fail = reader
            .word("on_fail", &words, report)
            .map_or(OnFail::Reject, |word| word.value);
        reader.finish(report);
        if let Some(check) = &check
            && let Some((data_type, _)) = scope.check(check, report)
            && data_type != DataType::Boolean
        {
            report.add(
                &check.at,
                format!("must be true or false, but its type is {data_type}"),
                None,
            );
        }
        let Some(name) = name else { continue };
        if name.value.is_empty() {
            report.add(&name.at, "a rule needs a name", None);
        }
        if rules.iter().any(|rule| rule.name == name.value) {
            report.add(&name.at, format!("there are two rules named {:?}", name.value), None);
        }
        rules.push(Expect {
            name: name.value,
            sql: check.map(|check| check.value).unwrap_or_default(),
            on_fail,
        });
    }
    rules
}
