//! What others did to a table: which of their commits leave its rows as they were, and which do not.
//!
//! Moving rows between files, log checkpoints, vacuum and properties that only say how a table is kept are survived.
//! Whatever adds, removes or changes rows or columns is not: positions would promise what is no longer there. It is
//! looked for in every commit that is not ours, as it appears and again at each opening, until the table is put back.

use std::collections::HashMap;

use deltalake::DeltaTable;
use deltalake::kernel::{Action, Add, Metadata, Protocol, StructField};
use deltalake::logstore::LogStoreRef;
use serde_json::Value;

use super::commit::{INFO, WRITER, read_entry};
use super::keep::OPERATION as LET_GO;
use super::load::{active_files, load_at};
use crate::clock::rfc3339;
use crate::error::{Context, Error, Kind, Result};

/// What every position of a medallion is stored under.
const APPS: &str = "medallion/";
/// Compaction moves rows and no position, so it is judged like anybody's.
pub(super) const MAINTAIN: &str = "medallion/maintain/";
/// In the state of a compaction's commit: the state of our newest commit before it.
pub(super) const CARRIED: &str = "state";
/// After the prefix of a table's app ids: how many rows the table has. Unlike the log's entries it outlives every
/// cleanup, and unlike the rows it is not undone by a RESTORE.
pub(super) const ROWS: &str = "rows";
/// The highest protocol that medallion reads and writes.
pub(super) const READER_MAX: i32 = 1;
pub(super) const WRITER_MAX: i32 = 2;

/// How far back from the head our own state is looked for; beyond, it is recomputed from rows.
const INFO_LOOKBACK: u64 = 200;

/// Properties that say how a table is kept and not what is in it: anyone may change them.
const KEEPING: [&str; 8] = [
    "delta.checkpointInterval",
    "delta.dataSkippingNumIndexedCols",
    "delta.deletedFileRetentionDuration",
    "delta.enableExpiredLogCleanup",
    "delta.logRetentionDuration",
    "delta.sampleRetentionDuration",
    "delta.targetFileSize",
    "delta.tuneFileSizesForRewrites",
];

/// Whether a layer or a replay of medallion made the commit: it carries one of their positions.
pub(super) fn is_ours(entry: &[Action]) -> bool {
    entry.iter().any(|action| {
        matches!(action, Action::Txn(txn) if txn.app_id.starts_with(APPS) && !txn.app_id.starts_with(MAINTAIN))
    })
}

/// Whether the commit lets go of old rows, which nobody reads any more: what is read stands.
pub(super) fn lets_go(entry: &[Action]) -> bool {
    let named =
        |action: &Action| matches!(action, Action::CommitInfo(info) if info.operation.as_deref() == Some(LET_GO));
    is_ours(entry) && entry.iter().any(named)
}

/// The version of the newest commit that a restart can go on from, as far as the log still has it: ours, or a compaction
/// that carries our state on.
pub(super) async fn newest_stand(log: &LogStoreRef, head: u64) -> Result<Option<u64>> {
    for at in (0..=head).rev() {
        match read_entry(log, at).await? {
            Some(entry) if is_ours(&entry) || carried(&entry).is_some() => return Ok(Some(at)),
            Some(_) => {}
            None => return Ok(None),
        }
    }
    Ok(None)
}

/// Who made the commit and what it is called: `delta-rs:py-1.6.6 (DELETE at 2026-01-01T00:00:00.000000Z)`.
pub(super) fn author(entry: &[Action]) -> String {
    let info = entry.iter().find_map(|action| match action {
        Action::CommitInfo(info) => Some(info),
        _ => None,
    });
    let Some(info) = info else {
        return "an unknown writer".to_owned();
    };
    let writer = info.info.get(WRITER).and_then(Value::as_str);
    let who = writer.or(info.engine_info.as_deref()).unwrap_or("an unknown writer");
    let operation = info.operation.as_deref().unwrap_or("no operation named");
    match info.timestamp {
        Some(at) => format!("{who} ({operation} at {})", rfc3339(at.saturating_mul(1000))),
        None => format!("{who} ({operation})"),
    }
}

/// What the commit does that our rows do not survive, in words; none where it is harmless. `before` is the metadata it
/// found.
pub(super) fn harm(entry: &[Action], before: &Metadata) -> Option<String> {
    let added = entry
        .iter()
        .any(|action| matches!(action, Action::Add(add) if add.data_change));
    let removed = entry
        .iter()
        .any(|action| matches!(action, Action::Remove(remove) if remove.data_change));
    match (added, removed) {
        (true, true) => return Some("rewrote rows of it".to_owned()),
        (true, false) => return Some("added rows to it".to_owned()),
        (false, true) => return Some("removed rows from it".to_owned()),
        (false, false) => {}
    }
    entry.iter().find_map(|action| match action {
        Action::Metadata(after) => other_metadata(before, after),
        Action::Protocol(protocol) => other_protocol(protocol),
        Action::DomainMetadata(_) => Some("declared a table feature".to_owned()),
        Action::Cdc(_) => Some("wrote change data to it".to_owned()),
        _ => None,
    })
}

/// What makes the protocol one that medallion does not write.
pub(super) fn other_protocol(protocol: &Protocol) -> Option<String> {
    let (reader, writer) = (protocol.min_reader_version(), protocol.min_writer_version());
    (reader > READER_MAX || writer > WRITER_MAX)
        .then(|| format!("raised its protocol to reader {reader} and writer {writer}"))
}

fn other_metadata(before: &Metadata, after: &Metadata) -> Option<String> {
    if before.id() != after.id() {
        return Some("made it another table".to_owned());
    }
    if columns(before) != columns(after) || before.partition_columns() != after.partition_columns() {
        return Some("changed its columns".to_owned());
    }
    let (old, new) = (before.configuration(), after.configuration());
    let mut changed: Vec<&String> = old
        .keys()
        .chain(new.keys())
        .filter(|key| old.get(*key) != new.get(*key))
        .filter(|key| (key.starts_with("delta.") || key.starts_with("medallion.")) && !KEEPING.contains(&key.as_str()))
        .collect();
    changed.sort();
    let key = changed.first()?;
    Some(format!("changed its property {key}"))
}

/// Names, types and nullability; comments are anyone's to change.
fn columns(metadata: &Metadata) -> Option<Vec<String>> {
    let schema = metadata.parse_schema().ok()?;
    let column = |field: &StructField| format!("{} {} {}", field.name(), field.data_type(), field.is_nullable());
    Some(schema.fields().map(column).collect())
}

/// The table's newest commit of ours, and what others did after it.
pub(super) struct Since {
    /// The state in our newest commit that has some.
    pub(super) info: Option<Value>,
    /// What others did that our rows do not survive; none where there is nothing, or it was undone.
    pub(super) harm: Option<Harm>,
}

/// A commit of someone else that our rows did not survive.
#[derive(Debug, Clone)]
pub(super) struct Harm {
    what: String,
    /// The last version before it.
    before: Option<u64>,
}

impl Harm {
    /// The commit of `version` by someone else did `what`.
    pub(super) fn at(version: u64, entry: &[Action], what: &str) -> Self {
        Self {
            what: format!("at version {version} {} {what}", author(entry)),
            before: version.checked_sub(1),
        }
    }

    /// The table holds other than what our commits promise, and nothing in the log says why.
    pub(super) fn unexplained(what: String) -> Self {
        Self { what, before: None }
    }

    /// What happened.
    pub(super) fn what(&self) -> &str {
        &self.what
    }

    /// The error that stops whoever relies on the rows of `table`.
    pub(super) fn error(&self, table: &str) -> Error {
        let back = match self.before {
            Some(version) => format!(
                "restore {table} to version {version}, which it was before (RESTORE undoes a raised protocol only \
                 where it is allowed to downgrade)"
            ),
            None => format!("restore {table} from a copy"),
        };
        Error::new(Kind::Damaged, format!("table {table}: {}", self.what)).with_next(format!(
            "{back}; silver, rejects, gold and late can also be rebuilt with `medallion replay`"
        ))
    }
}

/// Walks from the head of `table` down to our newest commit.
///
/// Something harmful that was undone (a DELETE, then a RESTORE) is no harm: the table is compared with itself before.
pub(super) async fn since_ours(log: &LogStoreRef, table: &DeltaTable) -> Result<Since> {
    let head = table.version().unwrap_or_default();
    let mut since = Since { info: None, harm: None };
    let mut lowest: Option<u64> = None;
    let mut others = true;
    let mut carried_on = None;
    for at in (0..=head).rev() {
        if !others && head - at > INFO_LOOKBACK {
            break;
        }
        let Some(mut entry) = read_entry(log, at).await? else {
            break;
        };
        // The creation is no change of anything; whose table it is, its metadata says.
        others &= at > 0 && !is_ours(&entry);
        if others {
            if entry.iter().any(is_suspect) {
                lowest = Some(at);
            }
            carried_on = carried_on.or_else(|| carried(&entry).cloned());
        } else if let Some(info) = take_info(&mut entry) {
            since.info = Some(info);
            break;
        }
    }
    since.info = since.info.or(carried_on);
    if let Some(first) = lowest {
        since.harm = not_undone(log, table, first, head).await?;
    }
    Ok(since)
}

/// The state of our newest commit before it, where the commit is a compaction of ours that carries it on: the entries
/// below may be cleaned.
pub(super) fn carried(entry: &[Action]) -> Option<&Value> {
    let compacts = |action: &Action| matches!(action, Action::Txn(txn) if txn.app_id.starts_with(MAINTAIN));
    let info = entry.iter().find_map(|action| match action {
        Action::CommitInfo(info) => info.info.get(INFO)?.get(CARRIED),
        _ => None,
    })?;
    (entry.iter().any(compacts) && info.is_object()).then_some(info)
}

fn is_suspect(action: &Action) -> bool {
    match action {
        Action::Add(add) => add.data_change,
        Action::Remove(remove) => remove.data_change,
        Action::Metadata(_) | Action::Protocol(_) | Action::DomainMetadata(_) | Action::Cdc(_) => true,
        Action::Txn(_) | Action::CommitInfo(_) => false,
    }
}

fn take_info(entry: &mut [Action]) -> Option<Value> {
    let ours = is_ours(entry);
    let info = entry.iter_mut().find_map(|action| match action {
        Action::CommitInfo(info) => info.info.remove(INFO),
        _ => None,
    });
    info.filter(|info| ours && !info.is_null())
}

/// The first harm from version `first` on, unless the table is again what it was before that.
async fn not_undone(log: &LogStoreRef, table: &DeltaTable, first: u64, head: u64) -> Result<Option<Harm>> {
    let damaged = || format!("reading the log of {}", log.root_url());
    let before = load_at(log, first.saturating_sub(1)).await?;
    let now = table.snapshot().or_fail(Kind::Damaged, damaged)?;
    let then = match &before {
        Some(before) => before.snapshot().or_fail(Kind::Damaged, damaged)?,
        // Cleaned away: what the columns were is not known here, and whoever opens the table compares them.
        None => now,
    };
    let mut harm = None;
    for at in first..=head {
        let entry = read_entry(log, at).await?.unwrap_or_default();
        if let Some(what) = self::harm(&entry, then.metadata()) {
            harm = Some(Harm::at(at, &entry, &what));
            break;
        }
    }
    let same_columns = other_metadata(then.metadata(), now.metadata()).is_none();
    let same_protocol = other_protocol(now.protocol()).is_none();
    let Some(before) = before.filter(|_| harm.is_some() && same_columns && same_protocol) else {
        return Ok(harm);
    };
    let paths = |table: &DeltaTable| -> Result<Vec<String>> {
        let mut paths: Vec<String> = active_files(table)?.into_iter().map(|add| add.path).collect();
        paths.sort();
        Ok(paths)
    };
    Ok(if paths(&before)? == paths(table)? { None } else { harm })
}

/// The rows of these files by their statistics; none where one has none.
pub(super) fn count_rows<'a>(files: impl IntoIterator<Item = &'a Add>) -> Option<i64> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Counted {
        num_records: i64,
    }
    let rows = |add: &Add| Some(serde_json::from_str::<Counted>(add.stats.as_deref()?).ok()?.num_records);
    files.into_iter().map(rows).sum()
}

/// How many rows our newest commit left in the table; none where it was made by a medallion that did not say.
pub(super) fn promised_rows(txns: &HashMap<String, i64>) -> Option<i64> {
    own(txns, ROWS)
}

/// What our newest commits say of the table under `name`, which comes after the prefix of its app ids.
pub(super) fn own(txns: &HashMap<String, i64>, name: &str) -> Option<i64> {
    txns.iter()
        .find(|(app, _)| app.starts_with(APPS) && app.rsplit('/').next() == Some(name))
        .map(|(_, value)| *value)
}

/// What is wrong with a table of `rows` rows where there should be `promised`.
pub(super) fn miscounted(rows: Option<i64>, promised: Option<i64>) -> Option<Harm> {
    match (rows, promised) {
        (Some(rows), Some(promised)) if rows != promised => Some(Harm::unexplained(format!(
            "it has {rows} rows where medallion's commits left {promised}, and the log no longer says who changed that \
             (two compactions at once by other tools can double rows)"
        ))),
        _ => None,
    }
}
