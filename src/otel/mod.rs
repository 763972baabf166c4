//! OpenTelemetry: a span for every committed step, and the log lines, sent to a collector as OTLP over HTTP.
//!
//! Only the standard variables say where to (`OTEL_EXPORTER_OTLP_ENDPOINT` and its like): without an endpoint nothing is
//! made and nothing is sent. Spans are not opened before a step but made after it, of what is known by then, so a turn
//! that finds nothing leaves none, and the layers know nothing of them.
//!
//! **Invariant: a collector that is slow or away slows no layer and stops none.** Spans and lines wait in bounded queues
//! for threads of the SDK's own, which drop what does not fit; at the end of the process they are waited for a bounded time.

mod client;
mod spans;

use std::sync::OnceLock;
use std::thread::Builder;
use std::time::{Duration, Instant};

use opentelemetry::trace::TracerProvider;
use opentelemetry::{Key, KeyValue, Value};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{ExporterBuildError, LogExporter, SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{SdkLogger, SdkLoggerProvider};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::error::{Error, Kind, Result};
use client::OnRuntime;

pub use spans::{failed, step};

/// How long the end of the process waits for what is not sent yet.
const FLUSH: Duration = Duration::from_secs(2);
/// How long a collector may take to answer, unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);
const SERVICE: &str = "medallion";

/// Where the process sends to; empty until [`start`] finds an endpoint.
static SENDING: OnceLock<Sending> = OnceLock::new();

struct Sending {
    spans: Option<(SdkTracerProvider, SdkTracer)>,
    logs: Option<SdkLoggerProvider>,
}

/// The environment, by name of a variable.
type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Starts to send where the environment names an endpoint; once per process. Requests go out on `runtime`.
///
/// Errors: [`Kind::Usage`] for an endpoint or a setting that cannot be understood. One that does not answer is no error.
pub fn start(runtime: &Handle, env: Env<'_>) -> Result<()> {
    let wrong = |error: ExporterBuildError| {
        Error::new(Kind::Usage, format!("OpenTelemetry: {error}")).with_next(
            "the OTEL_EXPORTER_OTLP_* variables must name a collector's HTTP endpoint, as http://localhost:4318",
        )
    };
    let spans = match wanted("TRACES", env) {
        false => None,
        true => {
            let builder = SpanExporter::builder().with_http();
            let builder = builder.with_http_client(OnRuntime::new(runtime, "spans", timeout("TRACES", env))?);
            let provider = SdkTracerProvider::builder()
                .with_batch_exporter(builder.build().map_err(wrong)?)
                .with_resource(resource())
                .build();
            let tracer = provider.tracer(SERVICE);
            Some((provider, tracer))
        }
    };
    let logs = match wanted("LOGS", env) {
        false => None,
        true => {
            let builder = LogExporter::builder().with_http();
            let builder = builder.with_http_client(OnRuntime::new(runtime, "log lines", timeout("LOGS", env))?);
            let provider = SdkLoggerProvider::builder()
                .with_batch_exporter(builder.build().map_err(wrong)?)
                .with_resource(resource())
                .build();
            Some(provider)
        }
    };
    if spans.is_some() || logs.is_some() {
        // A second start would have nobody to read what it set up.
        let _first = SENDING.set(Sending { spans, logs });
    }
    Ok(())
}

/// Log lines on their way to the collector; none where they are not wanted.
pub fn log_layer() -> Option<LogLayer> {
    let provider = SENDING.get()?.logs.as_ref()?;
    Some(LogLayer(OpenTelemetryTracingBridge::new(provider)))
}

/// Passes on medallion's own log lines. Those of the libraries stay here: sending a line would make new ones.
pub struct LogLayer(OpenTelemetryTracingBridge<SdkLoggerProvider, SdkLogger>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if event.metadata().target().starts_with(SERVICE) {
            self.0.on_event(event, context);
        }
    }
}

/// Sends what is not sent yet, and sends no more after it. Returns within about two seconds, whatever the collector does.
pub fn end() {
    let Some(sending) = SENDING.get() else {
        return;
    };
    let began = Instant::now();
    std::thread::scope(|scope| {
        let spans = || {
            sending
                .spans
                .as_ref()
                .map(|(provider, _)| provider.shutdown_with_timeout(FLUSH))
        };
        // Both at once; one after the other where there is no thread to be had. What is lost is told where it is sent.
        let beside = Builder::new().name("otel-end".to_owned()).spawn_scoped(scope, spans);
        let logs = sending.logs.as_ref();
        let _lost = logs.map(|provider| provider.shutdown_with_timeout(FLUSH));
        if beside.is_err() {
            let rest = FLUSH.saturating_sub(began.elapsed());
            let _lost = sending
                .spans
                .as_ref()
                .map(|(provider, _)| provider.shutdown_with_timeout(rest));
        }
    });
}

fn tracer() -> Option<&'static SdkTracer> {
    SENDING.get()?.spans.as_ref().map(|(_, tracer)| tracer)
}

/// Whether a signal (`TRACES`, `LOGS`) is to be sent: it has an endpoint, and nobody has switched it off.
fn wanted(signal: &str, env: Env<'_>) -> bool {
    let said = |name: &str| {
        env(name)
            .map(|value| value.trim().to_lowercase())
            .filter(|value| !value.is_empty())
    };
    let off = said("OTEL_SDK_DISABLED").as_deref() == Some("true")
        || said(&format!("OTEL_{signal}_EXPORTER")).as_deref() == Some("none");
    let endpoint =
        said("OTEL_EXPORTER_OTLP_ENDPOINT").or_else(|| said(&format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")));
    !off && endpoint.is_some()
}

/// How long one request may take, in the variables' milliseconds.
fn timeout(signal: &str, env: Env<'_>) -> Duration {
    let millis = |name: &str| env(name)?.trim().parse().ok().map(Duration::from_millis);
    millis(&format!("OTEL_EXPORTER_OTLP_{signal}_TIMEOUT"))
        .or_else(|| millis("OTEL_EXPORTER_OTLP_TIMEOUT"))
        .unwrap_or(TIMEOUT)
}

/// What sends: `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`, else medallion, and its version.
fn resource() -> Resource {
    let name = Key::new("service.name");
    let declared = Resource::builder().build().get(&name);
    // The SDK makes up a name where none is declared.
    let declared = declared.filter(|value| !value.as_str().starts_with("unknown_service"));
    let name = KeyValue::new(name, declared.unwrap_or_else(|| Value::from(SERVICE)));
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    Resource::builder().with_attributes([name, version]).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        }
    }

    fn check(variables: &[(&str, &str)], traces: bool, logs: bool) {
        let env = with(variables);
        assert_eq!(
            (wanted("TRACES", &env), wanted("LOGS", &env)),
            (traces, logs),
            "{variables:?}"
        );
    }

    #[test]
    fn nothing_is_sent_without_an_endpoint_or_where_it_is_switched_off() {
        const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");
        check(&[], false, false);
        check(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], false, false);
        check(&[ENDPOINT], true, true);
        check(
            &[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://localhost:4318/v1/traces")],
            true,
            false,
        );
        check(
            &[("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://localhost:4318/v1/logs")],
            false,
            true,
        );
        check(&[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")], false, false);
        check(&[ENDPOINT, ("OTEL_LOGS_EXPORTER", "none")], true, false);
        check(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")], false, true);
    }

    #[test]
    fn a_signals_own_timeout_comes_first() {
        let both = [
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "500"),
            ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "70"),
        ];
        let env = with(&both);
        assert_eq!(timeout("TRACES", &env), Duration::from_millis(500));
        assert_eq!(timeout("LOGS", &env), Duration::from_millis(70));
        assert_eq!(timeout("LOGS", &|_| None), TIMEOUT);
    }
}
