//! The committer: one put-if-absent per commit, and an exact answer to who won.
//!
//! It lists and replays nothing: it knows the version it stands on, puts the next, and when that exists it reads
//! the winners one by one and judges each. So a commit costs the files it adds, at version 10 and at 1,000,000.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use deltalake::kernel::transaction::TransactionError;
use deltalake::kernel::{Action, CommitInfo, Metadata, Transaction};
use deltalake::logstore::{CommitOrBytes, LogStoreRef, commit_uri_from_version, get_actions};
use object_store::{Error as StoreError, ObjectStoreExt};
use serde_json::Value;
use uuid::Uuid;

use super::durable::SyncFailed;
use super::extent::Extent;
use super::foreign::{self, Harm};
use crate::error::{Context, Error, Kind, Result};
use crate::metrics;

/// Puts with an unknown outcome that left no entry are tried this often before the next start decides.
const PUT_ATTEMPTS_MAX: u32 = 5;
/// The key of our own state in a commit's `commitInfo`.
pub(super) const INFO: &str = "medallion";
const COMMIT_ID: &str = "txnId";
/// The key of who committed.
pub(super) const WRITER: &str = "medallionWriter";

/// One commit to be made.
pub(super) struct Commit<'a> {
    /// The table, for messages: `view_log/bronze`.
    pub(super) table: &'a str,
    /// Delta's word for what is done: `STREAMING UPDATE`, `OPTIMIZE`, ...
    pub(super) operation: &'a str,
    /// Adds, removes, metadata; positions come separately.
    pub(super) actions: Vec<Action>,
    /// Application transactions: app id and version.
    pub(super) txns: Vec<(String, i64)>,
    /// A winner with an app id of this prefix is another writer in our role.
    pub(super) app_prefix: &'a str,
    /// Whether it moves rows between files only: rows that someone else appends then leave it valid.
    pub(super) moves_rows_only: bool,
    /// Whether it is given up where it cannot be, because nothing depends on it.
    pub(super) gives_way: bool,
    /// The metadata that the table had when this was begun; none where there was no table.
    pub(super) metadata: Option<&'a Metadata>,
    /// Small state that rides in the commit.
    pub(super) info: Value,
    /// Who commits, shown to whoever loses.
    pub(super) writer: &'a str,
    /// Wall clock of the commit in milliseconds.
    pub(super) timestamp_ms: i64,
}

/// What a commit that won the version means for ours.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It is our own: a put that was retried below us had landed.
    Ours,
    /// Nothing in it concerns us: take the next version with the same bytes.
    Rebase,
    /// Another writer in our role: stop.
    Fenced,
    /// It changed what we rely on, so: stop.
    Stop(String),
}

impl Commit<'_> {
    /// The entry's text: commitInfo first, then positions, then the rest, a JSON object a line.
    pub(super) fn bytes(&self, id: Uuid) -> Result<Bytes> {
        let bug = || format!("serialising a commit of {}", self.table);
        let blind = !self.actions.iter().any(|action| matches!(action, Action::Remove(_)));
        let info = CommitInfo {
            timestamp: Some(self.timestamp_ms),
            operation: Some(self.operation.to_owned()),
            operation_parameters: Some(std::collections::HashMap::new()),
            is_blind_append: Some(blind),
            engine_info: Some(concat!("medallion/", env!("CARGO_PKG_VERSION")).to_owned()),
            info: [
                (COMMIT_ID.to_owned(), Value::from(id.to_string())),
                (WRITER.to_owned(), Value::from(self.writer)),
                (INFO.to_owned(), self.info.clone()),
            ]
            .into(),
            ..Default::default()
        };
        let mut text = serde_json::to_string(&Action::CommitInfo(info)).or_fail(Kind::Bug, bug)?;
        for (app, version) in &self.txns {
            let txn = Action::Txn(Transaction::new(app, *version));
            text.push('\n');
            text.push_str(&serde_json::to_string(&txn).or_fail(Kind::Bug, bug)?);
        }
        for action in &self.actions {
            text.push('\n');
            text.push_str(&serde_json::to_string(action).or_fail(Kind::Bug, bug)?);
        }
        Ok(Bytes::from(text))
    }

    /// What the winner of version `target` leaves us: the version where it is our own commit, none where the next is
    /// to be tried.
    fn outcome(&self, winner: &[Action], id: Uuid, target: u64) -> Result<Option<u64>> {
        match self.judge(winner, id) {
            Verdict::Ours => Ok(Some(target)),
            Verdict::Rebase => Ok(None),
            Verdict::Fenced => {
                let who = foreign::author(winner);
                Err(Error::new(
                    Kind::Fenced,
                    format!("another writer holds {}: {who} committed version {target}", self.table),
                )
                .with_next("let one of the two go on; every table has one writer"))
            }
            Verdict::Stop(what) if self.gives_way => Err(Error::new(
                Kind::Unavailable,
                format!(
                    "{} of {} gave way: at version {target} {} {what}",
                    self.operation,
                    self.table,
                    foreign::author(winner)
                ),
            )
            .with_next("nothing was changed; it is done next time, or with `medallion maintain`")),
            Verdict::Stop(what) => Err(Harm::at(target, winner, &what).error(self.table)),
        }
    }

    /// Judges a commit that took the version we wanted. The order of the rules is the design's section 5.
    fn judge(&self, winner: &[Action], id: Uuid) -> Verdict {
        let info = winner.iter().find_map(|action| match action {
            Action::CommitInfo(info) => info.info.get(COMMIT_ID).and_then(Value::as_str),
            _ => None,
        });
        if info == Some(id.to_string().as_str()) {
            return Verdict::Ours;
        }
        let fenced = |action: &Action| matches!(action, Action::Txn(txn) if txn.app_id.starts_with(self.app_prefix));
        if winner.iter().any(fenced) {
            return Verdict::Fenced;
        }
        let appends_only = |action: &Action| !matches!(action, Action::Remove(_));
        let harmless_append =
            self.moves_rows_only && winner.iter().all(appends_only) && !winner.iter().any(is_metadata);
        if !harmless_append {
            let harm = match self.metadata {
                Some(metadata) => foreign::harm(winner, metadata),
                None => winner.iter().any(is_metadata).then(|| "made it".to_owned()),
            };
            if let Some(what) = harm {
                return Verdict::Stop(what);
            }
        }
        let removes: HashSet<&str> = removed(&self.actions).collect();
        match removed(winner).find(|path| removes.contains(path)) {
            Some(path) => Verdict::Stop(format!("rewrote the same file {path}")),
            None => Verdict::Rebase,
        }
    }
}

fn is_metadata(action: &Action) -> bool {
    matches!(
        action,
        Action::Metadata(_) | Action::Protocol(_) | Action::DomainMetadata(_)
    )
}

fn removed(actions: &[Action]) -> impl Iterator<Item = &str> {
    actions.iter().filter_map(|action| match action {
        Action::Remove(remove) => Some(remove.path.as_str()),
        _ => None,
    })
}

/// Takes in what others committed after `version`, judged as if they had won against `commit`, and what that makes of
/// the table's `extent`. Returns the newest version.
///
/// Errors: those of [`commit()`], nothing being committed.
pub(super) async fn follow(
    log: &LogStoreRef,
    mut version: u64,
    commit: &Commit<'_>,
    extent: &mut Extent,
) -> Result<u64> {
    while let Some((entry, bytes)) = read_sized(log, version + 1).await? {
        commit.outcome(&entry, Uuid::nil(), version + 1)?;
        extent.take(&entry, bytes);
        version += 1;
    }
    Ok(version)
}

/// Makes `commit` the next version after `version`, and its `extent` what it then is. Returns the version it got.
///
/// Errors: [`Kind::Fenced`] when another writer in our role won, [`Kind::Damaged`] when a winner changed what we
/// rely on or the log moved away under us, [`Kind::Unavailable`] when the outcome is unknown: reopen and look.
pub(super) async fn commit(
    log: &LogStoreRef,
    mut version: u64,
    commit: &Commit<'_>,
    extent: &mut Extent,
) -> Result<u64> {
    let id = Uuid::new_v4();
    let bytes = commit.bytes(id)?;
    let checkpoint = require_stand(log, version, commit.table).await?;
    let mut attempts = 0;
    loop {
        let target = version + 1;
        if target <= checkpoint {
            // Up to a log checkpoint every version was taken: where its entry is gone, putting would fill a hole far
            // below the head.
            let (winner, size) = read_sized(log, target)
                .await?
                .ok_or_else(|| moved(commit.table, version))?;
            extent.take(&winner, size);
            match commit.outcome(&winner, id, target)? {
                Some(ours) => return Ok(ours),
                None => version = target,
            }
            continue;
        }
        let put = log
            .write_commit_entry(target, CommitOrBytes::LogBytes(bytes.clone()), id)
            .await;
        let error = match put {
            Ok(()) => {
                extent.take(&commit.actions, bytes.len());
                return Ok(target);
            }
            Err(TransactionError::VersionAlreadyExists(_)) => None,
            Err(error) if SyncFailed::caused(&error) => return Err(unsynced(commit.table, target, &error)),
            Err(error) => Some(error),
        };
        // Whatever the store said, the entry itself decides: ours, someone else's, or not there.
        match read_sized(log, target).await {
            Ok(Some((winner, size))) => {
                extent.take(&winner, size);
                match commit.outcome(&winner, id, target)? {
                    Some(ours) => return Ok(ours),
                    None => version = target,
                }
                metrics::commit_retried(commit.table);
            }
            Ok(None) => {
                attempts += 1;
                metrics::commit_retried(commit.table);
                if attempts == PUT_ATTEMPTS_MAX {
                    let why = error.map_or_else(|| "the entry came and went".to_owned(), |error| error.to_string());
                    return Err(Error::new(
                        Kind::Unavailable,
                        format!("committing version {target} of {}: {why}", commit.table),
                    ));
                }
                tokio::time::sleep(Duration::from_millis(20 << attempts)).await;
            }
            Err(read_error) => return Err(read_error.context(format!("after an unclear commit of {}", commit.table))),
        }
    }
}

/// A disk that failed to sync may still answer that all is there, so nobody looks and nothing is tried again: the
/// rows come once more in new files.
fn unsynced(table: &str, target: u64, error: &TransactionError) -> Error {
    Error::new(
        Kind::Unavailable,
        format!("committing version {target} of {table}, which may be there or not: {error}"),
    )
    .with_next(SyncFailed::NEXT)
}

fn moved(table: &str, version: u64) -> Error {
    Error::new(
        Kind::Unavailable,
        format!("the log of {table} moved on past version {version} while this writer slept"),
    )
    .with_next("the table is reopened and the step done again; a one-shot run is to be started again")
}

/// The version we stand on must still exist: else the log was cleaned under a paused writer and the next "free"
/// version number would be far below the head. Returns the version of the newest log checkpoint, 0 where none is.
async fn require_stand(log: &LogStoreRef, version: u64, table: &str) -> Result<u64> {
    let store = log.object_store(None);
    match store.head(&commit_uri_from_version(Some(version))).await {
        Ok(_) => {}
        Err(StoreError::NotFound { .. }) => return Err(moved(table, version)),
        Err(error) => return Err(error).or_fail(Kind::Unavailable, || format!("reading the log of {table}")),
    }
    Ok(last_checkpoint(log).await?.unwrap_or(0))
}

/// The version in `_last_checkpoint`, a hint: an unreadable one counts as none.
pub(super) async fn last_checkpoint(log: &LogStoreRef) -> Result<Option<u64>> {
    let path = log.log_path().clone().join("_last_checkpoint");
    let what = || format!("reading _last_checkpoint of {}", log.root_url());
    let bytes = match log.object_store(None).get(&path).await {
        Ok(found) => found.bytes().await.or_fail(Kind::Unavailable, what)?,
        Err(StoreError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error).or_fail(Kind::Unavailable, what),
    };
    let hint: Option<Value> = serde_json::from_slice(&bytes).ok();
    Ok(hint.and_then(|hint| hint.get("version")?.as_u64()))
}

/// The actions of one version, or none where the version is not there.
pub(super) async fn read_entry(log: &LogStoreRef, version: u64) -> Result<Option<Vec<Action>>> {
    Ok(read_sized(log, version).await?.map(|(actions, _)| actions))
}

/// The actions of one version and the bytes of its entry, or none where the version is not there.
pub(super) async fn read_sized(log: &LogStoreRef, version: u64) -> Result<Option<(Vec<Action>, usize)>> {
    let what = || format!("reading version {version} of {}", log.root_url());
    match log.read_commit_entry(version).await.or_fail(Kind::Unavailable, what)? {
        Some(bytes) => {
            let actions = get_actions(version, &bytes).or_fail(Kind::Damaged, what)?;
            Ok(Some((actions, bytes.len())))
        }
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deltalake::kernel::{Add, Remove};

    fn metadata() -> &'static Metadata {
        static METADATA: std::sync::LazyLock<Metadata> = std::sync::LazyLock::new(|| with_property("delta.x", "1"));
        &METADATA
    }

    fn with_property(key: &str, value: &str) -> Metadata {
        serde_json::from_value(serde_json::json!({
            "id": "a-table", "format": {"provider": "parquet", "options": {}}, "partitionColumns": [],
            "schemaString": r#"{"type":"struct","fields":[]}"#, "configuration": {"delta.x": "1", key: value},
        }))
        .unwrap()
    }

    fn ours<'a>(actions: Vec<Action>) -> Commit<'a> {
        Commit {
            table: "p/bronze",
            operation: "STREAMING UPDATE",
            actions,
            txns: vec![("medallion/p/bronze/seq".into(), 7)],
            app_prefix: "medallion/p/bronze/",
            moves_rows_only: false,
            gives_way: false,
            metadata: Some(metadata()),
            info: Value::Null,
            writer: "pid 1",
            timestamp_ms: 0,
        }
    }

    fn add(data_change: bool) -> Action {
        Action::Add(Add {
            path: "a".into(),
            data_change,
            ..Default::default()
        })
    }

    fn remove(path: &str, data_change: bool) -> Action {
        Action::Remove(Remove {
            path: path.into(),
            data_change,
            ..Default::default()
        })
    }

    #[test]
    fn a_retried_put_that_landed_is_recognised_before_it_can_fence_itself() {
        let commit = ours(vec![add(true)]);
        let id = Uuid::new_v4();
        let written = get_actions(1, &commit.bytes(id).unwrap()).unwrap();
        assert_eq!(commit.judge(&written, id), Verdict::Ours);
        assert!(matches!(commit.judge(&written, Uuid::new_v4()), Verdict::Fenced));
    }

    #[test]
    fn compaction_and_foreign_txns_without_data_are_stepped_over() {
        let commit = ours(vec![add(true)]);
        let winner = [
            add(false),
            remove("b", false),
            Action::Txn(Transaction::new("someone/else", 1)),
        ];
        assert_eq!(commit.judge(&winner, Uuid::new_v4()), Verdict::Rebase);
    }

    #[test]
    fn foreign_rows_and_metadata_stop_the_writer() {
        let commit = ours(vec![add(true)]);
        for winner in [add(true), remove("b", true)] {
            assert!(matches!(commit.judge(&[winner], Uuid::new_v4()), Verdict::Stop(_)));
        }
    }

    #[test]
    fn a_property_that_only_says_how_the_table_is_kept_is_stepped_over() {
        let commit = ours(vec![add(true)]);
        let judge = |key, value| commit.judge(&[Action::Metadata(with_property(key, value))], Uuid::new_v4());
        assert_eq!(judge("delta.logRetentionDuration", "interval 3 days"), Verdict::Rebase);
        assert_eq!(judge("delta.x", "1"), Verdict::Rebase, "nothing changed");
        for key in ["delta.x", "delta.appendOnly", "medallion.generation"] {
            assert!(matches!(judge(key, "other"), Verdict::Stop(_)), "{key}");
        }
    }

    #[test]
    fn compaction_goes_on_beside_appends_but_not_beside_a_swap() {
        let mut commit = ours(vec![remove("x", false), add(false)]);
        commit.gives_way = true;
        commit.app_prefix = "medallion/p/maintain/bronze";
        commit.moves_rows_only = true;
        assert_eq!(commit.judge(&[add(true)], Uuid::new_v4()), Verdict::Rebase);
        assert!(matches!(
            commit.judge(&[remove("y", true), add(true)], Uuid::new_v4()),
            Verdict::Stop(_)
        ));
    }

    #[test]
    fn two_rewrites_of_one_file_never_both_commit() {
        let commit = ours(vec![remove("x", false), add(false)]);
        assert!(matches!(
            commit.judge(&[remove("x", false)], Uuid::new_v4()),
            Verdict::Stop(_)
        ));
        assert_eq!(commit.judge(&[remove("y", false)], Uuid::new_v4()), Verdict::Rebase);
    }
}
