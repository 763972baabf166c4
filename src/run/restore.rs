//! Silver's state beside its tables: saved now and then, and taken up again at a start.
//!
//! **Invariant: a state that was taken up answers as one rebuilt from the tables does.** A snapshot counts only where
//! the silver table still has the commit that it was taken at and, beside the rows that came since, exactly the rows
//! that it had then. Whatever else is found is said, counted and left alone; the tables are always enough.

use std::time::Instant;

use super::archive::VolumeArchive;
use super::recover::{remember, silver_watermarks};
use crate::checkpoint::snapshot::{Entry, Header, Identity, Refused};
use crate::checkpoint::{Checkpoints, Folder, Found, Volumes};
use crate::clock::{Micros, rfc3339};
use crate::definition::Silver;
use crate::error::{Error, Kind, Result};
use crate::layer::silver::{Dedupe, First, Plan, State, Watermarks};
use crate::metrics;
use crate::table::{Reader, Table};

/// How a state was had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// From the newest snapshot and the rows after it.
    Snapshot,
    /// From an older snapshot, the newest being of no use, and the rows after it.
    Previous,
    /// From the tables alone.
    Tables,
}

impl How {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Snapshot, Self::Previous, Self::Tables];

    /// Its word in logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Previous => "previous",
            Self::Tables => "tables",
        }
    }
}

/// Where a state is rebuilt from.
pub struct Tables<'a> {
    /// Silver's definition, compiled.
    pub plan: &'a Plan,
    /// Silver's definition.
    pub definition: &'a Silver,
    /// Silver, for its log.
    pub table: &'a Table,
    /// Silver, for its rows.
    pub silver: &'a Reader,
    /// Bronze.
    pub bronze: &'a Reader,
    /// The bronze seq at which silver began.
    pub begun: i64,
    /// Silver's position.
    pub position: i64,
}

/// The snapshots of one pipeline's silver, as its layer keeps them.
pub struct Keeper {
    checkpoints: Checkpoints,
    folder: Option<Folder>,
    identity: Identity,
    how: How,
    /// The older keys of the state.
    archive: Option<VolumeArchive>,
    /// The position of the newest snapshot that is sound, 0 where there is none.
    saved: i64,
    /// The position of the last attempt: a disk that is full is not tried at each step.
    tried: i64,
    tried_at: Instant,
    /// Rows that the silver table has had in all; none where its log does not say.
    rows: Option<u64>,
}

impl Keeper {
    /// The state at silver's position, and the keeper of its next snapshots.
    ///
    /// # Errors
    /// Those of the tables. A snapshot is no reason for one.
    pub async fn open(checkpoints: &Checkpoints, identity: Identity, tables: &Tables<'_>) -> Result<(Self, State)> {
        let mut keeper = Self {
            // Without dedupe the state is the watermark alone, and that rides in silver's commits.
            folder: checkpoints
                .of(&identity.pipeline)
                .filter(|_| tables.definition.dedupe.is_some()),
            checkpoints: checkpoints.clone(),
            identity,
            how: How::Tables,
            archive: None,
            saved: 0,
            tried: 0,
            tried_at: Instant::now(),
            rows: rows_ever(tables.silver),
        };
        let began = Instant::now();
        let info = tables.table.info();
        let watermarks = silver_watermarks(
            tables.definition,
            [tables.begun, tables.position],
            info,
            tables.silver,
            tables.bronze,
        )
        .await?;
        keeper.sweep();
        let state = match keeper.take_snapshot(tables, &watermarks).await? {
            Some(state) => state,
            None => keeper.rebuild(tables, watermarks).await?,
        };
        if tables.position > 0 {
            metrics::state_restored(&keeper.identity.pipeline, keeper.how.word());
            tracing::info!(
                pipeline = keeper.identity.pipeline,
                how = keeper.how.word(),
                snapshot = keeper.saved,
                position = tables.position,
                keys = state.dedupe.len(),
                seconds = began.elapsed().as_secs_f64(),
                "silver's state is back"
            );
        }
        Ok((keeper, state))
    }

    /// How the state was had when the layer was opened.
    pub fn how(&self) -> How {
        self.how
    }

    /// The position of the newest sound snapshot, 0 where there is none.
    pub fn saved(&self) -> i64 {
        self.saved
    }

    /// Notes rows that a step added to the silver table.
    pub fn note_rows(&mut self, rows: u64) {
        self.rows = self.rows.map(|before| before + rows);
    }

    /// The state from the tables alone.
    async fn rebuild(&mut self, tables: &Tables<'_>, watermarks: Watermarks) -> Result<State> {
        let volumes = self
            .folder
            .as_ref()
            .map(|folder| Volumes::new(folder, self.checkpoints.shape()));
        self.archive = volumes.map(|volumes| self.archive_of(volumes));
        let mut state = State {
            watermarks,
            // Without a place for files all keys stay in memory.
            dedupe: self
                .archive
                .as_ref()
                .map_or_else(Dedupe::default, |archive| self.dedupe_over(archive)),
        };
        remember(
            tables.plan,
            tables.silver,
            tables.silver.first(),
            tables.position,
            &mut state,
        )
        .await?;
        Ok(state)
    }

    fn archive_of(&self, volumes: Volumes) -> VolumeArchive {
        VolumeArchive::new(&self.identity.pipeline, volumes)
    }

    fn dedupe_over(&self, archive: &VolumeArchive) -> Dedupe {
        Dedupe::over(Box::new(archive.clone()), self.checkpoints.shape().lot)
    }

    /// Deletes volumes that neither a snapshot nor the state needs.
    fn sweep(&self) {
        if let Some(folder) = &self.folder {
            match &self.archive {
                Some(archive) => archive.volumes().sweep(folder),
                None => Volumes::new(folder, self.checkpoints.shape()).sweep(folder),
            }
        }
    }

    /// The state from the newest snapshot that is sound, and the rows after it.
    async fn take_snapshot(&mut self, tables: &Tables<'_>, watermarks: &Watermarks) -> Result<Option<State>> {
        let Some(folder) = self.folder.clone() else {
            return Ok(None);
        };
        for (age, found) in folder.snapshots().into_iter().enumerate() {
            match self.read(&folder, &found, tables, watermarks).await? {
                Ok((archive, state)) => {
                    self.archive = Some(archive);
                    self.saved = found.position;
                    self.tried = found.position;
                    self.how = if age == 0 { How::Snapshot } else { How::Previous };
                    return Ok(Some(state));
                }
                Err(refused) => {
                    let pipeline = self.identity.pipeline.as_str();
                    let file = found.path.display();
                    tracing::warn!(pipeline, %file, why = %refused, "a snapshot of silver's state is not used");
                }
            }
        }
        Ok(None)
    }

    /// The state from one snapshot and the rows after it.
    async fn read(
        &self,
        folder: &Folder,
        found: &Found,
        tables: &Tables<'_>,
        watermarks: &Watermarks,
    ) -> Result<Result<(VolumeArchive, State), Refused>> {
        // The header first: it is short, and says of most files that are of no use that they are.
        let header = match folder.header(found, &self.identity) {
            Ok(header) => header,
            Err(refused) => return Ok(Err(refused)),
        };
        if let Some(stale) = self.left_behind(&header, tables).await? {
            return Ok(Err(stale));
        }
        let archive = match Volumes::open(folder, self.checkpoints.shape(), &header.volumes) {
            Ok(volumes) => self.archive_of(volumes),
            Err(refused) => return Ok(Err(refused)),
        };
        let mut state = State {
            watermarks: watermarks.clone(),
            dedupe: self.dedupe_over(&archive),
        };
        let put_back = |entry: Entry| {
            let first = First {
                seq: entry.seq,
                event_time: entry.event_time,
            };
            tables.plan.recall(entry.key, first, &mut state);
        };
        match folder.load(found, &self.identity, put_back) {
            Ok(loaded) if loaded == header => {}
            Ok(_) => return Ok(Err(Refused::Damaged("it changed while it was read"))),
            Err(refused) => return Ok(Err(refused)),
        }
        let since = remember(tables.plan, tables.silver, header.position, tables.position, &mut state).await?;
        if self.rows.is_none() || self.rows != header.rows.checked_add(since) {
            return Ok(Err(Refused::Stale(format!(
                "the silver table had {} rows at seq {} and {since} came since, but it has {:?} now",
                header.rows, header.position, self.rows
            ))));
        }
        Ok(Ok((archive, state)))
    }

    /// Why the table's history is not the one that the snapshot was taken in, if it is not.
    async fn left_behind(&self, header: &Header, tables: &Tables<'_>) -> Result<Option<Refused>> {
        if header.position > tables.position {
            return Ok(Some(Refused::Stale(format!(
                "it is at seq {}, past silver's position {}: the table was set back",
                header.position, tables.position
            ))));
        }
        let mark = tables.table.mark(header.version).await?;
        if mark.as_ref() == Some(&header.mark) {
            return Ok(None);
        }
        Ok(Some(Refused::Stale(format!(
            "version {} of the silver table is {}",
            header.version,
            if mark.is_some() {
                "another commit than it was"
            } else {
                "gone from its log"
            }
        ))))
    }

    /// Saves the state where that is due, or at the end of a run worth it. A failure is said and counted, no more.
    pub async fn keep(&mut self, state: &State, table: &Table, position: i64, last: bool, now: Micros) {
        let Some(folder) = self.folder.clone() else {
            return;
        };
        let elapsed = self.tried_at.elapsed();
        let due = match last {
            true => self.checkpoints.worth(position - self.saved),
            false => {
                let recent = state.dedupe.recent().len();
                self.checkpoints.due(position - self.tried, recent, elapsed)
            }
        };
        if !due {
            return;
        }
        self.tried = position;
        self.tried_at = Instant::now();
        let pipeline = self.identity.pipeline.clone();
        match self.save(&folder, state, table, position, now).await {
            Ok(()) => {
                self.saved = position;
                self.sweep();
                let (keys, seconds) = (state.dedupe.len(), self.tried_at.elapsed().as_secs_f64());
                tracing::info!(pipeline, position, keys, seconds, "silver's state is saved");
            }
            Err(error) => {
                metrics::snapshot_failed(&pipeline);
                tracing::warn!(pipeline, position, %error, "silver's state is not saved; the run goes on");
            }
        }
    }

    async fn save(&self, folder: &Folder, state: &State, table: &Table, position: i64, now: Micros) -> Result<()> {
        let version = table.version();
        let unknown = |what: &str| Error::new(Kind::Unavailable, format!("silver's log does not say {what}"));
        let header = Header {
            identity: self.identity.clone(),
            position,
            version,
            mark: table
                .mark(version)
                .await?
                .ok_or_else(|| unknown("what its newest commit was"))?,
            rows: self.rows.ok_or_else(|| unknown("how many rows the table has"))?,
            keys: state.dedupe.recent().len() as u64,
            volumes: match &self.archive {
                Some(archive) => archive.volumes().saved()?,
                None => Vec::new(),
            },
            written_at: rfc3339(now),
        };
        let entries = state.dedupe.recent().map(|(key, first)| Entry {
            key,
            seq: first.seq,
            event_time: first.event_time,
        });
        folder.save(&header, entries, self.saved)
    }
}

fn rows_ever(silver: &Reader) -> Option<u64> {
    Some(silver.rows()? + u64::try_from(silver.gone()).ok()?)
}
