//! The status page: three files that need no build and nothing from elsewhere, and what they show as JSON.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use tokio::sync::Mutex;

use crate::clock::rfc3339;
use crate::definition::Pipeline;
use crate::error::{Context, Kind, Result};
use crate::run::health::Health;
use crate::run::history::History;
use crate::run::overview::{self, Overview};
use crate::table::Lake;

/// However many look, and however often, tables are read no more often than this.
const READ_EVERY: Duration = Duration::from_secs(2);
/// Records come from strangers: nothing in a page may load or run what is not from here.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the page is about.
pub struct Subject {
    /// Where the tables are.
    pub lake: Lake,
    /// The pipelines that run here.
    pub pipelines: Vec<Pipeline>,
    /// How their layers fare.
    pub health: Health,
    /// Where they were in the last hour.
    pub history: History,
}

/// The subject, and how it was when it was looked at last.
pub(super) struct Page {
    subject: Subject,
    last: Mutex<Option<(Instant, Arc<str>)>>,
}

#[derive(Serialize)]
struct Status<'a> {
    version: &'a str,
    lake: &'a str,
    now: String,
    pipelines: Vec<Overview>,
}

/// The routes of the page.
pub(super) fn router(subject: Subject) -> Router {
    let page = Arc::new(Page {
        subject,
        last: Mutex::default(),
    });
    let file = |kind: &'static str, text: &'static str| {
        get(move || async move {
            let headers = [
                (header::CONTENT_TYPE, kind),
                (header::CONTENT_SECURITY_POLICY, POLICY),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ];
            (headers, text)
        })
    };
    Router::new()
        .route("/", file("text/html; charset=utf-8", include_str!("page/index.html")))
        .route(
            "/page.css",
            file("text/css; charset=utf-8", include_str!("page/page.css")),
        )
        .route(
            "/page.js",
            file("text/javascript; charset=utf-8", include_str!("page/page.js")),
        )
        .route("/status.json", get(status))
        .with_state(page)
}

async fn status(State(page): State<Arc<Page>>) -> Response {
    match page.status().await {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text.to_string()).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

impl Page {
    async fn status(&self) -> Result<Arc<str>> {
        let mut last = self.last.lock().await;
        if let Some((read, text)) = last.as_ref()
            && read.elapsed() < READ_EVERY
        {
            return Ok(text.clone());
        }
        let Subject {
            lake,
            pipelines,
            health,
            history,
        } = &self.subject;
        let mut all = Vec::new();
        for pipeline in pipelines {
            // Where the tables cannot be read, how the layers fare is asked most.
            let overview = match overview::of(lake, pipeline).await {
                Ok(overview) => overview,
                Err(error) => Overview::unread(pipeline, &error),
            };
            all.push(overview.seen_from_within(lake, health, history));
        }
        let status = Status {
            version: env!("CARGO_PKG_VERSION"),
            lake: lake.url().as_str(),
            now: rfc3339(lake.clock().now()),
            pipelines: all,
        };
        let text: Arc<str> = serde_json::to_string(&status)
            .or_fail(Kind::Bug, || "writing the status")?
            .into();
        *last = Some((Instant::now(), text.clone()));
        Ok(text)
    }
}
