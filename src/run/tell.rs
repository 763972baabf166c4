//! What is told of silver and gold when they are opened and after each of their steps: where they are, what became of the
//! records, and what they keep in memory.

use super::account::sizes;
use super::gold::GoldLayer;
use super::silver::SilverLayer;
use crate::definition::Pipeline;
use crate::layer::silver::Reason;
use crate::metrics::{self, Quality};

/// Tells of silver as it is.
pub(super) fn silver(pipeline: &Pipeline, layer: &SilverLayer) {
    let name = &pipeline.name;
    metrics::position(name, "silver", layer.position(), Some(layer.head()));
    if let Some(watermark) = layer.watermark() {
        metrics::watermark(name, watermark);
    }
    let totals = layer.totals();
    let rejected = Reason::ALL.map(|reason| (reason.word(), totals.of(reason)));
    let failed: Vec<(&str, u64)> = pipeline
        .silver
        .expects
        .iter()
        .map(|rule| (rule.name.as_str(), totals.failed(&rule.name)))
        .collect();
    metrics::quality(&Quality {
        pipeline: name,
        records: totals.records(),
        rejected: &rejected,
        judged: totals.judged,
        failed: &failed,
        unaccounted: layer.unaccounted(),
    });
    let (keys, bytes) = layer.keys();
    metrics::dedupe(name, keys, bytes);
}

/// Tells of all gold tables as they are.
pub(super) fn gold(pipeline: &Pipeline, layers: &[GoldLayer]) {
    let name = &pipeline.name;
    let position = layers.iter().map(GoldLayer::position).min().unwrap_or(0);
    let head = layers.iter().map(GoldLayer::head).max();
    metrics::position(name, "gold", position, head);
    for layer in layers {
        let table = layer.table();
        metrics::windows(name, &format!("gold/{table}"), &layer.windows());
        if let Some(rows) = layer.late_rows() {
            metrics::late(name, &format!("late/{table}"), rows);
        }
    }
}

/// Tells how large a layer's tables are when it has opened them.
pub(super) fn opened<'a>(pipeline: &Pipeline, tables: impl IntoIterator<Item = &'a crate::table::Table>) {
    sizes(&pipeline.name, tables);
}
