//! What a command shows over HTTP while it runs, and leaves in a file when it ends.

use std::ffi::OsStr;
use std::path::Path;

use super::session::Session;
use crate::definition::Pipeline;
use crate::error::Result;
use crate::metrics::Exporter;
use crate::run::Components;
use crate::serve::{self, Subject, Textfile};

/// Begins to measure where metrics are wanted: to be called before there is anything to measure.
pub(super) fn measure(session: &Session) -> Result<Option<Exporter>> {
    let textfile = session.settings.metrics_file.as_deref().and_then(Path::file_stem);
    let wanted = session.settings.metrics.is_some() || textfile.is_some();
    let name = textfile.map(OsStr::to_string_lossy);
    wanted.then(|| Exporter::install(name.as_deref())).transpose()
}

/// Leaves what is measured in the file of the settings, which is relative to the project.
///
/// # Errors
/// Those of [`Textfile::start`].
pub(super) fn leave(session: &Session, exporter: Option<&Exporter>) -> Result<Option<Textfile>> {
    let (Some(path), Some(exporter)) = (&session.settings.metrics_file, exporter) else {
        return Ok(None);
    };
    Textfile::start(session.project().join(path), exporter.clone(), &session.runtime).map(Some)
}

/// Serves what is measured, and how the layers fare, on the address of the settings.
///
/// # Errors
/// Those of [`serve::start`].
pub(super) fn show(
    session: &Session,
    components: &Components,
    pipelines: &[Pipeline],
    exporter: Option<Exporter>,
) -> Result<()> {
    let (Some(address), Some(exporter)) = (session.settings.metrics, exporter) else {
        return Ok(());
    };
    if !address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "metrics and some of the records are served to everyone who reaches this address, without a password; \
             127.0.0.1 is this host only"
        );
    }
    let subject = Subject {
        lake: components.lake.clone(),
        pipelines: pipelines.to_vec(),
        health: components.health.clone(),
        history: components.history.clone(),
    };
    serve::start(address, exporter, subject, &session.runtime)
}
