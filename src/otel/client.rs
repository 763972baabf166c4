//! How requests reach the collector: over the HTTP client and the runtime that are there anyway.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::runtime::Handle;

use crate::error::{Context, Kind, Result};

/// Sends on the I/O runtime, because the SDK's threads have none, and says once when the collector does not take what it
/// is sent and once when it does again.
#[derive(Debug)]
pub(super) struct OnRuntime {
    client: reqwest::Client,
    runtime: Handle,
    what: &'static str,
    away: AtomicBool,
}

impl OnRuntime {
    /// A client for `what`, which gives up a request after `timeout`.
    ///
    /// Errors: [`Kind::Unavailable`] where this machine has nothing to speak TLS with.
    pub(super) fn new(runtime: &Handle, what: &'static str, timeout: Duration) -> Result<Self> {
        let client = reqwest::Client::builder().timeout(timeout).build();
        Ok(Self {
            client: client.or_fail(Kind::Unavailable, || "the client of OpenTelemetry's collector")?,
            runtime: runtime.clone(),
            what,
            away: AtomicBool::new(false),
        })
    }

    fn tell(&self, failed: Option<String>) {
        let what = self.what;
        let away = failed.is_some();
        if self.away.swap(away, Ordering::Relaxed) == away {
            return;
        }
        match failed {
            Some(why) => tracing::warn!(
                what,
                why,
                "the collector does not take them; the run goes on without it"
            ),
            None => tracing::info!(what, "the collector takes them again"),
        }
    }
}

#[async_trait]
impl HttpClient for OnRuntime {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let answer = self
            .runtime
            .spawn(async move { client.send_bytes(request).await })
            .await?;
        self.tell(match &answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(answer.status().to_string()),
            Err(error) => Some(whole(error.as_ref())),
        });
        answer
    }
}

/// An error with what lies under it: the client's own words are only that a request failed.
fn whole(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut under = error.source();
    while let Some(error) = under {
        words = format!("{words}: {error}");
        under = error.source();
    }
    words
}
