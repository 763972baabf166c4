//! Letting go of what is older than a layer's `keep`: each layer lets go of its own rows, as it alone commits to its tables,
//! and of none that a layer after it may still need.
//!
//! | rows of | stay while |
//! |---|---|
//! | bronze | taken in within `keep` of the newest row, or silver has not passed them; the row that silver stands on stays |
//! | silver | within `keep` of the watermark, or not before the last closed window of every gold table, or not folded |
//! | rejects | silver's rows at or above the same seq stay |
//! | gold, late | within `keep` of the last closed window |

use std::time::{Duration, Instant};

use super::bronze::BronzeLayer;
use super::gold::GoldLayer;
use super::lineage::Witness;
use super::names;
use super::silver::SilverLayer;
use super::tables::SEQ;
use crate::clock::Micros;
use crate::definition::{Pipeline, gold_schema, silver_schema};
use crate::error::Result;
use crate::table::{Lake, Old, Reader, Table};

/// How often a layer looks for rows to let go.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// When bronze took a row in.
const INGESTED: &str = "ingested_at";

/// When a layer looked last; it looks at once when it begins, so that one-shot runs do too.
#[derive(Default)]
pub(super) struct Looked(Option<Instant>);

impl Looked {
    /// Whether to look now.
    pub(super) fn due(&mut self) -> bool {
        let due = self.0.is_none_or(|at| at.elapsed() >= LOOK_EVERY);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}

impl BronzeLayer {
    /// Lets go of what is older than `keep` and not needed by silver.
    ///
    /// # Errors
    /// Those of [`Table::let_go`]; the layer must then be opened anew.
    pub(super) async fn let_go(&mut self, lake: &Lake, pipeline: &Pipeline) -> Result<()> {
        let Some(keep) = pipeline.bronze.keep else {
            return Ok(());
        };
        let path = names::silver_path(&pipeline.name);
        let silver = Reader::open(lake, &path, silver_schema(&pipeline.silver)?, SEQ).await?;
        let position = silver.and_then(|silver| silver.txn(&names::silver_position(&pipeline.name)));
        // Its witness is the row before its position.
        let needed = position.map_or(0, |position| position - 1);
        let old = Old::Behind {
            top: None,
            keep,
            since: i64::MAX,
        };
        self.table.let_go(INGESTED, old, needed).await.map(drop)
    }
}

impl SilverLayer {
    /// Lets go of what is further behind the watermark than `keep` and not needed by gold, and of the rejects beside it.
    ///
    /// # Errors
    /// As [`BronzeLayer::let_go`].
    pub(super) async fn let_go(&mut self, lake: &Lake, pipeline: &Pipeline) -> Result<()> {
        let (Some(keep), Some(watermark)) = (pipeline.silver.keep, self.watermark()) else {
            return Ok(());
        };
        let Needed { from, since } = needed_by_gold(lake, pipeline).await?;
        let top = Some(watermark);
        let old = Old::Behind { top, keep, since };
        self.silver.let_go(&pipeline.silver.event_time, old, from).await?;
        let first = self.silver.first();
        // Rejects may be a step ahead of silver, never behind.
        self.rejects.let_go(INGESTED, Old::All, first).await.map(drop)
    }
}

impl GoldLayer {
    /// Lets go of windows, and late rows, further behind the last closed window than the table's `keep`.
    ///
    /// # Errors
    /// As [`BronzeLayer::let_go`].
    pub(super) async fn let_go(&mut self, pipeline: &Pipeline) -> Result<()> {
        let definition = pipeline.gold.iter().find(|gold| gold.name == self.table());
        let (Some(definition), Some(closed)) = (definition, self.windows().closed) else {
            return Ok(());
        };
        let Some(keep) = definition.keep else {
            return Ok(());
        };
        let old = Old::Behind {
            top: Some(closed),
            keep,
            since: closed,
        };
        self.gold.let_go(&definition.window.start, old, i64::MAX).await?;
        let position = self.position();
        self.late
            .let_go(&pipeline.silver.event_time, old, position)
            .await
            .map(drop)
    }
}

/// What the gold tables still need of silver: rows from this seq on, and rows since this instant.
struct Needed {
    from: i64,
    since: Micros,
}

async fn needed_by_gold(lake: &Lake, pipeline: &Pipeline) -> Result<Needed> {
    let mut needed = Needed {
        from: i64::MAX,
        since: i64::MAX,
    };
    for definition in &pipeline.gold {
        let path = names::gold_path(&pipeline.name, &definition.name);
        let schema = gold_schema(definition, &pipeline.silver)?;
        // A table that has not begun, or does not say what it stands on, may need everything.
        let (mut from, mut since) = (0, i64::MIN);
        if let Some(gold) = Reader::open(lake, &path, schema, SEQ).await? {
            let state = gold.state().await?;
            from = Witness::in_info(state.as_ref()).map_or(0, |witness| witness.seq);
            since = gold
                .txn(&names::gold_closed(&pipeline.name, &definition.name))
                .unwrap_or(i64::MIN);
        }
        needed.from = needed.from.min(from);
        needed.since = needed.since.min(since);
    }
    Ok(needed)
}

/// How many rows a table has had in all: those that are there and those that were let go.
pub(super) fn ever(table: &Table) -> Option<i64> {
    Some(table.rows()? + table.gone())
}
