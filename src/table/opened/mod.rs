//! An opened table and its writer: what it is, where it stands, and how rows are appended.

mod peers;

use std::collections::HashMap;

use arrow::array::RecordBatch;
use deltalake::kernel::{Action, Add, Metadata, MetadataExt};
use deltalake::logstore::{CommitOrBytes, LogStoreRef};
use futures::StreamExt;
use serde_json::Value;
use twox_hash::XxHash3_128;
use uuid::Uuid;

use super::activity::CPU;
use super::commit::{Commit, commit, follow, read_entry};
use super::extent::{Extent, bytes_added, log_bytes};
use super::foreign::{Harm, READER_MAX, ROWS, WRITER_MAX, count_rows, miscounted, promised_rows, since_ours};
use super::load::{load, totals};
use super::spec::{ADOPTED_CLOSED, ADOPTED_FROM, DEFINITION, FINGERPRINT, GENERATION, UPSTREAM};
use super::write::{Layout, Written};
use super::{Lake, TableSpec, txns};
use crate::clock::CpuMark;
use crate::error::{Context, Error, Kind, Result};

/// One append: rows, the positions they cover, and the small state that rides along.
pub struct Append<'a> {
    /// The rows; none is a commit that only moves positions.
    pub rows: Option<&'a RecordBatch>,
    /// App id and version of every position after these rows.
    pub txns: Vec<(String, i64)>,
    /// Small state, one JSON value.
    pub info: Value,
}

/// A table that this process writes.
pub struct Table {
    spec: TableSpec,
    lake: Lake,
    log: LogStoreRef,
    layout: Layout,
    version: u64,
    txns: HashMap<String, i64>,
    info: Option<Value>,
    metadata: Metadata,
    stored: Stored,
    /// Rows in the active files; none where a file does not say.
    rows: Option<i64>,
    harm: Option<Harm>,
    extent: Extent,
    /// Bytes of the data files that were committed through this handle.
    written: u64,
    /// When the work of the next append began, in CPU time of the thread that does it.
    work: Option<CpuMark>,
}

/// What the table says of itself in its configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// Fingerprint of the definition that wrote the rows; none for bronze.
    pub fingerprint: Option<String>,
    /// That definition, a JSON object of strings.
    pub definition: Option<String>,
    /// Id of the content, new whenever a replay swaps it.
    pub generation: Option<String>,
    /// Generation of the table that the rows were computed from.
    pub upstream: Option<String>,
    /// Bronze seq from which the definition applies; rows below are an earlier definition's. None: to all rows.
    pub adopted_from: Option<i64>,
    /// For gold: end of the last window that closed under an earlier definition, in microseconds.
    pub adopted_closed: Option<i64>,
}

impl Stored {
    /// What this metadata says.
    pub(super) fn of(metadata: &Metadata) -> Self {
        let value = |key: &str| metadata.configuration().get(key).cloned();
        let number = |key: &str| value(key).and_then(|value| value.parse().ok());
        Self {
            fingerprint: value(FINGERPRINT),
            definition: value(DEFINITION),
            generation: value(GENERATION),
            upstream: value(UPSTREAM),
            adopted_from: number(ADOPTED_FROM),
            adopted_closed: number(ADOPTED_CLOSED),
        }
    }
}

impl Table {
    /// Opens the table, making it first where there is none.
    ///
    /// Errors: [`Kind::Damaged`] for a table that is not ours or has other columns, [`Kind::Unavailable`] for the store.
    pub async fn open_or_create(lake: &Lake, spec: TableSpec) -> Result<Self> {
        if let Some(table) = Self::open(lake, spec.clone()).await? {
            return Ok(table);
        }
        create(lake, &spec).await?;
        #[cfg(debug_assertions)]
        crate::failpoint::hit("B7");
        Self::open(lake, spec.clone()).await?.ok_or_else(|| {
            Error::new(
                Kind::Unavailable,
                format!("table {} is gone right after it was made", spec.path),
            )
        })
    }

    /// Opens the table, or none where there is none. Columns are compared with the spec only while the stored
    /// fingerprint is the spec's: a changed definition is the caller's to refuse or to replay.
    pub async fn open(lake: &Lake, spec: TableSpec) -> Result<Option<Self>> {
        let log = lake.log_store(&spec.path)?;
        let what = || format!("opening table {}", spec.path);
        let Some(delta) = load(&log).await.map_err(|error| error.context(what()))? else {
            return Ok(None);
        };
        let snapshot = delta.snapshot().or_fail(Kind::Damaged, what)?;
        let metadata = snapshot.metadata();
        let stored = Stored::of(metadata);
        let since = since_ours(&log, &delta).await?;
        // Who made it another table is told rather than that it is one.
        let explained = |error| since.harm.as_ref().map_or(error, |harm| harm.error(&spec.path));
        if stored.fingerprint.is_none() || stored.fingerprint.as_deref() == Some(spec.fingerprint.as_str()) {
            spec.check(metadata).map_err(explained)?;
        }
        let protocol = snapshot.protocol();
        if protocol.min_reader_version() > READER_MAX || protocol.min_writer_version() > WRITER_MAX {
            return Err(explained(
                Error::new(
                    Kind::Damaged,
                    format!(
                        "table {} was upgraded to a protocol that medallion does not write: reader {}, writer {}",
                        spec.path,
                        protocol.min_reader_version(),
                        protocol.min_writer_version()
                    ),
                )
                .with_next("take back what was enabled on it: RESTORE it to the version before, downgrade allowed"),
            ));
        }
        let version = snapshot.version();
        let txns = txns::all(&log, version).await?;
        let totals = totals(&delta)?;
        let rows = totals.rows;
        let harm = since.harm.or_else(|| miscounted(rows, promised_rows(&txns)));
        Ok(Some(Self {
            layout: Layout::new(&spec.schema, &spec.partition_by)?,
            lake: lake.clone(),
            metadata: metadata.clone(),
            extent: Extent::of(&totals, log_bytes(&log).await?),
            written: 0,
            work: None,
            log,
            version,
            txns,
            info: since.info,
            stored,
            rows,
            harm,
            spec,
        }))
    }

    /// The table, if it still holds what our commits say: to be asked by whoever goes on from its positions.
    ///
    /// Errors: [`Kind::Damaged`] where someone else changed rows or columns and did not put them back.
    pub fn trusted(self) -> Result<Self> {
        match &self.harm {
            None => Ok(self),
            Some(harm) => Err(harm.error(&self.spec.path)),
        }
    }

    /// Looks at what others committed since our newest commit, without one of our own.
    ///
    /// Errors: those of [`Table::append`].
    pub async fn watch(&mut self) -> Result<()> {
        let request = self.request("STREAMING UPDATE", Vec::new(), Vec::new(), Value::Null);
        let mut extent = self.extent;
        let version = follow(&self.log, self.version, &request, &mut extent).await?;
        (self.version, self.extent) = (version, extent);
        Ok(())
    }

    /// What the table should be.
    pub fn spec(&self) -> &TableSpec {
        &self.spec
    }

    /// The version we stand on.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The position stored under `app`.
    pub fn txn(&self, app: &str) -> Option<i64> {
        self.txns.get(app).copied()
    }

    /// All positions whose app id begins with `prefix`, the rest of the id first.
    pub fn txns_under(&self, prefix: &str) -> Vec<(String, i64)> {
        txns::under(&self.txns, prefix)
    }

    /// The state of our newest commit, where the log still has it.
    pub fn info(&self) -> Option<&Value> {
        self.info.as_ref()
    }

    /// What the table says of itself.
    pub fn stored(&self) -> &Stored {
        &self.stored
    }

    /// How large the table is, as known from its opening and the commits since.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// Its rows, as its data files say; none where one does not say.
    pub fn rows(&self) -> Option<i64> {
        self.rows
    }

    /// Bytes of the data files that were committed since it was opened here.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The work of the next append begins now, on this thread: the commit will say what CPU time it took.
    pub fn begin_work(&mut self) {
        self.work = Some(CpuMark::now());
    }

    /// What the log entry of `version` hashes to, 32 hex digits; none where the log no longer has it. A table that was
    /// set back and came there another way has another mark: every commit of ours carries an id of its own.
    pub async fn mark(&self, version: u64) -> Result<Option<String>> {
        let what = || format!("reading version {version} of {}", self.spec.path);
        let entry = self.log.read_commit_entry(version).await;
        let entry = entry.or_fail(Kind::Unavailable, what)?;
        Ok(entry.map(|bytes| format!("{:032x}", XxHash3_128::oneshot(&bytes))))
    }

    /// Writes the rows and commits them with their positions. Returns the new version.
    ///
    /// After any error the table must be reopened: the outcome is in its positions.
    pub async fn append(&mut self, append: Append<'_>) -> Result<u64> {
        let written = match append.rows {
            Some(rows) if rows.num_rows() > 0 => self.write(rows).await?,
            _ => Vec::new(),
        };
        let recent = self.lake.recent().clone();
        let (mut adds, mut files) = (Vec::new(), Vec::new());
        for Written { add, rows } in written {
            recent.keep(&self.spec.path, &add.path, rows);
            files.push(add.path.clone());
            adds.push(Action::Add(add));
        }
        let mut info = append.info;
        if let (Some(work), Value::Object(info)) = (self.work.take(), &mut info) {
            info.insert(CPU.to_owned(), Value::from(work.micros()));
        }
        let committed = self.commit("STREAMING UPDATE", adds, append.txns, info).await;
        if committed.is_err() {
            // Where it is there all the same, a reader takes the rows from the file.
            files.iter().for_each(|file| recent.forget(&self.spec.path, file));
        }
        committed
    }

    /// Writes rows into new data files, which nobody sees before a commit adds them.
    pub(super) async fn write(&self, rows: &RecordBatch) -> Result<Vec<Written>> {
        let now_ms = self.lake.clock().now().div_euclid(1000);
        let store = self.log.object_store(None);
        let written = self.layout.write(store.as_ref(), rows, now_ms, true).await;
        written.map_err(|error| error.context(format!("table {}", self.spec.path)))
    }

    /// Records that the current definition applies from bronze seq `from` on, without touching rows. `closed` is, for
    /// gold, the end of the last window that has closed.
    ///
    /// Errors: [`Kind::Definition`] where the rows that are there do not fit the definition's columns.
    pub async fn adopt_definition(&mut self, from: i64, closed: Option<i64>) -> Result<u64> {
        let mut spec = self.spec.clone();
        spec.generation = self.stored.generation.clone().unwrap_or_default();
        spec.upstream = self.stored.upstream.clone().unwrap_or_default();
        self.require_compatible(&spec).await?;
        let what = || format!("the metadata of {}", spec.path);
        let mut metadata = self
            .keep_id(spec.metadata()?)
            .await?
            .add_config_key(ADOPTED_FROM.to_owned(), from.to_string())
            .or_fail(Kind::Bug, what)?;
        if let Some(closed) = closed {
            metadata = metadata
                .add_config_key(ADOPTED_CLOSED.to_owned(), closed.to_string())
                .or_fail(Kind::Bug, what)?;
        }
        let actions = vec![Action::Metadata(metadata)];
        let info = serde_json::json!({"adopted_from": from});
        self.commit("SET TBLPROPERTIES", actions, self.guard(), info).await
    }

    /// New columns may come, at null for the rows that are there; nothing else may change without rewriting rows.
    async fn require_compatible(&self, spec: &TableSpec) -> Result<()> {
        let what = || format!("the metadata of {}", self.spec.path);
        let delta = load(&self.log)
            .await?
            .ok_or_else(|| Error::new(Kind::Damaged, what()))?;
        let metadata = delta.snapshot().or_fail(Kind::Damaged, what)?.metadata().clone();
        let old = metadata.parse_schema().or_fail(Kind::Damaged, what)?;
        let new = spec.struct_type()?;
        let kept = old.fields().all(|field| {
            new.field(field.name())
                .is_some_and(|found| found.data_type() == field.data_type())
        });
        let null_where_new = new
            .fields()
            .all(|field| old.field(field.name()).is_some() || field.is_nullable());
        if kept && null_where_new && *metadata.partition_columns() == spec.partition_by {
            return Ok(());
        }
        Err(Error::new(
            Kind::Definition,
            format!(
                "the changed definition gives {} other columns, which its rows do not have",
                spec.path
            ),
        )
        .with_next("replay the layer: `medallion replay` rebuilds its rows"))
    }

    /// Our positions as they are: put into a commit that moves none, so that two writers still exclude each other.
    pub(super) fn guard(&self) -> Vec<(String, i64)> {
        self.txns
            .iter()
            .filter(|(app, _)| app.starts_with(&self.spec.app_prefix))
            .map(|(app, version)| (app.clone(), *version))
            .collect()
    }

    /// `metadata` with the table id that the table has.
    pub(super) async fn keep_id(&self, metadata: Metadata) -> Result<Metadata> {
        let what = || format!("the metadata of {}", self.spec.path);
        let delta = load(&self.log)
            .await?
            .ok_or_else(|| Error::new(Kind::Damaged, what()))?;
        let id = delta
            .snapshot()
            .or_fail(Kind::Damaged, what)?
            .metadata()
            .id()
            .to_owned();
        metadata.with_table_id(id).or_fail(Kind::Bug, what)
    }

    pub(super) async fn commit(
        &mut self,
        operation: &str,
        actions: Vec<Action>,
        txns: Vec<(String, i64)>,
        info: Value,
    ) -> Result<u64> {
        let rows = self.rows_after(&actions);
        self.commit_with(operation, actions, txns, info, rows, false).await
    }

    /// As [`Table::commit`], after which the table has `rows` rows; `gives_way`: given up where another commit is in its way.
    pub(super) async fn commit_with(
        &mut self,
        operation: &str,
        actions: Vec<Action>,
        mut txns: Vec<(String, i64)>,
        info: Value,
        rows: Option<i64>,
        gives_way: bool,
    ) -> Result<u64> {
        if let Some(rows) = rows {
            let app = format!("{}{ROWS}", self.spec.app_prefix);
            txns.retain(|(known, _)| *known != app);
            txns.push((app, rows));
        }
        let metadata = actions.iter().find_map(|action| match action {
            Action::Metadata(metadata) => Some(metadata.clone()),
            _ => None,
        });
        let mut request = self.request(operation, actions, txns.clone(), info.clone());
        request.gives_way = gives_way;
        let mut extent = self.extent;
        let added = bytes_added(&request.actions);
        let version = commit(&self.log, self.version, &request, &mut extent).await?;
        (self.version, self.extent) = (version, extent);
        self.written += added;
        self.txns.extend(txns);
        self.info = Some(info);
        self.rows = rows;
        if let Some(metadata) = metadata {
            self.stored = Stored::of(&metadata);
            self.metadata = metadata;
        }
        Ok(self.version)
    }

    fn request<'a>(
        &'a self,
        operation: &'a str,
        actions: Vec<Action>,
        txns: Vec<(String, i64)>,
        info: Value,
    ) -> Commit<'a> {
        Commit {
            table: &self.spec.path,
            operation,
            actions,
            txns,
            app_prefix: &self.spec.app_prefix,
            moves_rows_only: false,
            gives_way: false,
            metadata: Some(&self.metadata),
            info,
            writer: self.lake.writer(),
            timestamp_ms: self.lake.clock().now().div_euclid(1000),
        }
    }

    /// The table's rows once `actions` are committed: a commit of ours that removes files replaces all of them.
    fn rows_after(&self, actions: &[Action]) -> Option<i64> {
        let replaces = actions.iter().any(|action| matches!(action, Action::Remove(_)));
        let adds: Vec<&Add> = actions
            .iter()
            .filter_map(|action| match action {
                Action::Add(add) => Some(add),
                _ => None,
            })
            .collect();
        let added = count_rows(adds)?;
        Some(if replaces { added } else { self.rows? + added })
    }

    pub(super) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    pub(super) fn log(&self) -> &LogStoreRef {
        &self.log
    }

    pub(super) fn lake(&self) -> &Lake {
        &self.lake
    }
}

async fn create(lake: &Lake, spec: &TableSpec) -> Result<()> {
    let log = lake.log_store(&spec.path)?;
    let what = || format!("making table {}", spec.path);
    let store = log.object_store(None);
    if let Some(found) = store.list(None).next().await {
        let found = found.or_fail(Kind::Unavailable, what)?;
        let path = found.location.as_ref();
        if path.starts_with("_delta_log/") && path.ends_with(".json") {
            // The list that showed no log was not up to date: opening it right after tells.
            return Ok(());
        }
        return Err(Error::new(
            Kind::Damaged,
            format!(
                "{} holds {} and no Delta log: it is not a table of medallion",
                spec.path, found.location
            ),
        )
        .with_next("choose another --lake, or move those files away"));
    }
    let request = Commit {
        table: &spec.path,
        operation: "CREATE TABLE",
        actions: spec.create_actions()?,
        txns: Vec::new(),
        app_prefix: &spec.app_prefix,
        moves_rows_only: false,
        gives_way: false,
        metadata: None,
        info: Value::Null,
        writer: lake.writer(),
        timestamp_ms: lake.clock().now().div_euclid(1000),
    };
    let id = Uuid::new_v4();
    let bytes = request.bytes(id)?;
    match log.write_commit_entry(0, CommitOrBytes::LogBytes(bytes), id).await {
        Ok(()) | Err(deltalake::kernel::transaction::TransactionError::VersionAlreadyExists(_)) => Ok(()),
        // The outcome is unknown: opening it right after tells.
        Err(error) => match read_entry(&log, 0).await? {
            Some(_) => Ok(()),
            None => Err(Error::new(Kind::Unavailable, format!("{}: {error}", what()))),
        },
    }
}
