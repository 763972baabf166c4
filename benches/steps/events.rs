//! The input of the steps: events of the generator, as payloads, as bronze rows and as decoded columns.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::Schema;
use medallion::definition::{self, Pipeline, Silver};
use medallion::layer::bronze::BronzeBuilder;
use medallion::layer::silver::{Decoder, Plan, Reference, State, Step};
use medallion::source::generator::{Event, ExpectedFate, Flaw, Generator, GeneratorConfig};
use medallion::source::{Record, TimestampType};

/// Events of one measured round.
pub const EVENTS: u64 = 100_000;

/// The directory that the shipped pipelines are declared in.
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The shipped pipeline of views.
pub fn pipeline() -> Pipeline {
    definition::load_one(&project(), "view_log", &|_| None).unwrap()
}

/// The default mix of the generator: repetitions, late ones, flaws.
pub fn mixed() -> Vec<Event> {
    let generator = Generator::new(GeneratorConfig::default());
    (0..EVENTS).map(|index| generator.event(index)).collect()
}

/// Events without flaw and repetition.
pub fn clean() -> Vec<Event> {
    let generator = Generator::new(GeneratorConfig {
        duplicates: 0.0,
        invalid: 0.0,
        ..GeneratorConfig::default()
    });
    (0..EVENTS).map(|index| generator.event(index)).collect()
}

/// Payloads of which one in `every` is no event that a decoder could take.
pub fn payloads(every: Option<usize>) -> Vec<Option<Vec<u8>>> {
    let flawed = Generator::new(GeneratorConfig {
        invalid: 1.0,
        ..GeneratorConfig::default()
    });
    let mut bad = (0..)
        .map(|index| flawed.event(index))
        .filter(|event| !decodes(event.fate));
    let mut payloads: Vec<_> = clean().into_iter().map(|event| event.value).collect();
    for payload in payloads
        .iter_mut()
        .step_by(every.unwrap_or(usize::MAX))
        .skip(usize::from(every.is_none()))
    {
        *payload = bad.next().unwrap().value;
    }
    payloads
}

/// Whether an event of this fate passes the decoder: some flaws only rules can see.
fn decodes(fate: ExpectedFate) -> bool {
    matches!(
        fate,
        ExpectedFate::Accepted(_)
            | ExpectedFate::Duplicate { .. }
            | ExpectedFate::Rejected(
                Flaw::UnknownCampaign | Flaw::EndBeforeStart | Flaw::LongerThanADay | Flaw::FarAhead
            )
    )
}

/// Adds `events` to `builder` as the records of one partition.
pub fn record(builder: &mut BronzeBuilder, events: &[Event]) {
    for (offset, event) in (0..).zip(events) {
        let record = Record {
            topic: "view_log",
            partition: 0,
            offset,
            timestamp: Some(event.timestamp_ms * 1000),
            timestamp_type: TimestampType::Create,
            key: event.key.as_deref(),
            value: event.value.as_deref(),
            headers: &[],
        };
        builder.record(&record, event.timestamp_ms * 1000 + 50_000);
    }
}

/// `events` as bronze has them.
pub fn bronze(events: &[Event]) -> RecordBatch {
    let mut builder = BronzeBuilder::new(0);
    record(&mut builder, events);
    builder.finish().unwrap().unwrap()
}

/// The reference data of `silver`'s lookups.
pub fn references(silver: &Silver) -> Vec<Reference> {
    let read = |lookup: &definition::Lookup| {
        let bytes = std::fs::read(project().join(&lookup.file)).unwrap();
        Reference::parse(lookup, &silver.contract, &bytes).unwrap()
    };
    silver.lookups.iter().map(read).collect()
}

/// What silver makes of the generator's mix.
pub fn step() -> Step {
    let silver = pipeline().silver;
    let mut plan = Plan::compile(&silver).unwrap();
    let bronze = bronze(&mixed());
    plan.process(&bronze, &references(&silver), &mut State::default())
        .unwrap()
}

/// The decoded columns of all [`clean`] events, with the looked-up ones behind them: what rules see.
pub fn rows(silver: &Silver) -> RecordBatch {
    let mut decoder = Decoder::new(&silver.contract);
    for event in clean() {
        decoder.decode(event.value.as_deref()).unwrap();
    }
    let mut columns: Vec<ArrayRef> = decoder.finish().unwrap();
    for (lookup, reference) in silver.lookups.iter().zip(references(silver)) {
        let on = picked(silver, &columns, &lookup.on);
        columns.extend(
            reference
                .columns(&reference.find(&on, EVENTS as usize).unwrap())
                .unwrap(),
        );
    }
    RecordBatch::try_new(Arc::new(row_schema(silver)), columns).unwrap()
}

/// The columns that rules see.
pub fn row_schema(silver: &Silver) -> Schema {
    definition::row_schema(silver).unwrap()
}

/// The columns of the contract with these names.
pub fn picked(silver: &Silver, columns: &[ArrayRef], names: &[String]) -> Vec<ArrayRef> {
    let place = |name: &String| silver.contract.fields.iter().position(|field| field.name == *name);
    names.iter().map(|name| columns[place(name).unwrap()].clone()).collect()
}
