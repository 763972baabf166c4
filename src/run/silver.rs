//! The silver layer's step: bronze rows in, `rejects` first, then silver, both with the position they reach.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int64Type;
use serde_json::json;

use super::account::Phases;
use super::keep::ever;
use super::lineage::{self, Witness};
use super::progress::{self, Progress};
use super::references::References;
use super::restore::{Keeper, Tables};
use super::{names, tables, totals};
use crate::checkpoint::snapshot::Identity;
use crate::checkpoint::{Checkpoints, TablePosition};
use crate::clock::{Micros, rfc3339};
use crate::definition::{CommitPolicy, Pipeline};
use crate::error::{Context, Error, Kind, Result};
use crate::layer::bronze;
use crate::layer::silver::{Fates, Plan, State, Step};
use crate::metrics;
use crate::table::{Append, Ask, Followed, Lake, Reader, Table};

/// What one step did.
#[derive(Debug, Clone)]
pub struct Done {
    /// Bronze rows read.
    pub rows: i64,
    /// The position reached.
    pub position: i64,
    /// What became of the records.
    pub fates: Fates,
    /// Bytes of the bronze rows as they are in memory, and bytes of the data files of both tables.
    pub bytes: [u64; 2],
    /// Whether that is all that bronze had when the step began.
    pub at_head: bool,
    /// How long its parts took.
    pub phases: Phases,
}

/// The silver layer of one pipeline, ready to step.
pub struct SilverLayer {
    pipeline: String,
    plan: Plan,
    state: State,
    references: References,
    /// What is wrong with the reference data, as last told.
    broken: String,
    bronze: Reader,
    pub(super) silver: Table,
    pub(super) rejects: Table,
    position: i64,
    /// Where silver began: where bronze did.
    begun: i64,
    rejects_position: i64,
    keeper: Keeper,
    /// What became of all records below the position.
    totals: Fates,
    /// How long the newest commits took, in microseconds.
    commit_us: Option<u64>,
}

impl SilverLayer {
    /// Opens the layer, or none while bronze does not exist. State is taken from `checkpoints` where they hold a sound
    /// snapshot, else rebuilt from the tables.
    ///
    /// Errors: [`Kind::Definition`] where another definition wrote the tables and `adopt` is false.
    pub async fn open(
        lake: &Lake,
        project: &Path,
        checkpoints: &Checkpoints,
        pipeline: &Pipeline,
        adopt: bool,
    ) -> Result<Option<Self>> {
        let name = &pipeline.name;
        let path = names::bronze_path(name);
        let Some(bronze) = Reader::open_trusted(lake, &path, bronze::schema(), "seq", None).await? else {
            return Ok(None);
        };
        let plan = Plan::compile(&pipeline.silver)?;
        let (mut silver, mut rejects) = open_tables(lake, pipeline, &plan).await?;
        let [begun, position] = stand(name, &silver, &bronze);
        let rejects_position = rejects.txn(&names::silver_position(name)).unwrap_or(0);
        take_in_definition(&mut silver, &mut rejects, pipeline, adopt, [position, rejects_position]).await?;
        let generation = silver.stored().generation.clone().unwrap_or_default();
        let head = bronze.txn(&names::bronze_seq(name)).unwrap_or(0);
        if position > head {
            return Err(Error::new(
                Kind::Damaged,
                format!("silver of {name} is at seq {position}, past bronze's end {head}: bronze was set back"),
            )
            .with_next("restore bronze, or replay silver"));
        }
        if let Some(witness) = Witness::in_info(silver.info()) {
            let of = (names::silver_path(name), names::bronze_path(name));
            witness
                .require(&bronze, "seq", &lineage::BRONZE, (&of.0, &of.1))
                .await?;
        }
        let references = References::open(lake, name, &generation, project, &pipeline.silver).await?;
        let path = names::silver_path(name);
        let reader = Reader::open(lake, &path, plan.schema(), tables::SEQ)
            .await?
            .ok_or_else(|| Error::new(Kind::Damaged, format!("table {path} is gone")))?;
        metrics::reference(name, false);
        let sources = Tables {
            plan: &plan,
            definition: &pipeline.silver,
            table: &silver,
            silver: &reader,
            bronze: &bronze,
            begun,
            position,
        };
        let (keeper, state) = Keeper::open(checkpoints, identity(lake, name, &silver), &sources).await?;
        let totals = totals::at(lake, name, &silver, &bronze, position).await?;
        let mut layer = Self {
            totals,
            commit_us: None,
            pipeline: name.clone(),
            plan,
            state,
            references,
            broken: String::new(),
            bronze,
            silver,
            rejects,
            position,
            begun,
            rejects_position,
            keeper,
        };
        layer.take_in_references().await?;
        Ok(Some(layer))
    }

    /// How the state was had, and what is saved of it.
    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// Saves the state where that is due, or at the end of a run worth it. It never fails: the tables are enough.
    pub async fn save_state(&mut self, last: bool, now: Micros) {
        self.keeper
            .keep(&self.state, &self.silver, self.position, last, now)
            .await;
    }

    /// Where silver and rejects stand.
    pub fn positions(&self) -> Vec<TablePosition> {
        let table = |table: &Table, position, watermark| TablePosition {
            table: table.spec().path.clone(),
            version: table.version(),
            position,
            offsets: BTreeMap::new(),
            watermark,
            closed: None,
        };
        let watermark = self.state.watermarks.value().map(rfc3339);
        vec![
            table(&self.silver, self.position, watermark),
            table(&self.rejects, self.rejects_position, None),
        ]
    }

    /// Silver and rejects.
    pub fn tables(&self) -> [&Table; 2] {
        [&self.silver, &self.rejects]
    }

    fn written(&self) -> u64 {
        self.tables().map(Table::written).iter().sum()
    }

    /// What became of all records below the position.
    pub fn totals(&self) -> &Fates {
        &self.totals
    }

    /// The watermark at the position.
    pub fn watermark(&self) -> Option<Micros> {
        self.state.watermarks.value()
    }

    /// How many keys duplicates are known by, and the bytes of memory they take.
    pub fn keys(&self) -> (usize, usize) {
        (self.state.dedupe.len(), self.state.dedupe.bytes())
    }

    /// Records below the position that have no row, less rows without a record: 0, or the law of conservation is broken.
    /// None while a step is half committed, and where the tables do not know their rows.
    pub fn unaccounted(&self) -> Option<i64> {
        if self.position < self.rejects_position {
            return None;
        }
        let records = self.position - self.begun - i64::try_from(self.totals.ticks).ok()?;
        Some(records - ever(&self.silver)? - ever(&self.rejects)?)
    }

    /// The next bronze seq to process.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Bronze's next seq, as far as it is known.
    pub fn head(&self) -> i64 {
        self.bronze.txn(&names::bronze_seq(&self.pipeline)).unwrap_or(0)
    }

    /// Processes at most `max_rows` bronze rows; none where there is nothing new.
    ///
    /// After an error the layer must be opened anew: what was committed is in the tables.
    pub async fn step(&mut self, policy: &CommitPolicy) -> Result<Option<Done>> {
        self.silver.begin_work();
        if self.bronze.follow().await? == Followed::Rewritten {
            return Err(Error::new(
                Kind::Damaged,
                format!(
                    "rows of {} were removed or replaced; bronze is append-only",
                    names::bronze_path(&self.pipeline)
                ),
            )
            .with_next("restore bronze to the version before that, or replay silver from what is left"));
        }
        // Also where there is nothing to do: what changes in a quiet hour must be in force when it ends.
        self.take_in_references().await?;
        let head = self.head();
        if self.position >= head {
            return Ok(None);
        }
        let (references, boundary) = self.references.at(self.position)?;
        let limit = self
            .position
            .saturating_add(i64::try_from(policy.max_rows).unwrap_or(i64::MAX));
        let to = head.min(limit).min(boundary.unwrap_or(i64::MAX));
        let ask = Ask {
            columns: &all_columns(),
            since: i64::MIN,
            max_bytes: policy.max_bytes as u64,
        };
        let mut phases = Phases::begin();
        let (rows, to) = self.bronze.read_within(self.position, to, ask).await?;
        phases.end("read");
        #[cfg(debug_assertions)]
        crate::failpoint::hit("S1");
        require_dense(&self.pipeline, &rows, self.position, to)?;
        let bytes = bytes_of(&rows);
        let step = self.plan.process(&rows, &references, &mut self.state)?;
        let witness = Witness::last(&rows, "seq", &lineage::BRONZE)?;
        #[cfg(debug_assertions)]
        crate::failpoint::hit("S2");
        phases.end("compute");
        let written = self.written();
        let progress = Progress {
            state_rows: Some(self.state.dedupe.len() as u64),
            state_bytes: Some(self.state.dedupe.bytes() as u64),
            ..Progress::of(rows.num_rows() as u64, Some(head - to), &phases, self.commit_us)
        };
        self.commit(&step, to, bytes, witness, progress).await?;
        phases.end("commit");
        self.commit_us = phases.micros("commit");
        #[cfg(debug_assertions)]
        crate::failpoint::hit("S5");
        let done = Done {
            rows: to - self.position,
            position: to,
            fates: step.fates,
            bytes: [bytes, self.written() - written],
            at_head: to == head,
            phases,
        };
        self.position = to;
        self.bronze.forget_below(to);
        Ok(Some(done))
    }

    /// Takes in changed reference data, and tells once when it is broken and when it is good again.
    async fn take_in_references(&mut self) -> Result<()> {
        let from = self.position.max(self.rejects_position);
        let changed = self.references.refresh(from).await?;
        let (pipeline, broken) = (&self.pipeline, self.references.broken());
        if changed {
            tracing::info!(pipeline, from, "reference data changed");
        }
        if broken == self.broken {
            return Ok(());
        }
        if broken.is_empty() {
            tracing::info!(pipeline, "reference data is good again");
        } else {
            tracing::warn!(
                pipeline,
                "reference data is broken, the last good version stays in force: {broken}"
            );
        }
        metrics::reference(pipeline, !broken.is_empty());
        self.broken = broken;
        Ok(())
    }

    /// Rejects first, then silver: each takes only rows at or above its own position, so either may be ahead.
    async fn commit(
        &mut self,
        step: &Step,
        to: i64,
        bytes: u64,
        witness: Option<Witness>,
        mut progress: Progress,
    ) -> Result<()> {
        let app = names::silver_position(&self.pipeline);
        let written = self.rejects.written();
        let rejects = rows_from(&step.rejects, "seq", self.rejects_position)?;
        if rejects.num_rows() > 0 {
            self.rejects
                .append(Append {
                    rows: Some(&rejects),
                    txns: vec![(app.clone(), to)],
                    info: json!({"position": to, "fates": step.fates}),
                })
                .await?;
            self.rejects_position = to;
            #[cfg(debug_assertions)]
            crate::failpoint::hit("S4");
        } else {
            // A step without rejects must notice, too, what others do to them.
            self.rejects.watch().await?;
        }
        let mut txns = vec![(app, to)];
        if let Some(watermark) = self.state.watermarks.value() {
            txns.push((names::silver_watermark(&self.pipeline), watermark));
        }
        if self.begun > 0 {
            txns.push((names::silver_begun(&self.pipeline), self.begun));
        }
        let watermarks =
            serde_json::to_value(&self.state.watermarks).or_fail(Kind::Bug, || "writing the watermarks")?;
        let mut totals = self.totals.clone();
        totals.add(&step.fates);
        progress.beside_bytes = self.rejects.written() - written;
        self.silver
            .append(Append {
                rows: Some(&step.silver),
                txns,
                info: json!({
                    "position": to,
                    "from": self.position,
                    "bytes": bytes,
                    totals::OF_STEP: step.fates,
                    totals::KEY: totals,
                    "watermarks": watermarks,
                    "watermark": self.state.watermarks.value().map(rfc3339),
                    lineage::KEY: witness,
                    progress::KEY: progress,
                }),
            })
            .await?;
        self.totals = totals;
        self.keeper.note_rows(step.silver.num_rows() as u64);
        Ok(())
    }
}

/// Whose state the snapshots of this silver table hold.
fn identity(lake: &Lake, pipeline: &str, silver: &Table) -> Identity {
    let stored = silver.stored();
    Identity {
        lake: lake.url().to_string(),
        pipeline: pipeline.to_owned(),
        generation: stored.generation.clone().unwrap_or_default(),
        definition: stored.fingerprint.clone().unwrap_or_default(),
        adopted_from: stored.adopted_from,
    }
}

/// Refuses tables that another definition wrote, or takes the changed definition into force from their positions on;
/// refuses tables of two replays.
async fn take_in_definition(
    silver: &mut Table,
    rejects: &mut Table,
    pipeline: &Pipeline,
    adopt: bool,
    [position, rejects_position]: [i64; 2],
) -> Result<()> {
    let name = &pipeline.name;
    let changed = silver.stored().fingerprint.as_deref() != Some(pipeline.silver.fingerprint.as_str());
    if adopt && changed && rejects_position > position {
        return Err(Error::new(
            Kind::Definition,
            format!("a step of {name} from seq {position} to {rejects_position} is half committed"),
        )
        .with_next("run once with the old definition, so that it is finished, then apply the new one"));
    }
    tables::same_definition(silver, adopt, position, None).await?;
    tables::same_definition(rejects, adopt, position, None).await?;
    let generation = silver.stored().generation.clone().unwrap_or_default();
    if rejects.stored().upstream.as_deref() != Some(generation.as_str()) {
        return Err(Error::new(
            Kind::Damaged,
            format!("rejects and silver of {name} are of different replays"),
        )
        .with_next(format!("run `medallion replay silver -p {name}`")));
    }
    Ok(())
}

/// Where silver began and where it is. What begins anew begins where upstream does.
fn stand(pipeline: &str, silver: &Table, bronze: &Reader) -> [i64; 2] {
    match silver.txn(&names::silver_position(pipeline)) {
        Some(position) => [silver.txn(&names::silver_begun(pipeline)).unwrap_or(0), position],
        None => [bronze.first(); 2],
    }
}

/// Opens or makes silver, then rejects with silver's generation.
async fn open_tables(lake: &Lake, pipeline: &Pipeline, plan: &Plan) -> Result<(Table, Table)> {
    let name = &pipeline.name;
    let fresh = tables::generation();
    let (silver_spec, _) = tables::silver(name, &pipeline.silver, plan, &fresh);
    let silver = Table::open_or_create(lake, silver_spec).await?.trusted()?;
    let generation = silver.stored().generation.clone().unwrap_or(fresh);
    let (_, rejects_spec) = tables::silver(name, &pipeline.silver, plan, &generation);
    let rejects = Table::open_or_create(lake, rejects_spec).await?.trusted()?;
    Ok((silver, rejects))
}

/// Refuses bronze rows of `[from, to)` that are not one per seq.
pub fn require_dense(pipeline: &str, rows: &RecordBatch, from: i64, to: i64) -> Result<()> {
    if i64::try_from(rows.num_rows()).ok() == Some(to - from) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Damaged,
        format!(
            "bronze of {pipeline} has {} rows where seq {from} to {to} promise {}",
            rows.num_rows(),
            to - from
        ),
    )
    .with_next("restore bronze's missing or doubled data files"))
}

/// Bytes of rows as they are in memory, without what their buffers have to spare.
pub fn bytes_of(rows: &RecordBatch) -> u64 {
    let bytes = |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or(0);
    rows.columns().iter().map(bytes).sum::<usize>() as u64
}

/// All bronze columns that silver uses.
pub fn all_columns() -> Vec<String> {
    bronze::schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect()
}

/// The rows whose `column` is at or above `from`.
pub fn rows_from(rows: &RecordBatch, column: &str, from: i64) -> Result<RecordBatch> {
    let Some(seqs) = rows
        .column_by_name(column)
        .and_then(|column| column.as_primitive_opt::<Int64Type>())
    else {
        return Err(Error::new(Kind::Bug, format!("rows have no long column {column}")));
    };
    if seqs.values().iter().all(|seq| *seq >= from) {
        return Ok(rows.clone());
    }
    let keep: BooleanArray = seqs.values().iter().map(|seq| Some(*seq >= from)).collect();
    filter_record_batch(rows, &keep).or_fail(Kind::Bug, || "filtering by seq")
}
