//! `medallion run`.

use serde_json::json;

use super::args::{LayerName, Run};
use super::session::Session;
use super::{output, signals};
use crate::error::Result;
use crate::metrics;
use crate::run::wake::Stop;
use crate::run::{self, Components, Layer, Options};

/// Runs the layers and prints the summary as the last line.
pub fn run(session: &Session, command: &Run) -> Result<()> {
    let pipelines = session.pipelines(command.pipeline.as_deref())?;
    let lake = session.lake()?;
    tracing::info!(lake = %lake.url(), durability = lake.durability(), "running");
    if let Some(address) = session.settings.metrics {
        let _guard = session.runtime.enter();
        metrics::serve(address)?;
    }
    let stop = Stop::default();
    signals::listen(&session.runtime, stop.clone())?;
    let components = Components {
        lake,
        project: session.project().clone(),
        runtime: session.runtime.clone(),
        stop,
        on_bronze: None,
    };
    let options = Options {
        layer: command.layer.map(layer),
        once: command.once,
        close_windows: command.close_windows,
        adopt: command.apply_from_here,
    };
    let summaries = run::run(&components, &pipelines, &options)?;
    output::json(&json!({ "pipelines": summaries }))
}

fn layer(name: LayerName) -> Layer {
    match name {
        LayerName::Bronze => Layer::Bronze,
        LayerName::Silver => Layer::Silver,
        LayerName::Gold => Layer::Gold,
    }
}
