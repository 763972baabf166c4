//! The table of events: what was done to a pipeline's tables, a row per commit, so that a run can be looked into after it
//! has ended, by SQL.
//!
//! **Invariant: it is a function of the logs of the tables it tells of.** Which version of each is told of next is a
//! position of this table, in the same commit as the rows. So whoever dies, and however many write it, no commit is told
//! of twice or left out; and nothing waits for it: it fails with a warning, and goes on where it was.

mod columns;
mod event;

use std::sync::Arc;
use std::thread::{Builder, Scope, ScopedJoinHandle};
use std::time::Duration;

use serde_json::json;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::account::sizes;
use super::driver::{Components, Layer};
use super::watch::RunEnd;
use super::{names, tables};
use crate::definition::Pipeline;
use crate::error::{Error, Kind, Result};
use crate::table::{Append, Entries, Entry, Lake, Table};
use event::Event;

pub(super) use columns::{DATE, schema};

/// How often the logs are read.
const EVERY: Duration = Duration::from_secs(30);
/// How long the end of a run waits for what is left to tell: less than the 10 s after which Docker kills.
const LAST_MAX: Duration = Duration::from_secs(5);
/// Commits of one table that are told of at once.
const MOST: usize = 1000;
/// How often another process may be first before the next time is waited for.
const ATTEMPTS: u32 = 5;

/// The thread that tells of what a run does to one pipeline.
pub(super) struct Events<'scope> {
    end: Arc<RunEnd>,
    thread: Option<ScopedJoinHandle<'scope, ()>>,
}

impl<'scope> Events<'scope> {
    /// Begins to tell of the tables of `layer`, or of all.
    pub(super) fn begin<'env>(
        scope: &'scope Scope<'scope, 'env>,
        components: &'env Components,
        pipeline: &'env Pipeline,
        layer: Option<Layer>,
    ) -> Self {
        let end = Arc::<RunEnd>::default();
        let until = end.clone();
        let work = move || tell(components, pipeline, layer, &until);
        let started = Builder::new().name("events".to_owned()).spawn_scoped(scope, work);
        let pipeline = &pipeline.name;
        let thread = started
            .inspect_err(|error| tracing::warn!(pipeline, %error, "events are not told: there is no thread for it"))
            .ok();
        Self { end, thread }
    }

    /// Tells of what is left, now that the layers have ended.
    pub(super) fn end(self) {
        self.end.tell();
        if self.thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the events' thread panicked; the next run tells of what is left, please report this");
        }
    }
}

fn tell(components: &Components, pipeline: &Pipeline, layer: Option<Layer>, end: &RunEnd) {
    let Components { lake, runtime, .. } = components;
    match Scribe::new(lake, pipeline, layer) {
        Ok(mut scribe) => {
            while !end.wait(EVERY) {
                scribe.round(runtime, Duration::MAX);
            }
            scribe.round(runtime, LAST_MAX);
        }
        Err(error) => tracing::warn!(pipeline = pipeline.name, %error, "events are not told"),
    }
}

/// Writes the table of events.
struct Scribe<'a> {
    lake: &'a Lake,
    pipeline: &'a str,
    sources: Vec<Source>,
    table: Option<Table>,
    /// Why it did not work the last time, which is told once; empty where it did.
    trouble: String,
}

impl<'a> Scribe<'a> {
    fn new(lake: &'a Lake, pipeline: &'a Pipeline, only: Option<Layer>) -> Result<Self> {
        let name = &pipeline.name;
        let mut paths = vec![
            (Layer::Bronze, names::bronze_path(name)),
            (Layer::Silver, names::silver_path(name)),
        ];
        let gold = pipeline.gold.iter().map(|gold| names::gold_path(name, &gold.name));
        paths.extend(gold.map(|path| (Layer::Gold, path)));
        paths.retain(|(layer, _)| only.is_none_or(|only| only == *layer));
        let sources = paths
            .into_iter()
            .map(|(layer, path)| Source::new(lake, name, layer, &path));
        Ok(Self {
            lake,
            pipeline: name,
            sources: sources.collect::<Result<_>>()?,
            table: None,
            trouble: String::new(),
        })
    }

    /// Tells of all that is new. What fails is tried again in the next round, also where it is given up after `limit`.
    fn round(&mut self, runtime: &Handle, limit: Duration) {
        for attempt in 1..=ATTEMPTS {
            let told = runtime.block_on(async { timeout(limit, self.transcribe()).await });
            let given_up = || Error::new(Kind::Unavailable, format!("not done after {} s", limit.as_secs()));
            let Err(error) = told.unwrap_or_else(|_| Err(given_up())) else {
                self.trouble.clear();
                return;
            };
            // Only the table itself knows what of it was committed.
            self.table = None;
            if error.kind() != Kind::Fenced || attempt == ATTEMPTS {
                self.failed(&error);
                return;
            }
        }
    }

    fn failed(&mut self, error: &Error) {
        let trouble = error.to_string();
        if trouble != self.trouble {
            tracing::warn!(
                pipeline = self.pipeline,
                error = trouble,
                "events are not told; they are kept in the logs and told later"
            );
            self.trouble = trouble;
        }
    }

    async fn transcribe(&mut self) -> Result<()> {
        let spec = || tables::events(self.pipeline);
        loop {
            if self.table.is_none() {
                self.table = Table::open(self.lake, spec()).await?;
            }
            if let Some(table) = &mut self.table {
                table.catch_up().await?;
            }
            let (events, txns, more) = gather(&mut self.sources, self.pipeline, self.table.as_ref()).await?;
            if events.is_empty() {
                return Ok(());
            }
            let Some(table) = &mut self.table else {
                // Another process may have made it just now and told of something already, so its positions are asked.
                self.table = Some(Table::open_or_create(self.lake, spec()).await?);
                continue;
            };
            let append = Append {
                rows: Some(&columns::batch(&events)?),
                txns,
                info: json!({"events": events.len()}),
            };
            table.append(append).await?;
            sizes(self.pipeline, [&*table]);
            if !more {
                return Ok(());
            }
        }
    }
}

/// The next events of all `sources`, where each is after them, and whether one has more.
async fn gather(
    sources: &mut [Source],
    pipeline: &str,
    table: Option<&Table>,
) -> Result<(Vec<Event>, Vec<(String, i64)>, bool)> {
    let (mut events, mut txns, mut more) = (Vec::new(), Vec::new(), false);
    for source in sources {
        let app = names::events_next(pipeline, &source.dataset);
        let next = table.and_then(|table| table.txn(&app)).unwrap_or(0);
        let entries = source.read(u64::try_from(next).unwrap_or(0)).await?;
        let Some(last) = entries.last() else { continue };
        txns.push((app, i64::try_from(last.version + 1).unwrap_or(i64::MAX)));
        more |= entries.len() >= MOST;
        let told = entries
            .into_iter()
            .map(|entry| Event::new(source.layer, &source.dataset, entry));
        events.extend(told);
    }
    Ok((events, txns, more))
}

/// A table whose commits are told of.
struct Source {
    layer: &'static str,
    dataset: String,
    path: String,
    entries: Entries,
    /// Whether its log was seen to reach the version that was told of last.
    proven: bool,
}

impl Source {
    fn new(lake: &Lake, pipeline: &str, layer: Layer, path: &str) -> Result<Self> {
        Ok(Self {
            layer: layer.name(),
            dataset: names::dataset(pipeline, path).to_owned(),
            path: path.to_owned(),
            entries: Entries::of(lake, path)?,
            proven: false,
        })
    }

    /// The entries from version `next` on, or from the oldest that the log still has.
    async fn read(&mut self, next: u64) -> Result<Vec<Entry>> {
        let mut entries = self.entries.read(next, MOST).await?;
        if entries.is_empty()
            && let Some(oldest) = self.entries.oldest_after_cleanup(next).await?
        {
            if oldest > next {
                tracing::warn!(
                    table = self.path,
                    "its log was cleaned up to version {oldest} before events told of version {next} and those after it"
                );
            }
            entries = self.entries.read(oldest, MOST).await?;
        }
        if entries.is_empty() && !self.proven && next > 0 && !self.entries.reaches(next - 1).await? {
            tracing::warn!(
                table = self.path,
                "events told of its versions below {next}, which it does not reach any more: it was set back or made \
                 anew, and events go on with version {next}"
            );
        }
        self.proven = true;
        Ok(entries)
    }
}
