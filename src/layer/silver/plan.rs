//! A silver definition compiled: the way of a bronze batch through decode, lookup, derive and expect.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use datafusion::physical_expr::PhysicalExpr;

use super::candidates::Candidates;
use super::decode::Decoder;
use super::dedupe::{First, Horizon};
use super::evaluate::evaluate;
use super::fates::Fates;
use super::input::{Input, typed};
use super::key::{Key, keys};
use super::reference::Reference;
use super::reject::{Reason, Rejection};
use super::rule::{Rule, judge, shown};
use super::settle::settle;
use super::{State, Step};
use crate::definition::expression::compile;
use crate::definition::{self, OnMissing, row_schema, silver_schema};
use crate::error::{Error, Kind, Result};

/// A silver definition compiled: immutable but for the decoder's buffers.
#[derive(Debug)]
pub struct Plan {
    definition: definition::Silver,
    /// The silver table's columns.
    schema: SchemaRef,
    /// The columns that expressions see: the first of `schema`.
    row: SchemaRef,
    decoder: Decoder,
    derives: Vec<Arc<dyn PhysicalExpr>>,
    rules: Vec<Rule>,
    /// Places in `row`.
    pub(super) event_time: usize,
    pub(super) key: Vec<usize>,
}

/// What became of each bronze row before the sequential pass: rejected, or none (a candidate, or a tick).
pub(super) type Verdicts = Vec<Option<Box<Rejection>>>;

impl Plan {
    /// Compiles a definition.
    ///
    /// # Errors
    /// `Kind::Definition` where an expression does not check or a column it names is not there.
    pub fn compile(definition: &definition::Silver) -> Result<Self> {
        let schema = silver_schema(definition)?;
        let row = row_schema(definition)?;
        let first_derived = row.fields().len() - definition.derive.len();
        let mut derives = Vec::new();
        for (at, derive) in definition.derive.iter().enumerate() {
            let fields: Vec<_> = row.fields().iter().take(first_derived + at).cloned().collect();
            let compiled = compile(&derive.sql, &Schema::new(fields));
            derives.push(compiled.map_err(|error| error.context(format!("column {:?}", derive.name)))?);
        }
        let rules = definition
            .expects
            .iter()
            .map(|expect| Rule::compile(expect, &row))
            .collect::<Result<_>>()?;
        let key = definition.dedupe.iter().flat_map(|dedupe| &dedupe.key);
        Ok(Self {
            decoder: Decoder::new(&definition.contract),
            derives,
            rules,
            event_time: place(&row, &definition.event_time)?,
            key: key.map(|name| place(&row, name)).collect::<Result<_>>()?,
            definition: definition.clone(),
            schema,
            row: Arc::new(row),
        })
    }

    /// The columns of the silver table.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The definition that the plan was compiled from.
    pub fn definition(&self) -> &definition::Silver {
        &self.definition
    }

    /// Gives each record of a bronze batch its one fate. Rows are in seq order, records and ticks; `references` are
    /// those of the definition's lookups, in their order.
    ///
    /// # Errors
    /// `Kind::Gate` where a rule halts: the error names rule, record and seq. `Kind::Damaged` where the batch is not
    /// what bronze writes. In both the state is as before. `Kind::Unavailable` where archived keys cannot be read,
    /// `Kind::Bug` for a defect of ours; the state is then lost.
    pub fn process(&mut self, bronze: &RecordBatch, references: &[Reference], state: &mut State) -> Result<Step> {
        if references.len() != self.definition.lookups.len() {
            let (wanted, found) = (self.definition.lookups.len(), references.len());
            return Err(Error::new(
                Kind::Bug,
                format!("silver has {wanted} lookups but got {found} references"),
            ));
        }
        let input = Input::read(bronze)?;
        let mut verdicts: Verdicts = vec![None; input.len()];
        let mut candidates = self.decode(&input, &mut verdicts)?;
        self.look_up(references, &mut candidates, &mut verdicts)?;
        self.derive(&mut candidates, &mut verdicts)?;
        let mut fates = Fates::default();
        self.expect(&input, &mut candidates, &mut verdicts, &mut fates)?;
        settle(self, &input, &candidates, verdicts, fates, state)
    }

    /// Columns of the silver table that [`Plan::remember`] reads; none where nothing is to be remembered.
    pub fn remember_columns(&self) -> Vec<String> {
        let Some(dedupe) = &self.definition.dedupe else {
            return Vec::new();
        };
        let mut names = dedupe.key.clone();
        for name in [self.definition.event_time.as_str(), "_seq"] {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        names
    }

    /// Puts rows of the silver table back into the memory of accepted keys, in seq order and any cut. The latest row of
    /// a key counts, and a key whose latest row the state's watermark makes forgotten is left out.
    ///
    /// # Errors
    /// `Kind::Damaged` where a column is missing, null where it must not be, or of another type.
    pub fn remember(&self, silver: &RecordBatch, state: &mut State) -> Result<()> {
        let Some(dedupe) = &self.definition.dedupe else {
            return Ok(());
        };
        let column = |name: &str| -> Result<ArrayRef> {
            let kind = self.schema.field_with_name(name).map(|field| field.data_type().clone());
            let kind = kind.map_err(|error| Error::new(Kind::Bug, error.to_string()))?;
            Ok(typed(silver, name, &kind)?.into_owned())
        };
        let key_columns: Vec<ArrayRef> = dedupe.key.iter().map(|name| column(name)).collect::<Result<_>>()?;
        let (seqs, times) = (column("_seq")?, column(&self.definition.event_time)?);
        if seqs.null_count() + times.null_count() > 0 {
            return Err(Error::new(
                Kind::Damaged,
                "the silver table has a row without _seq or event time",
            ));
        }
        let seqs = seqs.as_primitive::<Int64Type>().values();
        let times = times.as_primitive::<TimestampMicrosecondType>().values();
        let horizon = self.horizon(state);
        state.dedupe.make_room(silver.num_rows(), horizon);
        for ((key, seq), event_time) in keys(&key_columns, silver.num_rows())?.into_iter().zip(seqs).zip(times) {
            let first = First {
                seq: *seq,
                event_time: *event_time,
            };
            state.dedupe.restore(key, first, horizon);
        }
        Ok(())
    }

    /// Puts a recent key of a snapshot back, in any order, before any rows: as [`Plan::remember`], for rows that were
    /// hashed already.
    pub fn recall(&self, key: Key, first: First, state: &mut State) {
        if self.definition.dedupe.is_some() {
            let horizon = self.horizon(state);
            state.dedupe.restore(key, first, horizon);
        }
    }

    /// How far back keys are remembered in this state.
    pub(super) fn horizon(&self, state: &State) -> Horizon {
        Horizon {
            within: self.definition.dedupe.as_ref().and_then(|dedupe| dedupe.within),
            watermark: state.watermarks.value(),
        }
    }

    fn decode(&mut self, input: &Input, verdicts: &mut Verdicts) -> Result<Candidates> {
        let mut rows = Vec::with_capacity(input.len());
        let mut ticks = input.ticks().iter().map(|(row, _)| *row).peekable();
        for (row, verdict) in verdicts.iter_mut().enumerate() {
            if ticks.next_if_eq(&row).is_some() {
                continue;
            }
            match self.decoder.decode(input.value(row)) {
                Ok(()) => rows.push(row),
                Err(defect) => *verdict = Some(Box::new(Rejection::new(defect.reason, defect.detail))),
            }
        }
        Ok(Candidates::new(rows, self.decoder.finish()?))
    }

    fn look_up(&self, references: &[Reference], candidates: &mut Candidates, verdicts: &mut Verdicts) -> Result<()> {
        for (lookup, reference) in self.definition.lookups.iter().zip(references) {
            let places: Vec<usize> = lookup
                .on
                .iter()
                .map(|name| place(&self.row, name))
                .collect::<Result<_>>()?;
            let on = candidates.pick(&places);
            let mut found = reference.find(&on, candidates.len())?;
            if lookup.on_missing == OnMissing::Reject && found.contains(&None) {
                let keep: Vec<bool> = found.iter().map(Option::is_some).collect();
                for (at, row) in candidates.rows().iter().enumerate() {
                    if keep.get(at) == Some(&true) {
                        continue;
                    }
                    let key = lookup
                        .on
                        .iter()
                        .zip(&on)
                        .map(|(name, column)| format!("{name} = {}", shown(column, at)));
                    let key: Vec<String> = key.collect();
                    let detail = format!("{} has no row with {}", lookup.file.display(), key.join(", "));
                    strike(verdicts, *row, Rejection::new(Reason::Lookup, detail));
                }
                candidates.retain(&keep)?;
                found.retain(Option::is_some);
            }
            candidates.add(reference.columns(&found)?);
        }
        Ok(())
    }

    fn derive(&self, candidates: &mut Candidates, verdicts: &mut Verdicts) -> Result<()> {
        for (expr, derive) in self.derives.iter().zip(&self.definition.derive) {
            let evaluated = evaluate(expr, &candidates.batch(&self.row)?)?;
            candidates.add([evaluated.values]);
            if evaluated.failed.is_empty() {
                continue;
            }
            let mut keep = vec![true; candidates.len()];
            for (at, error) in evaluated.failed {
                let detail = format!("{}: {}: {error}", derive.name, derive.sql);
                if let (Some(keep), Some(row)) = (keep.get_mut(at), candidates.rows().get(at)) {
                    *keep = false;
                    strike(verdicts, *row, Rejection::new(Reason::Expectation, detail));
                }
            }
            candidates.retain(&keep)?;
        }
        Ok(())
    }

    fn expect(
        &self,
        input: &Input,
        candidates: &mut Candidates,
        verdicts: &mut Verdicts,
        fates: &mut Fates,
    ) -> Result<()> {
        let judgement = judge(&self.rules, &candidates.batch(&self.row)?)?;
        if let Some((at, detail)) = judgement.halt {
            let row = candidates.rows().get(at).copied().unwrap_or_default();
            let record = input.record(row);
            let at = format!(
                "{}, offset {}, seq {}",
                input.partition_name(row),
                record.offset,
                record.seq
            );
            return Err(Error::new(
                Kind::Gate,
                format!("a rule halts silver before the record at {at}: {detail}"),
            )
            .with_next("mend the rule or its on_fail, then start again: nothing of the step was written"));
        }
        fates.judged = candidates.len() as u64;
        fates.failed_rules = judgement.failed;
        let mut keep = vec![true; candidates.len()];
        for (at, rejection) in judgement.rejections {
            if let (Some(keep), Some(row)) = (keep.get_mut(at), candidates.rows().get(at)) {
                *keep = false;
                strike(verdicts, *row, rejection);
            }
        }
        candidates.retain(&keep)
    }
}

fn strike(verdicts: &mut Verdicts, row: usize, rejection: Rejection) {
    if let Some(verdict) = verdicts.get_mut(row) {
        *verdict = Some(Box::new(rejection));
    }
}

fn place(row: &Schema, name: &str) -> Result<usize> {
    row.index_of(name)
        .map_err(|_| Error::new(Kind::Definition, format!("there is no column {name:?}")))
}
