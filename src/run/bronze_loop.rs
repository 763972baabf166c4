//! Bronze as the driver turns it: open when needed, step, count, and open anew where its source gives nothing.

use std::time::Instant;

use super::account::{Account, Step};
use super::bronze::{BronzeLayer, Done, Silence};
use super::driver::{Components, Options};
use super::health::Trouble;
use super::keep::Looked;
use super::lag::Teller;
use super::layers::{LayerLoop, Tally, Turn};
use super::mirror::Mirror;
use super::stall::{Anew, Rebuilds};
use super::{Lock, bronze, open, tell};
use crate::definition::{Pipeline, SourceKind};
use crate::error::{Error, Kind, Result};
use crate::metrics;
use crate::source::Positions;

/// Silence settings of a file source: files say nothing about time, so they are idle as soon as they are read.
const FILES_SILENCE: Silence = Silence {
    idle_after: std::time::Duration::ZERO,
    quiet_after: None,
};

/// How often a one-shot run opens a stalled source anew before it gives up; a live run never does.
const REBUILDS_ONCE: u32 = 3;

/// Bronze under the driver.
pub struct BronzeLoop<'a> {
    components: &'a Components,
    pipeline: &'a Pipeline,
    options: &'a Options,
    open: Option<BronzeLayer>,
    /// Where a one-shot run ends: the source's ends when it was opened first.
    target: Option<Positions>,
    rebuilds: Rebuilds,
    lock: Option<Lock>,
    tally: Tally,
    mirror: Mirror<'a>,
    account: Account<'a>,
    teller: Teller,
    looked: Looked,
}

impl<'a> BronzeLoop<'a> {
    /// Not yet opened.
    pub fn new(components: &'a Components, pipeline: &'a Pipeline, options: &'a Options) -> Self {
        Self {
            components,
            pipeline,
            options,
            open: None,
            target: None,
            rebuilds: Rebuilds::default(),
            lock: None,
            mirror: Mirror::new(components, &pipeline.name, "bronze"),
            account: Account::new(components, &pipeline.name, "bronze"),
            teller: Teller::default(),
            looked: Looked::default(),
            tally: Tally {
                layer: "bronze",
                ..Tally::default()
            },
        }
    }

    fn open(&mut self) -> Result<()> {
        let Components {
            lake, project, runtime, ..
        } = self.components;
        let name = &self.pipeline.name;
        if self.lock.is_none() {
            self.lock = Some(Lock::take(lake, name, "bronze")?);
        }
        // A source that is not there must leave no empty table behind, so it is looked at before the table is made.
        let table = runtime.block_on(bronze::open_if_there(lake, name))?;
        let (table, source) = match table {
            Some(table) => {
                let source = open::source(self.pipeline, project, &table)?;
                (table, source)
            }
            None => {
                let source = open::fresh_source(self.pipeline, project)?;
                (runtime.block_on(bronze::open_table(lake, name))?, source)
            }
        };
        let (silence, stalled_after) = match &self.pipeline.bronze.source {
            SourceKind::Kafka(kafka) => (
                Silence {
                    idle_after: kafka.idle_after,
                    quiet_after: kafka.quiet_after,
                },
                Some(kafka.stalled_after),
            ),
            SourceKind::Files(_) => (FILES_SILENCE, None),
        };
        let policy = self.pipeline.bronze.commit;
        let clock = lake.clock().clone();
        let mut layer = BronzeLayer::new(name, table, source, policy, silence, clock, runtime.clone());
        if let Some(stalled_after) = stalled_after {
            layer = layer.watching(stalled_after);
        }
        if let Some(on_bronze) = &self.components.on_bronze {
            on_bronze(layer.committed());
        }
        self.tally.position = layer.position();
        metrics::position(name, "bronze", layer.position(), None);
        tell::opened(self.pipeline, [layer.table()]);
        if self.options.once && self.target.is_none() {
            self.target = Some(layer.ends()?);
        }
        self.open = Some(layer);
        Ok(())
    }

    /// Counts a commit and tells of it.
    fn note(&mut self, done: Done, began: Instant) {
        let name = &self.pipeline.name;
        if let Some(layer) = &self.open {
            if let Some(on_bronze) = &self.components.on_bronze {
                on_bronze(layer.committed());
            }
            if self.rebuilds.over(layer.committed()) {
                metrics::source_stalled(name, false);
                tracing::info!(pipeline = name, "the source gives again what it has");
            }
        }
        let rows = done.rows as u64;
        self.tally.rows_in += rows;
        self.tally.rows_out += rows;
        self.tally.position = done.position;
        metrics::position(name, "bronze", done.position, None);
        let step = Step {
            rows: [rows, rows],
            bytes: done.bytes,
            position: done.position,
            began,
            phases: done.phases,
        };
        self.account.note(&step, self.open.as_ref().map(BronzeLayer::table));
    }

    /// Commits what came and drops the source, so that the next turn opens it anew at bronze's positions.
    ///
    /// # Errors
    /// Those of the commit; in a one-shot run also a source that stays stalled however often it is opened.
    fn reopen(&mut self, why: Anew) -> Result<Turn> {
        let began = Instant::now();
        let Some(layer) = &mut self.open else {
            return Ok(Turn::Waiting);
        };
        let done = layer.commit()?;
        if let Some(done) = done {
            self.note(done, began);
        }
        let name = &self.pipeline.name;
        match why {
            Anew::Doubt(why) => {
                tracing::info!(
                    pipeline = name,
                    "{why}; the source is opened anew and its positions proven"
                );
            }
            Anew::Stalled(stalls) => {
                let what = stalls.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                let committed = self.open.as_ref().map(BronzeLayer::committed);
                let times = committed.map_or(0, |committed| self.rebuilds.again(committed));
                metrics::source_rebuilt(name);
                metrics::source_stalled(name, true);
                tracing::warn!(
                    pipeline = name,
                    times,
                    "the source is stalled: {what}; its client is made anew"
                );
                if self.options.once && times > REBUILDS_ONCE {
                    return Err(Error::new(
                        Kind::Unavailable,
                        format!("the source stays stalled after {REBUILDS_ONCE} new clients: {what}"),
                    )
                    .with_next("see to the brokers that lead these partitions and run again; nothing is lost"));
                }
            }
        }
        self.open = None;
        Ok(Turn::Progress)
    }
}

impl LayerLoop for BronzeLoop<'_> {
    fn name(&self) -> (&str, &'static str) {
        (&self.pipeline.name, "bronze")
    }

    fn turn(&mut self, _upstream_done: bool, last: bool) -> Result<Turn> {
        self.account.turn();
        if self.open.is_none() {
            self.open()?;
        }
        let Some(layer) = &mut self.open else {
            return Ok(Turn::Waiting);
        };
        if self.looked.due() {
            let Components { lake, runtime, .. } = self.components;
            runtime.block_on(layer.let_go(lake, self.pipeline))?;
        }
        let began = Instant::now();
        let ended = self.target.as_ref().is_some_and(|ends| layer.reached(ends));
        let done = if ended {
            layer.end(self.options.close_windows)?
        } else if last {
            layer.commit()?
        } else if let Some(why) = layer.anew() {
            return self.reopen(why);
        } else {
            layer.step()?
        };
        self.teller.tell(&self.pipeline.name, layer);
        let moved = done.is_some();
        if let Some(done) = done {
            self.mirror.follow(|| layer.table_positions());
            self.note(done, began);
        }
        match (ended, moved) {
            (true, _) => Ok(Turn::Ended),
            (false, true) => Ok(Turn::Progress),
            (false, false) => Ok(Turn::Waiting),
        }
    }

    fn forget(&mut self) {
        self.open = None;
    }

    fn trouble(&self) -> Option<Trouble> {
        self.rebuilds.is_stalled().then(|| Trouble {
            why: "the source has more and gives none of it, also to a new client".to_owned(),
            next: "see to the brokers that lead the partitions named in the log; nothing is lost meanwhile".to_owned(),
        })
    }

    fn finish(&mut self) {
        if let Some(layer) = &self.open {
            self.mirror.write(layer.table_positions());
        }
    }

    fn tally(&self) -> Tally {
        self.tally.clone()
    }
}
