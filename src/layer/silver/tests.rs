//! What the model's pipeline does not have: halting rules, failing columns, damaged batches, no dedupe.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;

use super::*;
use crate::definition::{
    CommitPolicy, Contract, Dedupe as DedupeBy, Derive, Expect, Field, FieldKind, OnFail, Silver as Definition,
};
use crate::error::{Kind, Result};
use crate::layer::bronze::{self, BronzeBuilder, Tick};
use crate::source::{Record, TimestampType};

const NOW: i64 = 1_772_366_400_000_000;

fn definition() -> Definition {
    let field = |name: &str, kind| Field {
        name: name.to_owned(),
        kind,
        required: true,
        nullable: false,
        description: String::new(),
        checks: Vec::new(),
    };
    Definition {
        contract: Contract {
            description: String::new(),
            fields: vec![field("id", FieldKind::Int64), field("at", FieldKind::Timestamp)],
            closed: false,
        },
        event_time: "at".to_owned(),
        max_ahead: Some(Duration::from_secs(60)),
        derive: Vec::new(),
        lookups: Vec::new(),
        expects: Vec::new(),
        dedupe: Some(DedupeBy {
            key: vec!["id".to_owned()],
            within: None,
        }),
        partition_by: Vec::new(),
        fingerprint: String::new(),
        commit: CommitPolicy {
            max_rows: 10,
            max_bytes: 1000,
            max_delay: Duration::from_secs(1),
        },
        keep: None,
    }
}

fn expect(name: &str, sql: &str, on_fail: OnFail) -> Expect {
    Expect {
        name: name.to_owned(),
        sql: sql.to_owned(),
        on_fail,
    }
}

fn event(id: i64) -> Option<String> {
    Some(format!(r#"{{"id":{id},"at":"2026-03-01T12:00:00Z"}}"#))
}

fn bronze(values: &[Option<String>]) -> RecordBatch {
    let mut builder = BronzeBuilder::new(10);
    for (offset, value) in (100..).zip(values) {
        let record = Record {
            topic: "t",
            partition: 1,
            offset,
            timestamp: None,
            timestamp_type: TimestampType::None,
            key: None,
            value: value.as_ref().map(String::as_bytes),
            headers: &[],
        };
        builder.record(&record, NOW);
    }
    builder.finish().unwrap().unwrap()
}

fn run(definition: &Definition, values: &[Option<String>], state: &mut State) -> Result<Step> {
    Plan::compile(definition)?.process(&bronze(values), &[], state)
}

fn texts(batch: &RecordBatch, name: &str) -> Vec<String> {
    let column = batch.column_by_name(name).unwrap().as_string::<i32>();
    column.iter().map(|text| text.unwrap().to_owned()).collect()
}

#[test]
fn a_halting_rule_names_its_record_and_leaves_the_state_as_it_was() {
    let mut definition = definition();
    definition.expects = vec![
        expect("positive", "id > 0", OnFail::Reject),
        expect("small", "id < 100", OnFail::Halt),
    ];
    let mut state = State::default();
    let error = run(&definition, &[event(1), event(-1), event(100), event(101)], &mut state).unwrap_err();
    assert_eq!(error.kind(), Kind::Gate);
    let message = error.to_string();
    for word in [
        "t/1, offset 102, seq 12",
        "small: id < 100: not true (id = 100)",
        "next: ",
    ] {
        assert!(message.contains(word), "{message}");
    }
    assert!(state.dedupe.is_empty() && state.watermarks.partitions().is_empty());
    let step = run(&definition, &[event(1), event(-1)], &mut state).unwrap();
    assert_eq!((step.fates.accepted, step.fates.expectation), (1, 1));
}

#[test]
fn a_column_that_cannot_be_computed_rejects_its_row_alone() {
    let mut definition = definition();
    definition.derive = vec![
        Derive {
            name: "share".to_owned(),
            sql: "100 / id".to_owned(),
            description: String::new(),
        },
        Derive {
            name: "double".to_owned(),
            sql: "share * 2".to_owned(),
            description: String::new(),
        },
    ];
    let step = run(&definition, &[event(4), event(0), event(5)], &mut State::default()).unwrap();
    let doubles = step.silver.column_by_name("double").unwrap();
    assert_eq!(doubles.as_primitive::<Int64Type>().values().to_vec(), [50, 40]);
    assert_eq!(texts(&step.rejects, "reason"), ["expectation"]);
    let detail = &texts(&step.rejects, "detail")[0];
    assert!(
        detail.starts_with("share: 100 / id: ") && detail.contains("zero"),
        "{detail}"
    );
}

#[test]
fn the_strongest_action_wins_and_warnings_only_count() {
    let mut definition = definition();
    definition.expects = vec![
        expect("odd", "id % 2 = 1", OnFail::Warn),
        expect("below_ten", "id < 10", OnFail::Drop),
        expect("below_twenty", "id < 20", OnFail::Reject),
        expect("sound", "10 / (id - 3) > -100", OnFail::Warn),
    ];
    let values = [event(1), event(2), event(12), event(25), event(3)];
    let step = run(&definition, &values, &mut State::default()).unwrap();
    assert_eq!(
        texts(&step.rejects, "reason"),
        ["dropped", "expectation", "expectation"]
    );
    let rules = step.rejects.column_by_name("rules").unwrap().as_list::<i32>();
    let rules: Vec<Vec<String>> = rules
        .iter()
        .map(|rules| {
            rules
                .unwrap()
                .as_string::<i32>()
                .iter()
                .map(|rule| rule.unwrap().to_owned())
                .collect()
        })
        .collect();
    assert_eq!(
        rules,
        [vec!["below_ten"], vec!["below_ten", "below_twenty"], vec!["sound"]]
    );
    let counts: Vec<u64> = step.fates.failed_rules.iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [2, 2, 1, 1]);
}

#[test]
fn every_record_is_kept_without_dedupe_and_nothing_is_remembered() {
    let mut definition = definition();
    definition.dedupe = None;
    let mut state = State::default();
    let step = run(&definition, &[event(1), event(1)], &mut state).unwrap();
    assert_eq!(step.fates.accepted, 2);
    assert!(state.dedupe.is_empty());
    assert!(Plan::compile(&definition).unwrap().remember_columns().is_empty());
}

#[test]
fn a_duplicate_is_told_with_key_and_first_seq_but_without_its_payload() {
    let step = run(&definition(), &[event(7), None, event(7)], &mut State::default()).unwrap();
    assert_eq!(texts(&step.rejects, "reason"), ["malformed", "duplicate"]);
    assert_eq!(texts(&step.rejects, "detail")[1], "id = 7 was accepted with seq 10");
    let firsts = step
        .rejects
        .column_by_name("duplicate_of")
        .unwrap()
        .as_primitive::<Int64Type>();
    assert_eq!(firsts.iter().collect::<Vec<_>>(), [None, Some(10)]);
    assert_eq!(step.rejects.column_by_name("value").unwrap().null_count(), 2);
}

#[test]
fn an_event_too_far_ahead_leaves_no_trace() {
    let ahead = |second: i64| {
        Some(format!(
            r#"{{"id":1,"at":"2026-03-01T12:0{}:{:02}Z"}}"#,
            second / 60,
            second % 60
        ))
    };
    let mut state = State::default();
    let step = run(&definition(), &[ahead(61), ahead(60)], &mut state).unwrap();
    assert_eq!(
        (step.fates.event_time, step.fates.accepted, step.fates.duplicate),
        (1, 1, 0)
    );
    assert_eq!(state.watermarks.value(), Some(NOW + 60_000_000));
    assert_eq!(
        texts(&step.rejects, "detail"),
        ["at 2026-03-01T12:01:01.000000Z is more than 60s ahead of the record's time 2026-03-01T12:00:00.000000Z"]
    );
}

#[test]
fn a_batch_without_records_has_two_empty_tables() {
    let mut plan = Plan::compile(&definition()).unwrap();
    let empty = RecordBatch::new_empty(bronze::schema());
    let step = plan.process(&empty, &[], &mut State::default()).unwrap();
    assert_eq!((step.silver.num_rows(), step.rejects.num_rows()), (0, 0));
    assert_eq!(step.silver.schema(), plan.schema());
    assert_eq!(step.rejects.schema(), rejects_schema());
    let mut builder = BronzeBuilder::new(0);
    builder.tick(&Tick::new(bronze::Reason::End, String::new(), &[], &[], 0), NOW);
    let mut state = State::default();
    let step = plan
        .process(&builder.finish().unwrap().unwrap(), &[], &mut state)
        .unwrap();
    assert_eq!((step.fates.ticks, step.fates.records()), (1, 0));
    assert_eq!(state.watermarks.value(), Some(crate::clock::END_OF_TIME));
}

#[test]
fn what_bronze_did_not_write_is_refused() {
    let mut plan = Plan::compile(&definition()).unwrap();
    let good = bronze(&[event(1), event(2)]);
    let swap = |name: &str, column: ArrayRef| {
        let mut columns = good.columns().to_vec();
        columns[good.schema().index_of(name).unwrap()] = column;
        RecordBatch::try_new(good.schema(), columns).unwrap()
    };
    let mut refused = |batch: &RecordBatch| {
        let error = plan.process(batch, &[], &mut State::default()).unwrap_err();
        (error.kind(), error.to_string())
    };
    let kinds = |kind: &str| swap("kind", Arc::new(arrow::array::StringArray::from(vec!["record", kind])));
    assert_eq!(refused(&kinds("note")).0, Kind::Damaged);
    let (kind, message) = refused(&kinds("tick"));
    assert!(
        kind == Kind::Damaged && message.contains("the tick with seq 11"),
        "{message}"
    );
    assert_eq!(
        refused(&swap("offset", Arc::new(Int64Array::from(vec![Some(1), None])))).0,
        Kind::Damaged
    );
    assert_eq!(
        refused(&swap("seq", Arc::new(Int64Array::from(vec![10, 10])))).0,
        Kind::Bug
    );
    assert_eq!(refused(&good.project(&[0, 1]).unwrap()).0, Kind::Damaged);
}

#[test]
fn remembering_needs_its_columns() {
    let plan = Plan::compile(&definition()).unwrap();
    let silver = run(&definition(), &[event(1)], &mut State::default()).unwrap().silver;
    assert_eq!(plan.remember_columns(), ["id", "at", "_seq"]);
    let mut state = State::default();
    let error = plan
        .remember(&silver.project(&[0, 1]).unwrap(), &mut state)
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged);
    plan.remember(&silver, &mut state).unwrap();
    assert_eq!(state.dedupe.len(), 1);
}
