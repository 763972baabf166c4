//! Each layer as the driver turns it: open when needed, step, and count. Bronze's loop is in `bronze_loop`.

use std::time::Instant;

use serde::Serialize;

use super::Lock;
use super::account::{Account, Step};
use super::driver::{Components, Options};
use super::gold::GoldLayer;
use super::health::Trouble;
use super::keep::Looked;
use super::mirror::Mirror;
use super::silver::SilverLayer;
use super::tell;
use super::upstream::no_upstream;
use crate::definition::Pipeline;
use crate::error::Result;
use crate::layer::silver::Fates;
use crate::metrics;

/// What one turn of a layer came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Something was committed or taken in: turn again at once.
    Progress,
    /// Nothing to do until upstream moves.
    Waiting,
    /// The input has ended and everything is committed.
    Ended,
}

/// A layer that the driver can turn.
pub trait LayerLoop: Send {
    /// Pipeline and layer.
    fn name(&self) -> (&str, &'static str);
    /// One turn. `last` asks to commit what was taken in and begin nothing more.
    fn turn(&mut self, upstream_done: bool, last: bool) -> Result<Turn>;
    /// Drops what is open, so that the next turn starts from the tables.
    fn forget(&mut self);
    /// The last thing of a run that ended well: what the next start may use, and people may read.
    fn finish(&mut self);
    /// Why its turns come to nothing although they succeed, where that is so.
    fn trouble(&self) -> Option<Trouble> {
        None
    }
    /// What was done so far.
    fn tally(&self) -> Tally;
}

/// What a layer did in a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Tally {
    /// The layer.
    pub layer: &'static str,
    /// Rows read: records and ticks for bronze, bronze rows for silver, silver rows for gold.
    pub rows_in: u64,
    /// Rows committed: to bronze, to silver, to all gold tables.
    pub rows_out: u64,
    /// Where the layer stands: next seq.
    pub position: i64,
    /// What became of the records, for silver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fates: Option<Fates>,
    /// Late rows, for gold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late: Option<u64>,
}

/// Silver under the driver.
pub struct SilverLoop<'a> {
    components: &'a Components,
    pipeline: &'a Pipeline,
    looked: Looked,
    options: &'a Options,
    open: Option<SilverLayer>,
    lock: Option<Lock>,
    tally: Tally,
    mirror: Mirror<'a>,
    account: Account<'a>,
}

impl<'a> SilverLoop<'a> {
    /// Not yet opened.
    pub fn new(components: &'a Components, pipeline: &'a Pipeline, options: &'a Options) -> Self {
        Self {
            components,
            pipeline,
            options,
            open: None,
            lock: None,
            looked: Looked::default(),
            mirror: Mirror::new(components, &pipeline.name, "silver"),
            account: Account::new(components, &pipeline.name, "silver"),
            tally: Tally {
                layer: "silver",
                fates: Some(Fates::default()),
                ..Tally::default()
            },
        }
    }
}

impl LayerLoop for SilverLoop<'_> {
    fn name(&self) -> (&str, &'static str) {
        (&self.pipeline.name, "silver")
    }

    fn turn(&mut self, upstream_done: bool, last: bool) -> Result<Turn> {
        self.account.turn();
        let Components {
            lake,
            project,
            checkpoints,
            runtime,
            ..
        } = self.components;
        let name = &self.pipeline.name;
        if last {
            return Ok(Turn::Waiting);
        }
        if self.lock.is_none() {
            self.lock = Some(Lock::take(lake, name, "silver")?);
        }
        if self.open.is_none() {
            let adopt = self.options.adopt;
            self.open = runtime.block_on(SilverLayer::open(lake, project, checkpoints, self.pipeline, adopt))?;
            if let Some(layer) = &self.open {
                tell::silver(self.pipeline, layer);
                tell::opened(self.pipeline, layer.tables());
            }
        }
        let ends = upstream_done && self.options.once;
        let Some(layer) = &mut self.open else {
            return if ends {
                Err(no_upstream("silver", "bronze", name))
            } else {
                Ok(Turn::Waiting)
            };
        };
        if self.looked.due() {
            runtime.block_on(layer.let_go(lake, self.pipeline))?;
        }
        self.tally.position = layer.position();
        let (began, looked) = (Instant::now(), lake.clock().now());
        let Some(done) = runtime.block_on(layer.step(&self.pipeline.silver.commit))? else {
            metrics::caught_up(name, "silver", looked);
            return Ok(if ends { Turn::Ended } else { Turn::Waiting });
        };
        self.tally.rows_in += u64::try_from(done.rows).unwrap_or(0);
        self.tally.rows_out += done.fates.accepted;
        self.tally.position = done.position;
        if let Some(fates) = &mut self.tally.fates {
            fates.add(&done.fates);
        }
        let read = u64::try_from(done.rows).unwrap_or(0);
        let step = Step {
            rows: [read, done.fates.accepted],
            bytes: done.bytes,
            position: done.position,
            began,
            phases: done.phases,
        };
        self.account.note(&step, layer.tables());
        tell::silver(self.pipeline, layer);
        if done.at_head {
            metrics::caught_up(name, "silver", looked);
        }
        runtime.block_on(layer.save_state(false, lake.clock().now()));
        self.mirror.follow(|| layer.positions());
        Ok(Turn::Progress)
    }

    fn forget(&mut self) {
        self.open = None;
    }

    fn finish(&mut self) {
        if let Some(layer) = &mut self.open {
            let Components { lake, runtime, .. } = self.components;
            runtime.block_on(layer.save_state(true, lake.clock().now()));
            self.mirror.write(layer.positions());
        }
    }

    fn tally(&self) -> Tally {
        self.tally.clone()
    }
}

/// All gold tables of a pipeline under the driver.
pub struct GoldLoop<'a> {
    components: &'a Components,
    pipeline: &'a Pipeline,
    looked: Looked,
    options: &'a Options,
    open: Vec<GoldLayer>,
    lock: Option<Lock>,
    tally: Tally,
    mirror: Mirror<'a>,
    account: Account<'a>,
}

impl<'a> GoldLoop<'a> {
    /// Not yet opened.
    pub fn new(components: &'a Components, pipeline: &'a Pipeline, options: &'a Options) -> Self {
        Self {
            components,
            pipeline,
            options,
            open: Vec::new(),
            lock: None,
            looked: Looked::default(),
            mirror: Mirror::new(components, &pipeline.name, "gold"),
            account: Account::new(components, &pipeline.name, "gold"),
            tally: Tally {
                layer: "gold",
                late: Some(0),
                ..Tally::default()
            },
        }
    }

    /// Opens all tables, or none while silver is not there.
    fn open(&mut self) -> Result<()> {
        let Components { lake, runtime, .. } = self.components;
        let mut open = Vec::new();
        for definition in &self.pipeline.gold {
            match runtime.block_on(GoldLayer::open(lake, self.pipeline, definition, self.options.adopt))? {
                Some(layer) => open.push(layer),
                None => return Ok(()),
            }
        }
        self.open = open;
        tell::gold(self.pipeline, &self.open);
        tell::opened(self.pipeline, self.open.iter().flat_map(GoldLayer::tables));
        Ok(())
    }
}

impl LayerLoop for GoldLoop<'_> {
    fn name(&self) -> (&str, &'static str) {
        (&self.pipeline.name, "gold")
    }

    fn turn(&mut self, upstream_done: bool, last: bool) -> Result<Turn> {
        self.account.turn();
        let Components { lake, runtime, .. } = self.components;
        let name = &self.pipeline.name;
        if last {
            return Ok(Turn::Waiting);
        }
        if self.lock.is_none() {
            self.lock = Some(Lock::take(lake, name, "gold")?);
        }
        if self.open.is_empty() {
            self.open()?;
        }
        let ends = upstream_done && self.options.once;
        if self.open.is_empty() {
            return if ends {
                Err(no_upstream("gold", "silver", name))
            } else {
                Ok(Turn::Waiting)
            };
        }
        if self.looked.due() {
            for layer in &mut self.open {
                runtime.block_on(layer.let_go(self.pipeline))?;
            }
        }
        let looked = lake.clock().now();
        let (mut moved, mut at_head) = (false, true);
        for layer in &mut self.open {
            let began = Instant::now();
            if let Some(done) = runtime.block_on(layer.step(&self.pipeline.silver.commit))? {
                moved = true;
                at_head &= done.at_head;
                self.tally.rows_in += done.rows as u64;
                self.tally.rows_out += done.closed_rows as u64;
                self.tally.late = self.tally.late.map(|late| late + done.late as u64);
                let step = Step {
                    rows: [done.rows as u64, done.closed_rows as u64],
                    bytes: done.bytes,
                    position: done.position,
                    began,
                    phases: done.phases,
                };
                self.account.note(&step, layer.tables());
            }
        }
        if at_head {
            metrics::caught_up(name, "gold", looked);
        }
        self.tally.position = self.open.iter().map(GoldLayer::position).min().unwrap_or(0);
        if moved {
            tell::gold(self.pipeline, &self.open);
            self.mirror
                .follow(|| self.open.iter().flat_map(GoldLayer::positions).collect());
        }
        Ok(match (moved, ends) {
            (true, _) => Turn::Progress,
            (false, true) => Turn::Ended,
            (false, false) => Turn::Waiting,
        })
    }

    fn forget(&mut self) {
        self.open.clear();
    }

    fn finish(&mut self) {
        if !self.open.is_empty() {
            self.mirror
                .write(self.open.iter().flat_map(GoldLayer::positions).collect());
        }
    }

    fn tally(&self) -> Tally {
        self.tally.clone()
    }
}
