//! A collector: takes what is sent to it over OTLP/HTTP and reads it by the field numbers of opentelemetry-proto, with
//! messages written down here, so that the exporter is not checked against itself.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use prost::Message;

use crate::support::project::block;

/// What has come so far.
#[derive(Debug, Default)]
pub struct Taken {
    /// Every span, with the attributes of the resource that sent it.
    pub spans: Vec<(Vec<KeyValue>, Span)>,
    /// Every log line.
    pub lines: Vec<LogRecord>,
}

/// A collector that listens until the tests end.
pub struct Collector {
    address: SocketAddr,
    taken: Arc<Mutex<Taken>>,
}

impl Collector {
    /// On a port of its own.
    pub fn start() -> Self {
        let taken = Arc::<Mutex<Taken>>::default();
        let router = Router::new()
            .route("/v1/traces", post(traces))
            .route("/v1/logs", post(logs))
            .with_state(taken.clone());
        let address = block(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(async move { axum::serve(listener, router).await });
            address
        });
        Self { address, taken }
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All that has come since the start.
    pub fn taken(&self) -> Taken {
        std::mem::take(&mut *self.taken.lock().unwrap())
    }
}

async fn traces(State(taken): State<Arc<Mutex<Taken>>>, headers: HeaderMap, body: Bytes) {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let request = TraceRequest::decode(body).unwrap();
    let mut taken = taken.lock().unwrap();
    for sent in request.resource_spans {
        let from = sent.resource.unwrap().attributes;
        let spans = sent.scope_spans.into_iter().flat_map(|scope| scope.spans);
        taken.spans.extend(spans.map(|span| (from.clone(), span)));
    }
}

async fn logs(State(taken): State<Arc<Mutex<Taken>>>, body: Bytes) {
    let request = LogsRequest::decode(body).unwrap();
    let scopes = request.resource_logs.into_iter().flat_map(|sent| sent.scope_logs);
    taken
        .lock()
        .unwrap()
        .lines
        .extend(scopes.flat_map(|scope| scope.log_records));
}

#[derive(Clone, PartialEq, Message)]
struct TraceRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

/// opentelemetry.proto.trace.v1.Span
#[derive(Clone, PartialEq, Message)]
pub struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub name: String,
    #[prost(fixed64, tag = "7")]
    pub start_nanos: u64,
    #[prost(fixed64, tag = "8")]
    pub end_nanos: u64,
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<KeyValue>,
    #[prost(message, repeated, tag = "11")]
    pub events: Vec<Event>,
    #[prost(message, optional, tag = "15")]
    pub status: Option<Status>,
}

impl Span {
    /// When it ended.
    pub fn ended(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.end_nanos)
    }
}

/// opentelemetry.proto.trace.v1.Span.Event
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(message, repeated, tag = "3")]
    pub attributes: Vec<KeyValue>,
}

/// opentelemetry.proto.trace.v1.Status; the code of an error is 2.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(int32, tag = "3")]
    pub code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct LogsRequest {
    #[prost(message, repeated, tag = "1")]
    resource_logs: Vec<ResourceLogs>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceLogs {
    #[prost(message, repeated, tag = "2")]
    scope_logs: Vec<ScopeLogs>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeLogs {
    #[prost(message, repeated, tag = "2")]
    log_records: Vec<LogRecord>,
}

/// opentelemetry.proto.logs.v1.LogRecord
#[derive(Clone, PartialEq, Message)]
pub struct LogRecord {
    #[prost(string, tag = "3")]
    pub severity: String,
    #[prost(message, optional, tag = "5")]
    pub body: Option<AnyValue>,
    #[prost(message, repeated, tag = "6")]
    pub attributes: Vec<KeyValue>,
    #[prost(bytes = "vec", tag = "9")]
    pub trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    pub span_id: Vec<u8>,
}

/// opentelemetry.proto.common.v1.KeyValue
#[derive(Clone, PartialEq, Message)]
pub struct KeyValue {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(message, optional, tag = "2")]
    pub value: Option<AnyValue>,
}

/// opentelemetry.proto.common.v1.AnyValue, of which one field is set.
#[derive(Clone, PartialEq, Message)]
pub struct AnyValue {
    #[prost(string, optional, tag = "1")]
    pub string: Option<String>,
    #[prost(int64, optional, tag = "3")]
    pub int: Option<i64>,
    #[prost(double, optional, tag = "4")]
    pub double: Option<f64>,
}

/// The attribute's value as text; empty where there is none.
pub fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    let Some(value) = found.and_then(|attribute| attribute.value.as_ref()) else {
        return String::new();
    };
    let int = value.int.map(|value| value.to_string());
    let double = value.double.map(|value| value.to_string());
    value.string.clone().or(int).or(double).unwrap_or_default()
}
