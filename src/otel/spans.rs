//! The spans: one per committed step with one per phase in it, and one per turn that failed.

use std::time::{Duration, SystemTime};

use opentelemetry::trace::{Span, SpanBuilder, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, ContextGuard, KeyValue};
use opentelemetry_sdk::trace::SdkTracer;

use super::tracer;
use crate::clock::Micros;
use crate::error::Error;
use crate::metrics::StepDone;

/// Tells of a committed step. While the guard lives, log lines of this thread belong to its span.
///
/// `table` is the first that it wrote to, `position` the seq that it reached.
pub fn step(done: &StepDone<'_>, table: Option<&str>, position: i64) -> Option<ContextGuard> {
    let tracer = tracer()?;
    let end = time(done.now);
    let phases: f64 = done.phases.iter().map(|(_, seconds)| seconds).sum();
    // Bronze gathers rows over many turns, of which only the last is the step's own time.
    let begin = before(end, done.seconds.max(phases));
    let mut attributes = layer_of(done.pipeline, done.layer);
    attributes.extend([
        KeyValue::new("medallion.position", position),
        KeyValue::new("medallion.rows_in", signed(done.input)),
        KeyValue::new("medallion.rows_out", signed(done.output)),
        KeyValue::new("medallion.bytes_in", signed(done.bytes_in)),
        KeyValue::new("medallion.bytes_out", signed(done.bytes_out)),
        KeyValue::new("medallion.cpu_seconds", done.cpu_seconds),
    ]);
    attributes.extend(table.map(|table| KeyValue::new("medallion.table", table.to_owned())));
    let span = SpanBuilder::from_name(format!("{} step", done.layer))
        .with_start_time(begin)
        .with_attributes(attributes)
        .start_with_context(tracer, &Context::new());
    let context = Context::new().with_span(span);
    // The last phase is the commit, with which the step ends: the time that no phase has lies before the first.
    let mut from = before(end, phases);
    for (name, seconds) in done.phases {
        let to = before(from, -seconds);
        let phase = SpanBuilder::from_name(*name).with_start_time(from);
        phase.start_with_context(tracer, &context).end_with_timestamp(to);
        from = to;
    }
    context.span().end_with_timestamp(end);
    Some(context.attach())
}

/// Tells of a turn that failed after `seconds`. While the guard lives, log lines of this thread belong to its span.
pub fn failed(pipeline: &str, layer: &str, error: &Error, seconds: f64, now: Micros) -> Option<ContextGuard> {
    let tracer: &SdkTracer = tracer()?;
    let end = time(now);
    let kind = error.kind().name();
    let mut attributes = layer_of(pipeline, layer);
    attributes.push(KeyValue::new("error.type", kind.clone()));
    let mut span = tracer
        .span_builder(format!("{layer} step"))
        .with_start_time(before(end, seconds))
        .with_attributes(attributes)
        .start_with_context(tracer, &Context::new());
    let exception = vec![
        KeyValue::new("exception.type", kind),
        KeyValue::new("exception.message", error.to_string()),
    ];
    span.add_event_with_timestamp("exception", end, exception);
    span.set_status(Status::error(error.to_string()));
    span.end_with_timestamp(end);
    Some(Context::new().with_span(span).attach())
}

fn layer_of(pipeline: &str, layer: &str) -> Vec<KeyValue> {
    vec![
        KeyValue::new("medallion.pipeline", pipeline.to_owned()),
        KeyValue::new("medallion.layer", layer.to_owned()),
    ]
}

/// `seconds` before `time`, or after it where they are negative.
fn before(time: SystemTime, seconds: f64) -> SystemTime {
    let by = Duration::try_from_secs_f64(seconds.abs()).unwrap_or_default();
    let moved = if seconds < 0.0 {
        time.checked_add(by)
    } else {
        time.checked_sub(by)
    };
    moved.unwrap_or(time)
}

fn time(at: Micros) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(at.max(0).unsigned_abs())
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
