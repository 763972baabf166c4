//! Following a table: the next layer's view of it, rows by seq.
//!
//! The reader walks the log entry by entry. Which files hold a seq is known from their statistics, and rows are
//! always taken by seq range, so compaction, vacuum and log cleanup under it change nothing. Where the log's next
//! entry is gone it starts over from a snapshot; both ways give the same rows in seq order.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use deltalake::DeltaTable;
use deltalake::kernel::{Action, Add, Metadata};
use deltalake::logstore::{LogStoreRef, commit_uri_from_version};
use object_store::{Error as StoreError, ObjectStoreExt};
use serde_json::Value;

use super::commit::read_entry;
use super::foreign::{self, Harm, miscounted, promised_rows, since_ours};
use super::keep::{BEFORE, FIRST, GONE};
use super::load::{active_files, load, totals};
use super::object::location;
use super::recent::Recent;
use super::scan::{Ask, Scan};
use super::{Activity, Lake, Stored, activity, extent, tail, txns};
use crate::error::{Context, Error, Kind, Result};

/// How often a read starts over because the files it wanted were compacted and vacuumed meanwhile.
const VANISHED_MAX: u32 = 5;

/// What [`Reader::follow`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followed {
    /// Nothing new.
    Same,
    /// New commits; the content that was there stands.
    Grown,
    /// Rows were removed or replaced: whoever computed from them must start over or stop.
    Rewritten,
}

/// One data file and the seqs it may hold.
#[derive(Debug, Clone)]
pub(super) struct Span {
    pub(super) low: i64,
    pub(super) high: i64,
    /// Largest value of the time column, in microseconds; none where unknown.
    newest: Option<i64>,
    /// Rows, where the log says so.
    rows: Option<u64>,
    pub(super) size: u64,
    pub(super) partition_values: HashMap<String, Option<String>>,
}

impl Span {
    pub(super) fn overlaps(&self, from: i64, to: i64, since: i64) -> bool {
        self.low < to && self.high >= from && self.newest.is_none_or(|newest| newest >= since)
    }
}

/// A table as the next layer reads it.
#[derive(Clone)]
pub struct Reader {
    path: String,
    log: LogStoreRef,
    recent: Recent,
    schema: SchemaRef,
    seq_column: String,
    time_column: Option<String>,
    version: u64,
    files: HashMap<String, Span>,
    txns: HashMap<String, i64>,
    stored: Stored,
    metadata: Option<Metadata>,
    /// Whether what others do to the rows is refused; one who audits wants to see it.
    trusts: bool,
    /// Whether files were forgotten, so that one unknown to us may still be in the table.
    forgot: bool,
}

impl Reader {
    /// Opens the table at `path` for reading rows by `seq_column` as they are, or none where there is no table yet.
    /// `schema` is what rows are read as: columns that the table lacks are null, types are cast.
    pub async fn open(lake: &Lake, path: &str, schema: SchemaRef, seq_column: &str) -> Result<Option<Self>> {
        let mut reader = Self::new(lake, path, schema, seq_column)?;
        Ok(reader.reload().await?.then_some(reader))
    }

    /// As [`Reader::open`], for whoever computes from the rows; files without a row of interest can be skipped by the
    /// statistics of the timestamp column `time`.
    ///
    /// Errors: [`Kind::Damaged`], now or while following, where someone else changed rows or columns.
    pub async fn open_trusted(
        lake: &Lake,
        path: &str,
        schema: SchemaRef,
        seq_column: &str,
        time: Option<&str>,
    ) -> Result<Option<Self>> {
        let mut reader = Self::new(lake, path, schema, seq_column)?;
        reader.trusts = true;
        reader.recent.want(path);
        reader.time_column = time.map(str::to_owned);
        Ok(reader.reload().await?.then_some(reader))
    }

    fn new(lake: &Lake, path: &str, schema: SchemaRef, seq_column: &str) -> Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            log: lake.log_store(path)?,
            recent: lake.recent().clone(),
            schema,
            seq_column: seq_column.to_owned(),
            time_column: None,
            version: 0,
            files: HashMap::new(),
            txns: HashMap::new(),
            stored: Stored::default(),
            metadata: None,
            trusts: false,
            forgot: false,
        })
    }

    /// The version read up to.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The position stored under `app` at [`Reader::version`].
    pub fn txn(&self, app: &str) -> Option<i64> {
        self.txns.get(app).copied()
    }

    /// All positions whose app id begins with `prefix`, the rest of the id first.
    pub fn txns_under(&self, prefix: &str) -> Vec<(String, i64)> {
        txns::under(&self.txns, prefix)
    }

    /// The seq from which on all rows are there: older ones were let go. 0 where none was.
    pub fn first(&self) -> i64 {
        self.own(FIRST).unwrap_or(0)
    }

    /// Every row that was let go was older than this instant, in microseconds; none where none was.
    pub fn before(&self) -> Option<i64> {
        self.own(BEFORE).filter(|before| *before > i64::MIN)
    }

    /// How many rows were let go.
    pub fn gone(&self) -> i64 {
        self.own(GONE).unwrap_or(0)
    }

    fn own(&self, name: &str) -> Option<i64> {
        foreign::own(&self.txns, name)
    }

    /// What the table says of itself.
    pub fn stored(&self) -> &Stored {
        &self.stored
    }

    /// Data files that may hold rows at or above `from`.
    pub fn files_from(&self, from: i64) -> usize {
        self.files.values().filter(|span| span.high >= from).count()
    }

    /// Bytes of all active data files.
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|span| span.size).sum()
    }

    /// Rows of all active data files; none where the log does not say it of each.
    pub fn rows(&self) -> Option<u64> {
        self.files.values().map(|span| span.rows).sum()
    }

    /// Number of active data files.
    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    /// Bytes of the log, by listing it.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] where the store cannot be asked.
    pub async fn log_bytes(&self) -> Result<u64> {
        extent::log_bytes(&self.log).await
    }

    /// The work behind the newest commits.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] where the log cannot be read, [`Kind::Damaged`] where it is no log.
    pub async fn activity(&self) -> Result<Activity> {
        activity::newest(&self.log, self.version).await
    }

    /// The state that the newest commit of ours carries, where the log still has it.
    ///
    /// # Errors
    /// As [`Reader::activity`].
    pub async fn state(&self) -> Result<Option<Value>> {
        activity::state(&self.log, self.version).await
    }

    /// The state of our oldest commit in the log whose position is at or above `from` and that `fits`.
    ///
    /// # Errors
    /// As [`Reader::activity`].
    pub async fn oldest_state(&self, from: i64, fits: impl Fn(&Value) -> bool) -> Result<Option<Value>> {
        activity::oldest_state(&self.log, self.version, from, fits).await
    }

    /// At most `most` rows that the newest commits added, newest commit first, with all columns.
    ///
    /// # Errors
    /// As [`Reader::read_within`].
    pub async fn newest(&self, most: usize) -> Result<RecordBatch> {
        tail::newest(&self.log, self.version, &self.files, &self.schema, most).await
    }

    /// Takes in the commits since the last call.
    pub async fn follow(&mut self) -> Result<Followed> {
        let mut followed = Followed::Same;
        loop {
            let Some(actions) = read_entry(&self.log, self.version + 1).await? else {
                let head = commit_uri_from_version(Some(self.version));
                return match self.log.object_store(None).head(&head).await {
                    Ok(_) => Ok(followed),
                    Err(StoreError::NotFound { .. }) => {
                        // Cleaned under us: the rows are the same, only the way to them is another.
                        let generation = self.stored.generation.clone();
                        if !self.reload().await? {
                            return Err(self.vanished());
                        }
                        let same = generation == self.stored.generation;
                        Ok(if same { Followed::Grown } else { Followed::Rewritten })
                    }
                    Err(error) => Err(error).or_fail(Kind::Unavailable, || format!("reading the log of {}", self.path)),
                };
            };
            if self.trusts {
                self.refuse(&actions)?;
            }
            self.version += 1;
            let rewritten = self.apply(actions)?;
            if rewritten {
                followed = Followed::Rewritten;
            } else if followed == Followed::Same {
                followed = Followed::Grown;
            }
        }
    }

    /// Refuses the next commit where it does what those who compute from the rows do not survive.
    fn refuse(&self, entry: &[Action]) -> Result<()> {
        if foreign::is_ours(entry) {
            return Ok(());
        }
        let harm = self.metadata.as_ref().and_then(|before| foreign::harm(entry, before));
        // Two compactions of the same files, both committed, leave every row of them twice. deltalake lets that happen.
        let twice = entry.iter().find_map(|action| match action {
            Action::Remove(remove) if !self.forgot && !self.files.contains_key(&remove.path) => Some(format!(
                "compacted {} after another compaction: its rows are there twice",
                remove.path
            )),
            _ => None,
        });
        match harm.or(twice) {
            Some(what) => Err(Harm::at(self.version + 1, entry, &what).error(&self.path)),
            None => Ok(()),
        }
    }

    /// What others did to the table that our rows did not survive, in words; none where there is nothing.
    pub async fn foreign_harm(&self) -> Result<Option<String>> {
        match load(&self.log).await? {
            Some(table) => Ok(self.harm(&table).await?.map(|harm| harm.what().to_owned())),
            None => Ok(None),
        }
    }

    async fn harm(&self, table: &DeltaTable) -> Result<Option<Harm>> {
        let since = since_ours(&self.log, table).await?;
        let rows = totals(table)?.rows;
        Ok(since.harm.or_else(|| miscounted(rows, promised_rows(&self.txns))))
    }

    fn vanished(&self) -> Error {
        Error::new(Kind::Damaged, format!("table {} is gone", self.path)).with_next("restore it, or replay")
    }

    /// Applies one commit; true where it removed rows.
    fn apply(&mut self, actions: Vec<Action>) -> Result<bool> {
        let mut rewritten = false;
        let lets_go = foreign::lets_go(&actions);
        for action in actions {
            match action {
                Action::Add(add) => self.insert(add)?,
                Action::Remove(remove) => {
                    rewritten |= remove.data_change && !lets_go;
                    self.recent.forget(&self.path, &remove.path);
                    self.files.remove(&remove.path);
                }
                Action::Txn(txn) => {
                    self.txns.insert(txn.app_id, txn.version);
                }
                Action::Metadata(metadata) => {
                    self.stored = Stored::of(&metadata);
                    self.metadata = Some(metadata);
                }
                _ => {}
            }
        }
        Ok(rewritten)
    }

    async fn reload(&mut self) -> Result<bool> {
        let Some(table) = load(&self.log).await? else {
            return Ok(false);
        };
        let snapshot = table
            .snapshot()
            .or_fail(Kind::Damaged, || format!("reading table {}", self.path))?;
        self.version = snapshot.version();
        self.txns = txns::all(&self.log, self.version).await?;
        if self.trusts
            && let Some(harm) = self.harm(&table).await?
        {
            return Err(harm.error(&self.path));
        }
        let metadata = Action::Metadata(snapshot.metadata().clone());
        self.files.clear();
        self.forgot = false;
        self.apply(vec![metadata])?;
        for add in active_files(&table)? {
            self.insert(add)?;
        }
        // The snapshot comes from a list, which may be behind; a replay of what it shows would set the tables back.
        while let Some(actions) = read_entry(&self.log, self.version + 1).await? {
            self.version += 1;
            self.apply(actions)?;
        }
        Ok(true)
    }

    fn insert(&mut self, add: Add) -> Result<()> {
        if add.deletion_vector.is_some() {
            return Err(Error::new(
                Kind::Damaged,
                format!(
                    "file {} of {} has a deletion vector: someone deleted rows",
                    add.path, self.path
                ),
            )
            .with_next("restore the table to the version before the delete"));
        }
        let stats: Option<Value> = add.stats.as_deref().and_then(|stats| serde_json::from_str(stats).ok());
        let bound = |which: &str| stats.as_ref()?.get(which)?.get(&self.seq_column)?.as_i64();
        let newest = || {
            let newest = stats
                .as_ref()?
                .get("maxValues")?
                .get(self.time_column.as_ref()?)?
                .as_str()?;
            Some(chrono::DateTime::parse_from_rfc3339(newest).ok()?.timestamp_micros())
        };
        let span = Span {
            newest: newest(),
            rows: stats.as_ref().and_then(|stats| stats.get("numRecords")?.as_u64()),
            low: bound("minValues").unwrap_or(i64::MIN),
            high: bound("maxValues").unwrap_or(i64::MAX),
            size: u64::try_from(add.size).unwrap_or_default(),
            partition_values: add.partition_values,
        };
        self.files.insert(add.path, span);
        Ok(())
    }

    /// Forgets files whose rows all lie below `seq`: a layer that moves forward never asks for them again.
    pub fn forget_below(&mut self, seq: i64) {
        let known = self.files.len();
        let (path, recent) = (&self.path, &self.recent);
        self.files.retain(|file, span| {
            let stays = span.high >= seq;
            if !stays {
                recent.forget(path, file);
            }
            stays
        });
        self.forgot |= self.files.len() < known;
    }

    /// The rows with `from <= seq < to`, in seq order, with the named columns (and always the seq column).
    pub async fn read(&self, from: i64, to: i64, columns: &[String]) -> Result<RecordBatch> {
        let ask = Ask {
            columns,
            since: i64::MIN,
            max_bytes: u64::MAX,
        };
        self.read_within(from, to, ask).await.map(|(rows, _)| rows)
    }

    /// The rows with `from <= seq < end`, in seq order, and `end`: at most `to`, less where the rows up to there would
    /// take more memory than asked for. At least one seq is passed.
    ///
    /// Errors: [`Kind::Damaged`] where a data file of the table is missing or broken.
    pub async fn read_within(&self, from: i64, to: i64, ask: Ask<'_>) -> Result<(RecordBatch, i64)> {
        let mut newer: Option<Self> = None;
        for _ in 0..VANISHED_MAX {
            let reader = newer.as_ref().unwrap_or(self);
            let error = match reader.read_once(from, to, ask).await {
                Ok(read) => return Ok(read),
                Err((path, error)) if reader.is_gone(&path).await => error.context(format!("{path} is not there")),
                Err((_, error)) => return Err(error),
            };
            // Compacted and vacuumed under us: the same rows lie in other files by now.
            let mut next = reader.clone();
            next.follow().await?;
            if next.version == reader.version {
                return Err(error.with_next(format!("restore the data file, or {} from a copy", self.path)));
            }
            newer = Some(next);
        }
        Err(Error::new(
            Kind::Unavailable,
            format!("data files of {} vanish faster than they are read", self.path),
        )
        .with_next("let vacuum keep removed files for an hour at least"))
    }

    async fn is_gone(&self, path: &str) -> bool {
        let found = self.log.object_store(None).head(&location(path)).await;
        matches!(found, Err(StoreError::NotFound { .. }))
    }

    /// One try; an error comes with the data file that it is about.
    async fn read_once(&self, from: i64, to: i64, ask: Ask<'_>) -> Result<(RecordBatch, i64), (String, Error)> {
        let nowhere = |error| (String::new(), error);
        let mut scan = Scan::new(
            self.log.object_store(None),
            &self.schema,
            &self.seq_column,
            from..to,
            ask,
        )
        .map_err(|error| nowhere(error.context(&self.path)))?;
        let mut spans: Vec<_> = self
            .files
            .iter()
            .filter(|(_, span)| span.overlaps(from, to, ask.since))
            .collect();
        spans.sort_by(|(a_path, a), (b_path, b)| (a.low, a_path).cmp(&(b.low, b_path)));
        let told = |path: &str, error: Error| {
            let error = error.context(format!("data file {path} of {}", self.path));
            (path.to_owned(), error)
        };
        for (path, span) in spans {
            if span.low >= scan.end() {
                continue;
            }
            let added = match self.recent.take(&self.path, path) {
                Some(rows) => scan.add_rows(rows, span),
                None => scan.add(path, span).await,
            };
            added.map_err(|error| told(path, error))?;
        }
        scan.rows().await.map_err(|(path, error)| told(&path, error))
    }
}
