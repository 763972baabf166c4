//! `medallion run`.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use super::args::{LayerName, Run};
use super::output;
use super::session::{Session, env};
use super::show::{leave, measure, show};
use super::signals::{self, First};
use crate::definition::load_one;
use crate::definition::memory::Share;
use crate::definition::settings::Settings;
use crate::definition::{Secret, SourceKind};
use crate::error::{Error, Kind, Result};
use crate::run::wake::Stop;
use crate::run::{self, Components, Layer, Options};
use crate::serve::Textfile;
use crate::source::kafka::in_the_clear;

/// Runs the layers and prints the summary as the last line. The code is that of a signal where a one-shot run was ended by one
/// before the end of what was there, else that of success.
pub fn run(session: &Session, command: &Run) -> Result<ExitCode> {
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
    let signal = signals::listen(&session.runtime, stop.clone())?;
    let project = session.project().clone();
    let mut components = Components::new(lake, project.clone(), session.runtime.clone(), stop);
    components.checkpoints = session.checkpoints();
    components.maintenance = session.settings.maintain;
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
    let ended = run::run(&components, &pipelines, &options);
    textfile.into_iter().for_each(Textfile::end);
    if let Err(error) = &ended {
        linger(session, command, error, &signal);
    }
    let summaries = ended?;
    output::json(&json!({ "pipelines": summaries }))?;
    if summaries.iter().any(|summary| summary.complete == Some(false)) {
        tracing::error!("stopped before the end of what was there; nothing is lost: the next run goes on there");
        return Ok(ExitCode::from(signal.code()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Goes on serving for a while what the run has failed of, because a scrape or a look at the page seldom falls into its last
/// moment. Not where a restart may help, which is not to wait, and not where a person sees the error anyway.
fn linger(session: &Session, command: &Run, error: &Error, signal: &First) {
    let Settings { metrics, linger, .. } = session.settings;
    let seen = command.once || metrics.is_none() || std::io::stderr().is_terminal();
    if seen || linger.is_zero() || matches!(error.kind(), Kind::Unavailable | Kind::Bug) {
        return;
    }
    let seconds = linger.as_secs();
    tracing::info!(
        seconds,
        "metrics and status page are there a little longer, SIGTERM ends them"
    );
    signal.wait(linger);
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
