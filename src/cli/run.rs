//! `medallion run`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::args::{LayerName, Run};
use super::session::{Session, env};
use super::show::{leave, measure, show};
use super::{output, signals};
use crate::definition::load_one;
use crate::definition::memory::Share;
use crate::definition::{Secret, SourceKind};
use crate::error::Result;
use crate::run::wake::Stop;
use crate::run::{self, Components, Layer, Options};
use crate::serve::Textfile;
use crate::source::kafka::in_the_clear;

/// Runs the layers and prints the summary as the last line.
pub fn run(session: &Session, command: &Run) -> Result<()> {
    let mut pipelines = session.pipelines(command.pipeline.as_deref())?;
    let share = Share::of(session.settings.memory, pipelines.len());
    pipelines.iter_mut().for_each(|pipeline| share.fit(pipeline));
    let lake = session.lake()?.handing_on(share.handed_on() * pipelines.len());
    tracing::info!(lake = %lake.url(), durability = lake.durability(), "running");
    let exporter = measure(session)?;
    for pipeline in &pipelines {
        if let SourceKind::Kafka(kafka) = &pipeline.bronze.source {
            warn_in_the_clear(&kafka.brokers, &kafka.options);
        }
    }
    let stop = Stop::default();
    signals::listen(&session.runtime, stop.clone())?;
    let project = session.project().clone();
    let mut components = Components::new(lake, project.clone(), session.runtime.clone(), stop);
    components.checkpoints = session.checkpoints();
    components.reload = Some(Arc::new(move |name: &str| {
        let mut pipeline = load_one(&project, name, &env)?;
        share.fit(&mut pipeline);
        Ok(pipeline)
    }));
    let textfile = leave(session, exporter.as_ref())?;
    show(session, &components, &pipelines, exporter)?;
    let options = Options {
        layer: command.layer.map(layer),
        once: command.once,
        close_windows: command.close_windows,
        adopt: command.apply_from_here,
    };
    let summaries = run::run(&components, &pipelines, &options);
    textfile.into_iter().for_each(Textfile::end);
    output::json(&json!({ "pipelines": summaries? }))
}

/// Says once that records, and a password where there is one, travel unencrypted to another host.
pub(super) fn warn_in_the_clear(brokers: &str, options: &BTreeMap<String, Secret>) {
    if let Some(broker) = in_the_clear(brokers, options) {
        tracing::warn!(
            broker,
            "the connection to Kafka is not encrypted: set security.protocol to ssl or sasl_ssl"
        );
    }
}

fn layer(name: LayerName) -> Layer {
    match name {
        LayerName::Bronze => Layer::Bronze,
        LayerName::Silver => Layer::Silver,
        LayerName::Gold => Layer::Gold,
    }
}
