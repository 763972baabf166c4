//! Health over HTTP: 200 or 503, and which layer, since when and why.
//!
//! `/healthz` is for who restarts a process: 503 only where a restart may help. `/readyz` is for who relies on its work:
//! 503 whenever a layer does none, whatever the reason.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Shown;
use crate::clock::rfc3339;
use crate::run::health::{Fare, State as LayerState, Trouble};

#[derive(Serialize)]
struct Report {
    status: &'static str,
    layers: Vec<Layer>,
}

#[derive(Serialize)]
struct Layer {
    pipeline: String,
    layer: &'static str,
    state: LayerState,
    since: String,
    #[serde(flatten)]
    trouble: Option<Trouble>,
}

/// Whether the process is of any use as it is.
pub(super) async fn alive(State(shown): State<Shown>) -> Response {
    report(&shown, |state| {
        !matches!(state, LayerState::Stalled | LayerState::Failed)
    })
}

/// Whether every layer does its work.
pub(super) async fn ready(State(shown): State<Shown>) -> Response {
    report(&shown, |state| matches!(state, LayerState::Working | LayerState::Ended))
}

fn report(shown: &Shown, is_good: impl Fn(LayerState) -> bool) -> Response {
    let all = shown.health.all();
    // Before the first layer began nothing works yet.
    let good = !all.is_empty() && all.iter().all(|(_, fare)| is_good(fare.state));
    let (code, status) = match good {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "trouble"),
    };
    let layers = all.into_iter().map(layer).collect();
    let body = serde_json::to_string(&Report { status, layers }).unwrap_or_default();
    (code, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn layer(((pipeline, layer), fare): ((String, &'static str), Fare)) -> Layer {
    Layer {
        pipeline,
        layer,
        state: fare.state,
        since: rfc3339(fare.since),
        trouble: fare.trouble,
    }
}
