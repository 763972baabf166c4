//! What a run shows over HTTP while it lasts: metrics to Prometheus, and its health to whoever watches over processes; and
//! what it leaves of its metrics in a file.
//!
//! Nothing can be changed from here, and nothing is shown that is not in the log or the tables.

mod health;
mod page;
mod textfile;

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::runtime::Handle;

use crate::error::{Context, Error, Kind, Result};
use crate::metrics::Exporter;
use crate::run::health::Health;

/// How often measured values are put into their buckets, read or not.
const TIDY_EVERY: Duration = Duration::from_secs(5);
/// What Prometheus calls its text format.
const METRICS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub use page::Subject;
pub use textfile::Textfile;

/// What is shown.
#[derive(Clone)]
struct Shown {
    exporter: Exporter,
    health: Health,
}

/// Serves on `address` from now on, on `runtime`.
///
/// # Errors
/// [`Kind::Unavailable`] where the address cannot be had.
pub fn start(address: SocketAddr, exporter: Exporter, subject: Subject, runtime: &Handle) -> Result<()> {
    let _guard = runtime.enter();
    let listen = || -> std::io::Result<tokio::net::TcpListener> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(listener)
    };
    let listener = listen()
        .or_fail(Kind::Unavailable, || format!("metrics on {address}"))
        .map_err(|error: Error| error.with_next("choose another port with --metrics, or --metrics off"))?;
    let shown = Shown {
        exporter: exporter.clone(),
        health: subject.health.clone(),
    };
    let router = router(shown).merge(page::router(subject));
    runtime.spawn(async move {
        loop {
            tokio::time::sleep(TIDY_EVERY).await;
            exporter.tidy();
        }
    });
    runtime.spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::warn!(%address, %error, "metrics are not served any more; the run goes on");
        }
    });
    Ok(())
}

fn router(shown: Shown) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .fallback(|| async {
            (
                StatusCode::NOT_FOUND,
                "there are /, /status.json, /metrics, /healthz and /readyz\n",
            )
        })
        .with_state(shown)
}

async fn metrics(State(shown): State<Shown>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, METRICS_TEXT)], shown.exporter.text())
}
