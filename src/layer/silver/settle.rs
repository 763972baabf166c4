//! The sequential pass: records and ticks in seq order through guard, dedupe and watermark.
//!
//! Everything that depends on earlier rows is here. A record that is rejected leaves no trace but one: its partition
//! is active again.

use std::iter::Peekable;
use std::sync::Arc;
use std::vec;

use arrow::array::{
    ArrayRef, AsArray, Date32Array, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::take;
use arrow::datatypes::TimestampMicrosecondType;

use super::candidates::Candidates;
use super::dedupe::{First, Horizon};
use super::fates::Fates;
use super::input::{Input, Row};
use super::key::{Key, keys};
use super::plan::{Plan, Verdicts};
use super::reject::{Reason, Rejection, RejectsBuilder};
use super::rule::shown;
use super::{State, Step};
use crate::clock::rfc3339;
use crate::error::{Context, Error, Kind, Result};

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Gives every record its fate. `fates` comes with the counts of the rules.
pub(super) fn settle(
    plan: &Plan,
    input: &Input,
    candidates: &Candidates,
    mut verdicts: Verdicts,
    fates: Fates,
    state: &mut State,
) -> Result<Step> {
    let mut pass = Pass::new(plan, candidates)?;
    pass.fates = fates;
    let horizon = plan.horizon(state);
    state.dedupe.make_room(pass.keys.len(), horizon);
    pass.archived = state.dedupe.look_up(&pass.keys)?.into_iter().peekable();
    let mut ticks = input.ticks().iter().peekable();
    let mut next = candidates.rows().iter().enumerate().peekable();
    for (row, verdict) in verdicts.iter_mut().enumerate() {
        if let Some((_, tick)) = ticks.next_if(|(at, _)| *at == row) {
            state.watermarks.tick(tick);
            pass.fates.ticks += 1;
            continue;
        }
        let record = input.record(row);
        let partition = input.partition_name(row);
        let watermark = state.watermarks.value();
        state.watermarks.record_seen(partition);
        let rejection = match (verdict.take(), next.next_if(|(_, at)| **at == row)) {
            (Some(rejection), None) => Some(*rejection),
            (None, Some((at, _))) => pass.judge(at, &record, partition, watermark, state),
            _ => return Err(Error::new(Kind::Bug, format!("seq {} has no fate, or two", record.seq))),
        };
        if let Some(rejection) = rejection {
            pass.fates.count(rejection.reason);
            pass.rejects.push(&record, &rejection);
        }
    }
    pass.finish(input)
}

struct Pass<'a> {
    plan: &'a Plan,
    candidates: &'a Candidates,
    times: &'a TimestampMicrosecondArray,
    keys: Vec<Key>,
    /// Places of candidates whose key is archived, and its row.
    archived: Peekable<vec::IntoIter<(usize, First)>>,
    accepted: Accepted,
    rejects: RejectsBuilder,
    fates: Fates,
}

/// The rows of silver, column by column; the event's own columns are taken by place at the end.
struct Accepted {
    places: Vec<u32>,
    dates: Vec<i32>,
    seqs: Vec<i64>,
    partitions: Vec<i32>,
    offsets: Vec<i64>,
    timestamps: Vec<Option<i64>>,
    watermarks: Vec<Option<i64>>,
}

impl<'a> Pass<'a> {
    fn new(plan: &'a Plan, candidates: &'a Candidates) -> Result<Self> {
        let times = candidates.columns().get(plan.event_time);
        let times = times.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        let times = times.ok_or_else(|| {
            let name = &plan.definition().event_time;
            Error::new(
                Kind::Definition,
                format!("event_time {name:?} is not a timestamp of the event"),
            )
        })?;
        let keys = match plan.definition().dedupe {
            Some(_) => keys(&candidates.pick(&plan.key), candidates.len())?,
            None => Vec::new(),
        };
        Ok(Self {
            plan,
            candidates,
            times,
            keys,
            archived: Vec::new().into_iter().peekable(),
            accepted: Accepted::with_room(candidates.len()),
            rejects: RejectsBuilder::new(),
            fates: Fates::default(),
        })
    }

    /// Guard, dedupe, accept.
    fn judge(
        &mut self,
        at: usize,
        record: &Row<'_>,
        partition: &str,
        watermark: Option<i64>,
        state: &mut State,
    ) -> Option<Rejection> {
        let event_time = self.times.value(at);
        let archived = self.archived.next_if(|(place, _)| *place == at);
        let definition = self.plan.definition();
        if let Some(max_ahead) = definition.max_ahead {
            // A file's record has no timestamp: it cannot be from after the moment it was read.
            let reference = record.timestamp.unwrap_or(record.ingested_at);
            let ahead = i64::try_from(max_ahead.as_micros()).unwrap_or(i64::MAX);
            if event_time > reference.saturating_add(ahead) {
                let detail = format!(
                    "{} {} is more than {max_ahead:?} ahead of the record's time {}",
                    definition.event_time,
                    rfc3339(event_time),
                    rfc3339(reference)
                );
                return Some(Rejection::new(Reason::EventTime, detail));
            }
        }
        if let (Some(dedupe), Some(key)) = (&definition.dedupe, self.keys.get(at)) {
            let row = First {
                seq: record.seq,
                event_time,
            };
            let horizon = Horizon {
                within: dedupe.within,
                watermark,
            };
            let archived = archived.map(|(_, first)| first);
            if let Err(first) = state.dedupe.admit(*key, row, archived, horizon) {
                return Some(self.duplicate(at, first.seq));
            }
        }
        state.watermarks.accepted(partition, event_time);
        self.fates.accepted += 1;
        self.accepted.push(at, event_time, record, watermark);
        None
    }

    fn duplicate(&self, at: usize, first: i64) -> Rejection {
        let names = self.plan.definition().dedupe.iter().flat_map(|dedupe| &dedupe.key);
        let columns = self.candidates.pick(&self.plan.key);
        let key = names
            .zip(&columns)
            .map(|(name, column)| format!("{name} = {}", shown(column, at)));
        let key: Vec<String> = key.collect();
        let detail = format!("{} was accepted with seq {first}", key.join(", "));
        let mut rejection = Rejection::new(Reason::Duplicate, detail);
        rejection.duplicate_of = Some(first);
        rejection
    }

    fn finish(self, input: &Input) -> Result<Step> {
        let silver = self.accepted.finish(self.plan, self.candidates)?;
        let rejects = self.rejects.finish()?;
        let fates = self.fates;
        let records = (input.len() - input.ticks().len()) as u64;
        let rows = (silver.num_rows() as u64, rejects.num_rows() as u64);
        if fates.records() != records || rows != (fates.accepted, fates.rejected()) {
            return Err(Error::new(
                Kind::Bug,
                format!("{records} records became {rows:?} rows of silver and rejects, counted as {fates:?}"),
            ));
        }
        Ok(Step { silver, rejects, fates })
    }
}

impl Accepted {
    fn with_room(rows: usize) -> Self {
        Self {
            places: Vec::with_capacity(rows),
            dates: Vec::with_capacity(rows),
            seqs: Vec::with_capacity(rows),
            partitions: Vec::with_capacity(rows),
            offsets: Vec::with_capacity(rows),
            timestamps: Vec::with_capacity(rows),
            watermarks: Vec::with_capacity(rows),
        }
    }

    fn push(&mut self, at: usize, event_time: i64, record: &Row<'_>, watermark: Option<i64>) {
        self.places.push(u32::try_from(at).unwrap_or(u32::MAX));
        let date = event_time.div_euclid(MICROS_PER_DAY);
        self.dates.push(i32::try_from(date).unwrap_or(i32::MAX));
        self.seqs.push(record.seq);
        self.partitions.push(record.partition);
        self.offsets.push(record.offset);
        self.timestamps.push(record.timestamp);
        self.watermarks.push(watermark);
    }

    fn finish(self, plan: &Plan, candidates: &Candidates) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = if self.places.len() == candidates.len() {
            candidates.columns().to_vec()
        } else {
            let places = UInt32Array::from(self.places);
            let column = |column: &ArrayRef| take(column, &places, None).or_fail(Kind::Bug, || "taking accepted rows");
            candidates.columns().iter().map(column).collect::<Result<_>>()?
        };
        let added: [ArrayRef; 6] = [
            Arc::new(Date32Array::from(self.dates)),
            Arc::new(Int64Array::from(self.seqs)),
            Arc::new(Int32Array::from(self.partitions)),
            Arc::new(Int64Array::from(self.offsets)),
            Arc::new(TimestampMicrosecondArray::from(self.timestamps).with_timezone("UTC")),
            Arc::new(TimestampMicrosecondArray::from(self.watermarks).with_timezone("UTC")),
        ];
        columns.extend(added);
        RecordBatch::try_new(plan.schema(), columns).or_fail(Kind::Bug, || "building a silver batch")
    }
}
