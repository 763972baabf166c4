//! A table as its log and its files say, read without any Delta library and without the program's own table code.
//!
//! Reading is checking: versions have no hole, a log checkpoint says what the entries before it say, every listed file
//! is there in the size that the log names, and no position goes back.

use std::collections::{BTreeMap, HashMap};
use std::sync::{LazyLock, Mutex};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

/// Files whose rows are kept: those that a scenario begins with, and some more.
const KNOWN_FILES_MAX: usize = 500;

/// A row: column to text, without the columns that are null.
pub type Row = BTreeMap<String, String>;

/// What a table holds at one version.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct State {
    /// Active files, path in the table to bytes.
    pub files: BTreeMap<String, i64>,
    /// App id to version.
    pub txns: BTreeMap<String, i64>,
}

/// A table at its newest version.
#[derive(Debug)]
pub struct Plain {
    /// The newest version.
    pub head: u64,
    /// What it holds.
    pub state: State,
    /// Who made each version that the log still has.
    pub writers: BTreeMap<u64, String>,
    /// The rows of all active files.
    pub rows: Vec<Row>,
}

type Checked<T> = Result<T, String>;
/// Path to content and rows.
type Known = HashMap<String, (Bytes, Vec<Row>)>;

impl Plain {
    /// The table at `table`; none where there is no log. Where `torn`, a log checkpoint may be torn if the entries
    /// before it are still there.
    ///
    /// Errors: what is not as it must be.
    pub async fn read(store: &dyn ObjectStore, table: &str, torn: bool) -> Checked<Option<Self>> {
        let objects = objects(store, table).await?;
        let log = |ending: &str| -> BTreeMap<u64, &str> {
            let names = objects.keys().filter_map(|path| {
                let number = path.strip_prefix("_delta_log/")?.strip_suffix(ending)?;
                Some((number.parse().ok()?, path.as_str()))
            });
            names.collect()
        };
        let (entries, checkpoints) = (log(".json"), log(".checkpoint.parquet"));
        let Some((head, _)) = entries.last_key_value() else {
            return match objects.keys().find(|path| path.starts_with("_delta_log/0")) {
                None => Ok(None),
                Some(path) => Err(format!("{table} has {path} and no entry")),
            };
        };
        let (first, head) = (entries.keys().next().copied().unwrap_or_default(), *head);
        if entries.len() as u64 != head - first + 1 {
            return Err(format!("the versions of {table} have holes: {:?}", entries.keys()));
        }
        let newest = checkpoints.keys().next_back().copied();
        if newest.map_or(first > 0, |newest| newest + 1 < first || newest > head) {
            return Err(format!(
                "{table} cannot be read: log checkpoint {newest:?}, entries {first} to {head}"
            ));
        }
        let mut state = State::default();
        if first > 0 {
            state = checkpointed(store, table, &checkpoints, newest).await?;
        }
        let mut writers = BTreeMap::new();
        for (version, path) in &entries {
            let text = bytes(store, table, path).await?;
            if first == 0 || newest.is_none_or(|newest| *version > newest) {
                state
                    .apply(&text)
                    .map_err(|why| format!("{table} version {version}: {why}"))?;
            }
            writers.insert(*version, writer(&text));
            if first == 0 && newest == Some(*version) && !torn {
                let told = checkpointed(store, table, &checkpoints, newest).await?;
                if told != state {
                    return Err(format!(
                        "log checkpoint {version} of {table} says {told:?}, its entries {state:?}"
                    ));
                }
            }
        }
        let mut rows = Vec::new();
        for (path, size) in &state.files {
            if objects.get(path) != Some(size) {
                return Err(format!(
                    "{table} lists {path} of {size} bytes; there: {:?}",
                    objects.get(path)
                ));
            }
            rows.extend(known_rows(path, bytes(store, table, path).await?)?);
        }
        Ok(Some(Self {
            head,
            state,
            writers,
            rows,
        }))
    }

    /// The position stored under `app`; 0 where there is none.
    pub fn position(&self, app: &str) -> i64 {
        self.state.txns.get(app).copied().unwrap_or(0)
    }
}

impl State {
    /// Takes in one entry.
    fn apply(&mut self, entry: &Bytes) -> Checked<()> {
        for action in lines(entry)? {
            if let Some(remove) = action.get("remove") {
                let path = decoded(&remove["path"]);
                if self.files.remove(&path).is_none() {
                    return Err(format!("it removes {path}, which is not in the table"));
                }
            }
        }
        for action in lines(entry)? {
            if let Some(add) = action.get("add") {
                let path = decoded(&add["path"]);
                if self
                    .files
                    .insert(path.clone(), add["size"].as_i64().unwrap_or(-1))
                    .is_some()
                {
                    return Err(format!("it adds {path} a second time"));
                }
            }
            if let Some(txn) = action.get("txn") {
                let app = txn["appId"].as_str().unwrap_or_default().to_owned();
                let version = txn["version"].as_i64().unwrap_or(-1);
                let old = self.txns.insert(app.clone(), version).unwrap_or(i64::MIN);
                // A replay with another definition may know less of time and have fewer rows; no position goes back.
                let may = ["/watermark", "/closed", "/rows"].iter().any(|end| app.ends_with(end));
                if version < old && !may {
                    return Err(format!("{app} goes back from {old} to {version}"));
                }
            }
        }
        Ok(())
    }
}

fn lines(entry: &Bytes) -> Checked<Vec<Value>> {
    let text = std::str::from_utf8(entry).map_err(|error| error.to_string())?;
    if text.trim().is_empty() {
        return Err("an empty entry".to_owned());
    }
    text.lines()
        .map(|line| serde_json::from_str(line).map_err(|error| format!("{error}: {line}")))
        .collect()
}

fn writer(entry: &Bytes) -> String {
    let info = lines(entry).unwrap_or_default().into_iter().find_map(|mut action| {
        let info = action.get_mut("commitInfo")?.take();
        Some(info["medallionWriter"].as_str().unwrap_or("another tool").to_owned())
    });
    info.unwrap_or_else(|| "nobody".to_owned())
}

/// The log writes paths percent-encoded; ours hold nothing to decode but the percent sign itself.
fn decoded(path: &Value) -> String {
    path.as_str().unwrap_or_default().replace("%25", "%")
}

/// Every object under the table, path in the table to bytes.
async fn objects(store: &dyn ObjectStore, table: &str) -> Checked<BTreeMap<String, i64>> {
    let root = Path::from(table);
    let listed: Vec<_> = store
        .list(Some(&root))
        .try_collect()
        .await
        .map_err(|error| error.to_string())?;
    let inside = |meta: &object_store::ObjectMeta| meta.location.as_ref().get(table.len() + 1..).map(str::to_owned);
    Ok(listed
        .iter()
        .filter_map(|meta| Some((inside(meta)?, i64::try_from(meta.size).unwrap())))
        .collect())
}

async fn bytes(store: &dyn ObjectStore, table: &str, path: &str) -> Checked<Bytes> {
    let place = Path::parse(format!("{table}/{path}")).map_err(|error| error.to_string())?;
    let told = |error: object_store::Error| format!("{place}: {error}");
    store.get(&place).await.map_err(told)?.bytes().await.map_err(told)
}

async fn checkpointed(
    store: &dyn ObjectStore,
    table: &str,
    checkpoints: &BTreeMap<u64, &str>,
    version: Option<u64>,
) -> Checked<State> {
    let path = version
        .and_then(|version| checkpoints.get(&version))
        .ok_or("no log checkpoint")?;
    let mut state = State::default();
    for batch in batches(path, bytes(store, table, path).await?)? {
        let mut take = |action: &str, name: &str, number: &str, into: fn(&mut State) -> &mut BTreeMap<String, i64>| {
            let Some(actions) = batch.column_by_name(action).and_then(|column| column.as_struct_opt()) else {
                return;
            };
            let column = |field: &str| actions.column_by_name(field).unwrap();
            let (names, numbers) = (
                column(name).as_string::<i32>(),
                column(number).as_primitive::<Int64Type>(),
            );
            for row in (0..actions.len()).filter(|row| actions.is_valid(*row) && names.is_valid(*row)) {
                into(&mut state).insert(names.value(row).replace("%25", "%"), numbers.value(row));
            }
        };
        take("add", "path", "size", |state| &mut state.files);
        take("txn", "appId", "version", |state| &mut state.txns);
    }
    Ok(state)
}

fn batches(path: &str, bytes: Bytes) -> Checked<Vec<RecordBatch>> {
    let told = |error: String| format!("{path} is no whole Parquet file: {error}");
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .and_then(|builder| builder.build())
        .map_err(|error| told(error.to_string()))?;
    reader
        .collect::<Result<_, _>>()
        .map_err(|error: arrow::error::ArrowError| told(error.to_string()))
}

/// The rows of a file, which are not decoded again for the many copies of a store that tests make.
fn known_rows(path: &str, bytes: Bytes) -> Checked<Vec<Row>> {
    static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
    if let Some((same, rows)) = KNOWN.lock().unwrap().get(path)
        && *same == bytes
    {
        return Ok(rows.clone());
    }
    let rows = file_rows(path, bytes.clone())?;
    let mut known = KNOWN.lock().unwrap();
    if known.len() < KNOWN_FILES_MAX {
        known.insert(path.to_owned(), (bytes, rows.clone()));
    }
    Ok(rows)
}

/// The rows of a file, with the partition values that its path names.
fn file_rows(path: &str, bytes: Bytes) -> Checked<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    let partition: Row = path
        .split('/')
        .filter_map(|part| part.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let options = FormatOptions::default();
    for batch in batches(path, bytes)? {
        let first = rows.len();
        rows.resize(first + batch.num_rows(), partition.clone());
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            let text = ArrayFormatter::try_new(column, &options).map_err(|error| error.to_string())?;
            for row in (0..column.len()).filter(|row| column.is_valid(*row)) {
                rows[first + row].insert(field.name().clone(), text.value(row).to_string());
            }
        }
    }
    Ok(rows)
}
