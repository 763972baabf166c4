//! Accepting that records are lost: the operator's word, recorded in bronze as ticks before reading goes on.

use std::path::Path;

use serde_json::json;

use super::{Lock, bronze, names, open};
use crate::clock::rfc3339;
use crate::definition::Pipeline;
use crate::error::Result;
use crate::layer::bronze::{BronzeBuilder, Gap, Reason, Tick};
use crate::source::Loss;
use crate::table::{Append, Lake};

/// Looks for lost ranges and, where `record`, commits a gap tick for each together with the position after it.
/// Returns the ranges.
pub async fn accept(lake: &Lake, project: &Path, pipeline: &Pipeline, record: bool) -> Result<Vec<Loss>> {
    let name = &pipeline.name;
    let _lock = Lock::take(lake, name, "bronze")?;
    // A pipeline that has read nothing has lost nothing.
    let Some(mut table) = bronze::open_if_there(lake, name).await? else {
        return Ok(Vec::new());
    };
    let losses = open::losses(pipeline, project, &table)?;
    if losses.is_empty() || !record {
        return Ok(losses);
    }
    let now = lake.clock().now();
    let mut builder = BronzeBuilder::new(table.txn(&names::bronze_seq(name)).unwrap_or(0));
    let mut last = bronze::last_records(&table);
    let stamps = table.info().and_then(|info| info.get("stamps").cloned());
    let mut txns = Vec::new();
    for loss in &losses {
        let mut tick = Tick::new(Reason::Gap, rfc3339(now), &[], &[], 0);
        tick.gap = Some(Gap {
            partition: loss.partition.to_string(),
            from: loss.from,
            to: loss.to,
            why: Some(loss.reason.word().to_owned()),
        });
        builder.tick(&tick, now);
        txns.push((names::bronze_partition(name, &loss.partition), loss.to));
        last.remove(&loss.partition.to_string());
    }
    txns.push((names::bronze_seq(name), builder.next_seq()));
    let rows = builder.finish()?;
    table
        .append(Append {
            rows: rows.as_ref(),
            txns,
            info: json!({"position": builder.next_seq(), "gaps": losses.len(), "last": last, "stamps": stamps}),
        })
        .await?;
    Ok(losses)
}
