//! The bronze layer: records in, rows with seq and positions out, and the ticks that only bronze may write.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;
use tokio::runtime::Handle;

use super::account::Phases;
use super::lag::{Abreast, at_ends, beyond, reaches};
use super::newest::{note_last_records, stamps_before};
use super::progress::{self, Progress};
use super::stall::{Anew, Stall, Watch};
use super::{names, tables};
use crate::checkpoint::TablePosition;
use crate::clock::{Clock, Micros, rfc3339};
use crate::definition::CommitPolicy;
use crate::error::{Error, Result};
use crate::layer::bronze::{BronzeBuilder, Reason, Tick};
use crate::source::{POLL_BYTES, PartitionId, Positions, Source};
use crate::table::{Append, Lake, Table};

pub use super::newest::{LastRecord, last_records};

/// Longest wait for records in one poll, so that a wish to stop is seen soon.
const POLL_MAX: Duration = Duration::from_millis(100);
/// How often silence is looked for; only where there is some is the broker asked for its end offsets.
const SILENCE_EVERY: Micros = 1_000_000;
/// How often new partitions are looked for.
const DISCOVER_EVERY: Micros = 5_000_000;
/// Records taken from the source between two looks at the clock.
const POLL_RECORDS: usize = 20_000;

/// When the topic counts as idle and quiet.
#[derive(Debug, Clone, Copy)]
pub struct Silence {
    /// A caught-up partition without a record for this long is idle.
    pub idle_after: Duration,
    /// The topic without a record for this long is quiet; none: never.
    pub quiet_after: Option<Duration>,
}

/// The bronze layer of one pipeline, ready to step. It blocks its thread.
pub struct BronzeLayer {
    pipeline: String,
    pub(super) table: Table,
    source: Box<dyn Source>,
    builder: BronzeBuilder,
    policy: CommitPolicy,
    silence: Silence,
    clock: Clock,
    runtime: Handle,
    committed: Positions,
    /// When the first row of the step at hand came. This and what follows is [`Clock::elapsed`], so that setting the
    /// wall clock neither delays a commit nor makes a silence.
    step_began: Option<Micros>,
    /// When the newest record of each partition came.
    last_seen: BTreeMap<PartitionId, Micros>,
    /// The newest record's own timestamp, which says when it came to the broker as well as anything can: wall clock.
    last_stamp: BTreeMap<PartitionId, Micros>,
    /// Offset and digest of the newest record of each partition, by which a re-created topic is recognised.
    last_records: BTreeMap<String, LastRecord>,
    idle: BTreeSet<PartitionId>,
    quiet_since: Micros,
    quiet_told: u64,
    silence_sought: Micros,
    discovered: Micros,
    /// Why the source failed after the commit that has just been made.
    failure: Option<Error>,
    /// None: nobody watches whether the source gives what it has.
    watch: Option<Watch>,
    stalls: Vec<Stall>,
    abreast: Abreast,
    /// How long the newest commit took, in microseconds.
    commit_us: Option<u64>,
}

/// What one commit brought.
#[derive(Debug, Clone)]
pub struct Done {
    /// Rows committed, ticks included.
    pub rows: usize,
    /// The next seq.
    pub position: i64,
    /// Bytes of payloads, keys and headers, and bytes of the data files that they became.
    pub bytes: [u64; 2],
    /// How long its parts took.
    pub phases: Phases,
}

/// Opens or makes bronze's table.
///
/// Errors: [`Kind::Damaged`] where its rows are not what its positions promise.
pub async fn open_table(lake: &Lake, pipeline: &str) -> Result<Table> {
    Table::open_or_create(lake, tables::bronze(pipeline)).await?.trusted()
}

/// Opens bronze's table, or none where there is none.
///
/// Errors: as [`open_table`].
pub async fn open_if_there(lake: &Lake, pipeline: &str) -> Result<Option<Table>> {
    let table = Table::open(lake, tables::bronze(pipeline)).await?;
    table.map(Table::trusted).transpose()
}

/// The positions that bronze's table holds.
pub fn positions(table: &Table, pipeline: &str) -> Positions {
    names::positions(table.txns_under(&names::bronze_prefix(pipeline)))
}

impl BronzeLayer {
    /// A layer over an opened table and a source that starts at the table's positions. Its first row is a start tick.
    pub fn new(
        pipeline: &str,
        table: Table,
        source: Box<dyn Source>,
        policy: CommitPolicy,
        silence: Silence,
        clock: Clock,
        runtime: Handle,
    ) -> Self {
        let next_seq = table.txn(&names::bronze_seq(pipeline)).unwrap_or(0);
        let (now, begun) = (clock.now(), clock.elapsed());
        let last_stamp = stamps_before(&table, pipeline, now);
        // While live nobody is idle before `idle_after` has passed here.
        let last_seen = source
            .positions()
            .into_keys()
            .map(|partition| (partition, begun))
            .collect();
        let last_records = last_records(&table);
        let mut layer = Self {
            committed: positions(&table, pipeline),
            pipeline: pipeline.to_owned(),
            builder: BronzeBuilder::new(next_seq),
            table,
            source,
            policy,
            silence,
            runtime,
            step_began: None,
            last_stamp,
            last_seen,
            last_records,
            idle: BTreeSet::new(),
            quiet_since: begun,
            quiet_told: 0,
            silence_sought: 0,
            discovered: begun,
            failure: None,
            watch: None,
            stalls: Vec::new(),
            abreast: Abreast::default(),
            commit_us: None,
            clock,
        };
        layer.tick(Reason::Start, 0);
        layer.table.begin_work();
        layer
    }

    /// The layer, watching whether the source gives what it has; see [`Watch`].
    #[must_use]
    pub fn watching(mut self, stalled_after: Duration) -> Self {
        self.watch = Some(Watch::new(stalled_after, self.clock.now()));
        self
    }

    /// Why the source should be opened anew before more is read, if it should.
    pub fn anew(&self) -> Option<Anew> {
        // A failure that waits to be told comes first.
        if self.failure.is_some() {
            return None;
        }
        if let Some(doubt) = self.source.doubt() {
            return Some(Anew::Doubt(doubt));
        }
        (!self.stalls.is_empty()).then(|| Anew::Stalled(self.stalls.clone()))
    }

    /// The next seq after everything taken in so far.
    pub fn position(&self) -> i64 {
        self.builder.next_seq()
    }

    /// The end offset of every partition now.
    pub fn ends(&mut self) -> Result<Positions> {
        self.source.ends()
    }

    /// Whether everything below `ends` has been taken in.
    pub fn reached(&self, ends: &Positions) -> bool {
        reaches(&self.source.positions(), ends)
    }

    /// Waits for records for a moment, takes them in, notes silence. Commits when a commit is due.
    ///
    /// Errors: those of the source and the table; what was taken in and not committed comes again after a restart.
    pub fn step(&mut self) -> Result<Option<Done>> {
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        let room = self
            .policy
            .max_rows
            .saturating_sub(self.builder.rows())
            .clamp(1, POLL_RECORDS);
        let wait = self.wait();
        let (now, at) = (self.clock.now(), self.clock.elapsed());
        let (builder, idle) = (&mut self.builder, &mut self.idle);
        let bytes = builder.bytes();
        // Neighbours are mostly of one partition, whose newest stamp is looked up once for all of them.
        let mut stretch: Option<(PartitionId, Micros)> = None;
        let mut stretches = Vec::new();
        let polled = self.source.poll(wait, room, &mut |record| {
            builder.record(&record, now);
            let stamp = record.timestamp.map_or(now, |stamp| stamp.min(now));
            match &mut stretch {
                Some((id, newest)) if id.partition == record.partition && id.topic == record.topic => {
                    *newest = (*newest).max(stamp);
                }
                _ => stretches.extend(stretch.replace((PartitionId::new(record.topic, record.partition), stamp))),
            }
        });
        for (id, stamp) in stretches.into_iter().chain(stretch) {
            // Active again: for silver by its records, here for the next tick.
            idle.remove(&id);
            let newest = self.last_stamp.get(&id).map_or(stamp, |newest| stamp.max(*newest));
            self.last_stamp.insert(id.clone(), newest);
            self.last_seen.insert(id, at);
        }
        let took = match polled {
            Ok(took) => took,
            Err(error) => return self.keep_then_fail(error),
        };
        let at = self.clock.elapsed();
        if took > 0 {
            self.step_began.get_or_insert(at);
            self.quiet_since = at;
            self.quiet_told = 0;
        }
        let drained = took < room && self.builder.bytes() - bytes < POLL_BYTES;
        if drained && at_ends(&self.source.positions(), self.source.told_ends().as_ref()) {
            self.abreast.drained(now, self.builder.rows() > 0);
        }
        if let Err(error) = self.notice(at, took).and_then(|()| self.notice_stall(at, drained)) {
            return self.keep_then_fail(error);
        }
        if self.due(at) {
            return self.commit();
        }
        Ok(None)
    }

    /// Records that the run's input ended and, where asked, that every window may close.
    pub fn end(&mut self, close_windows: bool) -> Result<Option<Done>> {
        let now = self.clock.now();
        let ends = self.source.ends()?;
        // A one-shot run waits for nobody: whether nothing came for long is told by the records' own timestamps.
        self.last_seen.clone_from(&self.last_stamp);
        self.notice_idle(now, &ends);
        if close_windows {
            self.tick(Reason::End, 0);
        }
        self.commit()
    }

    /// Commits what was taken in; none where there is nothing.
    pub fn commit(&mut self) -> Result<Option<Done>> {
        let gathered = self.step_began.take().map_or(0, |began| self.clock.elapsed() - began);
        let mut phases = Phases::after("read", Duration::from_micros(gathered.unsigned_abs()));
        let bytes = self.builder.bytes();
        let Some(batch) = self.builder.finish()? else {
            return Ok(None);
        };
        #[cfg(debug_assertions)]
        crate::failpoint::hit("B1");
        let position = self.builder.next_seq();
        let reached = self.source.positions();
        let mut txns = vec![(names::bronze_seq(&self.pipeline), position)];
        let mut moved = BTreeMap::new();
        for (partition, next) in &reached {
            if self.committed.get(partition) != Some(next) {
                txns.push((names::bronze_partition(&self.pipeline, partition), *next));
                moved.insert(partition.to_string(), *next);
            }
        }
        note_last_records(&batch, self.source.topic_id().as_ref(), &mut self.last_records);
        phases.end("compute");
        let told_ends = self.source.told_ends().filter(|ends| !ends.is_empty());
        let backlog = told_ends.map(|ends| beyond(&reached, &ends));
        let progress = Progress::of(batch.num_rows() as u64, backlog, &phases, self.commit_us);
        let stamps: BTreeMap<String, Micros> = self.last_stamp.iter().map(|(id, at)| (id.to_string(), *at)).collect();
        let info = json!({
            "stamps": stamps,
            "last": self.last_records,
            "position": position,
            "rows": batch.num_rows(),
            "bytes": bytes,
            "offsets": moved,
            "idle": self.idle.iter().map(ToString::to_string).collect::<Vec<_>>(),
            progress::KEY: progress,
        });
        let append = Append {
            rows: Some(&batch),
            txns,
            info,
        };
        let written = self.table.written();
        self.runtime.block_on(self.table.append(append))?;
        phases.end("commit");
        self.commit_us = phases.micros("commit");
        self.abreast.committed();
        #[cfg(debug_assertions)]
        crate::failpoint::hit("B5");
        self.table.begin_work();
        self.committed = reached;
        #[cfg(debug_assertions)]
        crate::failpoint::hit("B6");
        self.source.report_committed(&self.committed);
        Ok(Some(Done {
            rows: batch.num_rows(),
            position,
            bytes: [bytes as u64, self.table.written() - written],
            phases,
        }))
    }

    /// Where bronze stands.
    pub fn table_positions(&self) -> Vec<TablePosition> {
        let offsets = positions(&self.table, &self.pipeline);
        vec![TablePosition {
            table: self.table.spec().path.clone(),
            version: self.table.version(),
            position: self.table.txn(&names::bronze_seq(&self.pipeline)).unwrap_or(0),
            offsets: offsets.into_iter().map(|(id, next)| (id.to_string(), next)).collect(),
            watermark: None,
            closed: None,
        }]
    }

    /// Bronze's table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// What the committed positions are, for the gate of the embedded broker's producer.
    pub fn committed(&self) -> &Positions {
        &self.committed
    }

    /// When all that the source had was committed last, in UTC microseconds; none where it was not since the layer was opened.
    pub fn caught_up(&self) -> Option<Micros> {
        self.abreast.at()
    }

    /// Where the partitions end, as far as the source has heard.
    pub fn told_ends(&self) -> Positions {
        self.source.told_ends().unwrap_or_default()
    }

    /// Next offsets of which all below is committed, or is no record.
    pub fn safe_positions(&self) -> Positions {
        match self.builder.rows() {
            0 => self.source.positions(),
            _ => self.committed.clone(),
        }
    }

    fn wait(&self) -> Duration {
        let Some(began) = self.step_began else {
            return POLL_MAX;
        };
        let left = began
            .saturating_add(micros(self.policy.max_delay))
            .saturating_sub(self.clock.elapsed());
        Duration::from_micros(u64::try_from(left).unwrap_or(0)).min(POLL_MAX)
    }

    fn due(&self, now: Micros) -> bool {
        self.builder.rows() >= self.policy.max_rows
            || self.builder.bytes() >= self.policy.max_bytes
            || self
                .step_began
                .is_some_and(|began| now - began >= micros(self.policy.max_delay))
    }

    fn tick(&mut self, reason: Reason, quiet_ms: u64) {
        let now = self.clock.now();
        let all: Vec<PartitionId> = self.source.positions().into_keys().collect();
        let (idle, active): (Vec<_>, Vec<_>) = all.into_iter().partition(|partition| self.idle.contains(partition));
        self.builder
            .tick(&Tick::new(reason, rfc3339(now), &active, &idle, quiet_ms), now);
        self.step_began.get_or_insert(self.clock.elapsed());
    }

    /// What came before a failure is whole: it is kept, and the failure told by the next step.
    fn keep_then_fail(&mut self, error: Error) -> Result<Option<Done>> {
        match self.commit()? {
            Some(done) => {
                self.failure = Some(error);
                Ok(Some(done))
            }
            None => Err(error),
        }
    }

    /// Looks for silence and for new partitions after a poll that brought `took` records.
    fn notice(&mut self, now: Micros, took: usize) -> Result<()> {
        // Also while records come: a partition without any must not hold back those that have some. Files say nothing
        // about time, and asking for their ends means reading them.
        if took == 0 || !self.silence.idle_after.is_zero() {
            self.notice_silence(now)?;
        }
        self.notice_partitions(now)
    }

    fn notice_silence(&mut self, now: Micros) -> Result<()> {
        if now - self.silence_sought < SILENCE_EVERY {
            return Ok(());
        }
        self.silence_sought = now;
        let quiet_ms = self.newly_quiet(now);
        if quiet_ms.is_none() && self.newly_silent(now).is_empty() {
            return Ok(());
        }
        let ends = self.source.ends()?;
        self.notice_idle(now, &ends);
        if let Some(quiet_ms) = quiet_ms.filter(|_| self.reached(&ends)) {
            self.quiet_told = quiet_ms;
            self.tick(Reason::Quiet, quiet_ms);
        }
        Ok(())
    }

    /// For how many milliseconds nothing came, where that is worth a tick: the first after `quiet_after`, the next each
    /// time the silence has doubled.
    fn newly_quiet(&self, now: Micros) -> Option<u64> {
        let first = u64::try_from(self.silence.quiet_after?.as_millis()).unwrap_or(u64::MAX);
        let quiet_ms = u64::try_from((now - self.quiet_since).div_euclid(1000)).unwrap_or(0);
        (quiet_ms >= first.max(self.quiet_told.saturating_mul(2))).then_some(quiet_ms)
    }

    /// The partitions not yet idle of which nothing came for `idle_after`, with their positions.
    fn newly_silent(&self, now: Micros) -> Positions {
        let idle_after = micros(self.silence.idle_after);
        let silent = |id: &PartitionId| self.last_seen.get(id).is_none_or(|last| now - *last >= idle_after);
        let mut at = self.source.positions();
        at.retain(|id, _| !self.idle.contains(id) && silent(id));
        at
    }

    /// Writes an idle tick when the set of idle partitions has grown.
    fn notice_idle(&mut self, now: Micros, ends: &Positions) {
        let mut idle = self.newly_silent(now);
        idle.retain(|partition, next| ends.get(partition).is_some_and(|end| *next >= *end));
        if !idle.is_empty() {
            self.idle.extend(idle.into_keys());
            self.tick(Reason::Idle, 0);
        }
    }

    fn notice_stall(&mut self, now: Micros, drained: bool) -> Result<()> {
        if let Some(watch) = &mut self.watch
            && watch.polled(now, drained)
        {
            let still = watch.look(now, self.source.positions());
            self.stalls = if still {
                watch.compare(&self.source.ends()?)
            } else {
                Vec::new()
            };
        }
        Ok(())
    }

    fn notice_partitions(&mut self, now: Micros) -> Result<()> {
        if now - self.discovered < DISCOVER_EVERY {
            return Ok(());
        }
        self.discovered = now;
        let found = self.source.discover()?;
        if found.is_empty() {
            return Ok(());
        }
        for partition in &found {
            tracing::info!(pipeline = self.pipeline, %partition, "new partition, read from its start");
            self.last_seen.insert(partition.clone(), now);
        }
        self.tick(Reason::Start, 0);
        Ok(())
    }
}

fn micros(duration: Duration) -> Micros {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
