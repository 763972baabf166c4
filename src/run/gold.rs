//! The gold layer's step: silver rows in, late rows first, then the windows that closed, with the position reached.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use serde_json::json;

use super::account::Phases;
use super::keep::ever;
use super::lineage::{self, Witness};
use super::progress::{self, Progress};
use super::silver::{bytes_of, rows_from};
use super::{chunks, names, tables};
use crate::checkpoint::TablePosition;
use crate::clock::rfc3339;
use crate::definition::{CommitPolicy, Gold, Pipeline, silver_schema};
use crate::error::{Error, Kind, Result};
use crate::layer::gold::{Plan, State};
use crate::metrics::Windows;
use crate::table::{Append, Ask, Followed, Lake, Reader, Table};

/// What one step did.
#[derive(Debug, Clone)]
pub struct Done {
    /// Bronze seqs passed.
    pub seqs: i64,
    /// Silver rows read.
    pub rows: usize,
    /// The position reached.
    pub position: i64,
    /// Late rows.
    pub late: usize,
    /// Rows of closed windows.
    pub closed_rows: usize,
    /// Bytes of the silver rows as they are in memory, and bytes of the data files of both tables.
    pub bytes: [u64; 2],
    /// Whether that is all that silver had when the step began.
    pub at_head: bool,
    /// How long its parts took.
    pub phases: Phases,
}

/// One gold table, ready to step.
pub struct GoldLayer {
    pipeline: String,
    table: String,
    event_time: String,
    plan: Plan,
    state: State,
    silver: Reader,
    pub(super) gold: Table,
    pub(super) late: Table,
    position: i64,
    late_position: i64,
    /// The newest silver row that was folded.
    witness: Option<Witness>,
    /// How long the newest commits took, in microseconds.
    commit_us: Option<u64>,
}

impl GoldLayer {
    /// Opens the table, or none while silver does not exist. Open windows are rebuilt from silver.
    ///
    /// Errors: [`Kind::Definition`] where another definition wrote the table and `adopt` is false.
    pub async fn open(lake: &Lake, pipeline: &Pipeline, definition: &Gold, adopt: bool) -> Result<Option<Self>> {
        let name = &pipeline.name;
        let schema = silver_schema(&pipeline.silver)?;
        let plan = Plan::compile(definition, &pipeline.silver.event_time, &schema)?;
        let path = names::silver_path(name);
        let time = Some(pipeline.silver.event_time.as_str());
        let Some(mut silver) = Reader::open_trusted(lake, &path, schema, tables::SEQ, time).await? else {
            return Ok(None);
        };
        let generation = silver.stored().generation.clone().unwrap_or_default();
        if silver.stored().fingerprint.as_deref() != Some(pipeline.silver.fingerprint.as_str()) {
            if adopt {
                // Silver takes the changed definition into force with its own next opening.
                return Ok(None);
            }
            return Err(Error::new(
                Kind::Definition,
                format!("silver of {name} was written by another definition than layers/{name}/silver.toml"),
            )
            .with_next(format!(
                "run `medallion replay silver -p {name}`, or put the definition back"
            )));
        }
        let (gold_spec, late_spec) = tables::gold(pipeline, definition, &plan, &generation)?;
        let mut gold = Table::open_or_create(lake, gold_spec).await?.trusted()?;
        let mut late = Table::open_or_create(lake, late_spec).await?.trusted()?;
        let position_app = names::gold_position(name, &definition.name);
        // What begins anew begins where upstream does.
        let position = gold.txn(&position_app).unwrap_or(silver.first());
        let late_position = late.txn(&position_app).unwrap_or(0);
        require_silver_at(&mut silver, name, &definition.name, position).await?;
        let closed = gold.txn(&names::gold_closed(name, &definition.name));
        tables::same_definition(&mut gold, adopt, position, closed).await?;
        tables::same_definition(&mut late, adopt, position, closed).await?;
        require_generation(name, &generation, [&gold, &late])?;
        let witness = Witness::in_info(gold.info());
        if let Some(witness) = &witness {
            let of = (gold.spec().path.as_str(), names::silver_path(name));
            let columns = lineage::silver(&pipeline.silver.event_time);
            witness.require(&silver, tables::SEQ, &columns, (of.0, &of.1)).await?;
        }
        let closed = closed.unwrap_or(i64::MIN);
        let mut state = State::new(closed);
        let columns = plan.input_columns();
        chunks::each(&silver, silver.first(), position, &columns, closed, |_, _, rows| {
            plan.restore(rows, &mut state)
        })
        .await?;
        Ok(Some(Self {
            pipeline: name.clone(),
            table: definition.name.clone(),
            event_time: pipeline.silver.event_time.clone(),
            plan,
            state,
            silver,
            gold,
            late,
            position,
            late_position,
            witness,
            commit_us: None,
        }))
    }

    /// The table's name.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The table and its late rows.
    pub fn tables(&self) -> [&Table; 2] {
        [&self.gold, &self.late]
    }

    fn written(&self) -> u64 {
        self.tables().map(Table::written).iter().sum()
    }

    /// The next bronze seq to fold.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// How its windows are.
    pub fn windows(&self) -> Windows {
        Windows {
            open: self.state.open_windows(),
            groups: self.state.rows(),
            bytes: self.state.bytes(),
            closed: Some(self.state.closed).filter(|closed| *closed > i64::MIN),
        }
    }

    /// Rows of the table of late rows.
    pub fn late_rows(&self) -> Option<u64> {
        ever(&self.late).and_then(|rows| u64::try_from(rows).ok())
    }

    /// Where the table and its late rows stand.
    pub fn positions(&self) -> Vec<TablePosition> {
        let table = |table: &Table, position, closed| TablePosition {
            table: table.spec().path.clone(),
            version: table.version(),
            position,
            offsets: BTreeMap::new(),
            watermark: None,
            closed,
        };
        let closed = Some(self.state.closed).filter(|closed| *closed > i64::MIN).map(rfc3339);
        vec![
            table(&self.gold, self.position, closed),
            table(&self.late, self.late_position, None),
        ]
    }

    /// Silver's position, as far as it is known.
    pub fn head(&self) -> i64 {
        self.silver.txn(&names::silver_position(&self.pipeline)).unwrap_or(0)
    }

    /// Folds as many seqs as silver's policy allows; none where there is nothing new.
    ///
    /// After an error the table must be opened anew.
    pub async fn step(&mut self, policy: &CommitPolicy) -> Result<Option<Done>> {
        self.gold.begin_work();
        if self.silver.follow().await? == Followed::Rewritten {
            return Err(Error::new(
                Kind::Damaged,
                format!(
                    "silver of {} was replaced under {}",
                    self.pipeline,
                    self.gold.spec().path
                ),
            )
            .with_next("a replay of silver rebuilds gold too: start this layer again after it"));
        }
        let head = self.head();
        if self.position >= head {
            return Ok(None);
        }
        let limit = self
            .position
            .saturating_add(i64::try_from(policy.max_rows).unwrap_or(i64::MAX));
        let ask = Ask {
            columns: &self.plan.input_columns(),
            since: i64::MIN,
            max_bytes: policy.max_bytes as u64,
        };
        let mut phases = Phases::begin();
        let (rows, to) = self.silver.read_within(self.position, head.min(limit), ask).await?;
        phases.end("read");
        let late = self.plan.fold(&rows, &mut self.state)?;
        let watermark = self.watermark(to == head, &rows);
        let closed = self.plan.close(watermark, &mut self.state)?;
        let mut done = Done {
            seqs: to - self.position,
            rows: rows.num_rows(),
            position: to,
            late: late.num_rows(),
            closed_rows: closed.as_ref().map_or(0, RecordBatch::num_rows),
            bytes: [bytes_of(&rows), 0],
            at_head: to == head,
            phases,
        };
        if let Some(witness) = Witness::last(&rows, tables::SEQ, &lineage::silver(&self.event_time))? {
            self.witness = Some(witness);
        }
        #[cfg(debug_assertions)]
        crate::failpoint::hit("G1");
        done.phases.end("compute");
        let written = self.written();
        let progress = Progress {
            state_rows: Some(self.state.rows() as u64),
            state_bytes: Some(self.state.bytes() as u64),
            ..Progress::of(rows.num_rows() as u64, Some(head - to), &done.phases, self.commit_us)
        };
        self.commit(&late, closed.as_ref(), &done, watermark, progress).await?;
        done.phases.end("commit");
        self.commit_us = done.phases.micros("commit");
        done.bytes = [done.bytes[0], self.written() - written];
        #[cfg(debug_assertions)]
        crate::failpoint::hit("G4");
        self.position = to;
        Ok(Some(done))
    }

    /// The watermark at the end of the step: silver's own at its head, else what the last row saw, which is never
    /// past it. When a window closes changes nothing in it, so the smaller value only waits.
    fn watermark(&self, at_head: bool, rows: &RecordBatch) -> Option<i64> {
        if at_head {
            return self.silver.txn(&names::silver_watermark(&self.pipeline));
        }
        last_watermark(rows)
    }

    /// Late rows first, then gold: each takes only what lies at or above its own position.
    async fn commit(
        &mut self,
        late: &RecordBatch,
        closed: Option<&RecordBatch>,
        done: &Done,
        watermark: Option<i64>,
        mut progress: Progress,
    ) -> Result<()> {
        let to = done.position;
        let written = self.late.written();
        let position_app = names::gold_position(&self.pipeline, &self.table);
        let fresh = rows_from(late, tables::SEQ, self.late_position)?;
        if fresh.num_rows() > 0 {
            self.late
                .append(Append {
                    rows: Some(&fresh),
                    txns: vec![(position_app.clone(), to)],
                    info: json!({"position": to, "late": fresh.num_rows()}),
                })
                .await?;
            self.late_position = to;
            #[cfg(debug_assertions)]
            crate::failpoint::hit("G6");
        } else {
            // A step without late rows must notice, too, what others do to them.
            self.late.watch().await?;
        }
        progress.beside_bytes = self.late.written() - written;
        let mut txns = vec![(position_app, to)];
        if self.state.closed > i64::MIN {
            txns.push((names::gold_closed(&self.pipeline, &self.table), self.state.closed));
        }
        self.gold
            .append(Append {
                rows: closed,
                txns,
                info: json!({
                    "position": to,
                    "from": self.position,
                    "bytes": done.bytes[0],
                    "rows": closed.map_or(0, RecordBatch::num_rows),
                    "late": late.num_rows(),
                    "open_windows": self.state.open_windows(),
                    "watermark": watermark.map(rfc3339),
                    lineage::KEY: self.witness,
                    progress::KEY: progress,
                }),
            })
            .await?;
        Ok(())
    }
}

/// Gold is computed from silver, so silver reaches at least as far, or it was set back.
async fn require_silver_at(silver: &mut Reader, pipeline: &str, table: &str, position: i64) -> Result<()> {
    let app = names::silver_position(pipeline);
    if silver.txn(&app).unwrap_or(0) < position {
        // Silver was opened before gold: both may have moved on since, by another process.
        silver.follow().await?;
    }
    let head = silver.txn(&app).unwrap_or(0);
    if position <= head {
        return Ok(());
    }
    Err(Error::new(
        Kind::Damaged,
        format!("gold table {table} of {pipeline} is at seq {position}, past silver's end {head}: silver was set back"),
    )
    .with_next("restore silver, or let it catch up alone and replay gold"))
}

/// Refuses tables that were computed from another silver than the one that is there.
fn require_generation(pipeline: &str, silver: &str, tables: [&Table; 2]) -> Result<()> {
    for table in tables {
        if table.stored().upstream.as_deref() != Some(silver) {
            return Err(Error::new(
                Kind::Damaged,
                format!(
                    "{} was computed from silver as it was before its last replay",
                    table.spec().path
                ),
            )
            .with_next(format!("run `medallion replay gold -p {pipeline}`")));
        }
    }
    Ok(())
}

/// The watermark that the last of the rows saw, where there is a row and it saw one.
pub fn last_watermark(rows: &RecordBatch) -> Option<i64> {
    let watermarks = rows
        .column_by_name("_watermark")?
        .as_primitive_opt::<TimestampMicrosecondType>()?;
    let last = watermarks.len().checked_sub(1)?;
    watermarks.is_valid(last).then(|| watermarks.value(last))
}
