//! Following a table: the next layer's view of it, rows by seq.
//!
//! The reader walks the log entry by entry. Which files hold a seq is known from their statistics, and rows are
//! always taken by seq range, so compaction, vacuum and log cleanup under it change nothing. Where the log's next
//! entry is gone it starts over from a snapshot; both ways give the same rows in seq order.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, new_null_array};
use arrow::compute::{cast, concat_batches, filter_record_batch, sort_to_indices, take_record_batch};
use arrow::datatypes::{Int64Type, Schema, SchemaRef};
use deltalake::kernel::{Action, Add};
use deltalake::logstore::{LogStoreRef, commit_uri_from_version};
use futures::TryStreamExt;
use object_store::{Error as StoreError, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;
use serde_json::Value;

use super::commit::read_entry;
use super::failure::Reading;
use super::object::ObjectFile;
use super::opened::{active_files, load};
use super::{Lake, Stored, txns};
use crate::error::{Context, Error, Kind, Result};

const BATCH_ROWS: usize = 64 * 1024;

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
struct Span {
    low: i64,
    high: i64,
    /// Largest value of the time column, in microseconds; none where unknown.
    newest: Option<i64>,
    /// Rows, where the log says so.
    rows: Option<u64>,
    size: u64,
    partition_values: HashMap<String, Option<String>>,
}

impl Span {
    fn overlaps(&self, from: i64, to: i64, since: i64) -> bool {
        self.low < to && self.high >= from && self.newest.is_none_or(|newest| newest >= since)
    }
}

/// A table as the next layer reads it.
pub struct Reader {
    path: String,
    log: LogStoreRef,
    schema: SchemaRef,
    seq_column: String,
    time_column: Option<String>,
    version: u64,
    files: HashMap<String, Span>,
    txns: HashMap<String, i64>,
    stored: Stored,
}

impl Reader {
    /// Opens the table at `path` for reading rows by `seq_column`, or none where there is no table yet. `schema`
    /// is what rows are read as: columns that the table lacks are null, types are cast.
    pub async fn open(lake: &Lake, path: &str, schema: SchemaRef, seq_column: &str) -> Result<Option<Self>> {
        let mut reader = Self {
            path: path.to_owned(),
            log: lake.log_store(path)?,
            schema,
            seq_column: seq_column.to_owned(),
            time_column: None,
            version: 0,
            files: HashMap::new(),
            txns: HashMap::new(),
            stored: Stored::default(),
        };
        Ok(reader.reload().await?.then_some(reader))
    }

    /// The same reader, able to skip files by the statistics of this timestamp column.
    pub async fn by_time(mut self, column: &str) -> Result<Self> {
        self.time_column = Some(column.to_owned());
        self.reload().await?;
        Ok(self)
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
                            return Err(self.gone());
                        }
                        let same = generation == self.stored.generation;
                        Ok(if same { Followed::Grown } else { Followed::Rewritten })
                    }
                    Err(error) => Err(error).or_fail(Kind::Unavailable, || format!("reading the log of {}", self.path)),
                };
            };
            self.version += 1;
            let rewritten = self.apply(actions)?;
            if rewritten {
                followed = Followed::Rewritten;
            } else if followed == Followed::Same {
                followed = Followed::Grown;
            }
        }
    }

    fn gone(&self) -> Error {
        Error::new(Kind::Damaged, format!("table {} is gone", self.path)).with_next("restore it, or replay")
    }

    /// Applies one commit; true where it removed rows.
    fn apply(&mut self, actions: Vec<Action>) -> Result<bool> {
        let mut rewritten = false;
        for action in actions {
            match action {
                Action::Add(add) => self.insert(add)?,
                Action::Remove(remove) => {
                    rewritten |= remove.data_change;
                    self.files.remove(&remove.path);
                }
                Action::Txn(txn) => {
                    self.txns.insert(txn.app_id, txn.version);
                }
                Action::Metadata(metadata) => self.stored = Stored::of(&metadata),
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
        let metadata = Action::Metadata(snapshot.metadata().clone());
        self.files.clear();
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
        self.files.retain(|_, span| span.high >= seq);
    }

    /// The rows with `from <= seq < to`, in seq order, with the named columns (and always the seq column).
    pub async fn read(&self, from: i64, to: i64, columns: &[String]) -> Result<RecordBatch> {
        self.read_since(from, to, columns, i64::MIN).await
    }

    /// As [`Reader::read`], leaving out files that hold no row with the time column at or above `since`
    /// (microseconds); rows below `since` may still come.
    pub async fn read_since(&self, from: i64, to: i64, columns: &[String], since: i64) -> Result<RecordBatch> {
        let schema = self.projected(columns)?;
        let mut parts = Vec::new();
        let mut spans: Vec<_> = self
            .files
            .iter()
            .filter(|(_, span)| span.overlaps(from, to, since))
            .collect();
        spans.sort_by(|(a_path, a), (b_path, b)| (a.low, a_path).cmp(&(b.low, b_path)));
        for (path, span) in spans {
            self.read_file(path, span, from..to, &schema, &mut parts)
                .await
                .map_err(|error| error.context(format!("data file {path} of {}", self.path)))?;
        }
        let rows = concat_batches(&schema, &parts).or_fail(Kind::Bug, || "joining batches")?;
        in_seq_order(rows, &self.seq_column)
    }

    fn projected(&self, columns: &[String]) -> Result<SchemaRef> {
        let fields: Vec<_> = self
            .schema
            .fields()
            .iter()
            .filter(|field| *field.name() == self.seq_column || columns.contains(field.name()))
            .cloned()
            .collect();
        if let Some(missing) = columns.iter().find(|name| self.schema.index_of(name).is_err()) {
            return Err(Error::new(Kind::Bug, format!("{} has no column {missing}", self.path)));
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    async fn read_file(
        &self,
        path: &str,
        span: &Span,
        range: std::ops::Range<i64>,
        schema: &SchemaRef,
        parts: &mut Vec<RecordBatch>,
    ) -> Result<()> {
        let read = || "reading Parquet";
        let builder = ObjectFile::open(self.log.object_store(None), path, span.size).await?;
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let seq_index = builder
            .parquet_schema()
            .columns()
            .iter()
            .position(|column| column.name() == self.seq_column);
        let groups = builder.metadata().row_groups().iter().enumerate();
        let wanted: Vec<usize> = groups
            .filter(|(_, group)| overlaps(group, seq_index, &range))
            .map(|(index, _)| index)
            .collect();
        let present: Vec<usize> = builder
            .schema()
            .fields()
            .iter()
            .enumerate()
            .filter(|(_, field)| names.contains(&field.name().as_str()))
            .map(|(index, _)| index)
            .collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), present);
        let mut stream = builder
            .with_projection(mask)
            .with_row_groups(wanted)
            .with_batch_size(BATCH_ROWS)
            .build()
            .or_fail(Kind::Damaged, read)?;
        while let Some(batch) = stream.try_next().await.or_unreadable(read)? {
            let batch = in_range(batch, &self.seq_column, &range)?;
            if batch.num_rows() > 0 {
                parts.push(conform(&batch, schema, &span.partition_values)?);
            }
        }
        Ok(())
    }
}

/// Whether a row group may hold a seq of the range; without statistics it may.
fn overlaps(group: &RowGroupMetaData, seq_index: Option<usize>, range: &std::ops::Range<i64>) -> bool {
    let statistics = seq_index
        .and_then(|index| group.columns().get(index))
        .and_then(|column| column.statistics());
    match statistics {
        Some(Statistics::Int64(seq)) => match (seq.min_opt(), seq.max_opt()) {
            (Some(low), Some(high)) => *low < range.end && *high >= range.start,
            _ => true,
        },
        _ => true,
    }
}

fn in_range(batch: RecordBatch, seq_column: &str, range: &std::ops::Range<i64>) -> Result<RecordBatch> {
    let seqs = seqs(&batch, seq_column)?;
    let inside = |seq: &i64| range.contains(seq);
    if seqs.values().iter().all(inside) {
        return Ok(batch);
    }
    let keep: BooleanArray = seqs.values().iter().map(|seq| Some(inside(seq))).collect();
    filter_record_batch(&batch, &keep).or_fail(Kind::Bug, || "filtering by seq")
}

fn seqs<'a>(batch: &'a RecordBatch, column: &str) -> Result<&'a arrow::array::Int64Array> {
    batch
        .column_by_name(column)
        .and_then(|column| column.as_primitive_opt::<Int64Type>())
        .ok_or_else(|| Error::new(Kind::Damaged, format!("no long column {column}")))
}

/// The batch with exactly the columns of `schema`: partition values put back, absent columns null, types cast.
pub fn conform(
    batch: &RecordBatch,
    schema: &SchemaRef,
    partition_values: &HashMap<String, Option<String>>,
) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let columns = schema
        .fields()
        .iter()
        .map(|field| -> Result<ArrayRef> {
            let damaged = || format!("column {}", field.name());
            let column: ArrayRef = match (batch.column_by_name(field.name()), partition_values.get(field.name())) {
                (Some(column), _) => column.clone(),
                (None, Some(Some(value))) => Arc::new(StringArray::from(vec![value.as_str(); rows])),
                (None, _) => new_null_array(field.data_type(), rows),
            };
            if column.data_type() == field.data_type() {
                return Ok(column);
            }
            cast(&column, field.data_type()).or_fail(Kind::Damaged, damaged)
        })
        .collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(schema.clone(), columns).or_fail(Kind::Damaged, || "rows do not fit the table's columns")
}

fn in_seq_order(rows: RecordBatch, seq_column: &str) -> Result<RecordBatch> {
    let column = seqs(&rows, seq_column)?;
    if column.values().is_sorted() {
        return Ok(rows);
    }
    let order = sort_to_indices(column, None, None).or_fail(Kind::Bug, || "sorting by seq")?;
    take_record_batch(&rows, &order).or_fail(Kind::Bug, || "sorting by seq")
}
