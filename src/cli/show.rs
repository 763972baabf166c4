//! What a command shows over HTTP while it runs.

use super::session::Session;
use crate::definition::Pipeline;
use crate::error::Result;
use crate::metrics::Exporter;
use crate::run::Components;
use crate::serve::{self, Subject};

/// Begins to measure where metrics are wanted: to be called before there is anything to measure.
pub(super) fn measure(session: &Session) -> Result<Option<Exporter>> {
    session.settings.metrics.map(|_| Exporter::install()).transpose()
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
