//! What holds on every broker: each test is given a maker of beds with so many partitions.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use medallion::error::Kind;
use medallion::run::Layer;
use medallion::source::generator::{ExpectedFate, Flaw, Generator};
use medallion::source::produce::Outgoing;

use super::bed::{Bed, Sender, lively, plain, send};
use super::views::{ONCE, ONCE_AND_CLOSE, Views};

pub type Make<'a> = &'a dyn Fn(i32) -> Box<dyn Bed + Sync>;

const MINUTE: i64 = 60_000_000;
const NOON: i64 = 1_704_110_400_000_000;

/// The reason under which a flawed event is to be found in rejects.
fn reason(flaw: Flaw) -> &'static str {
    match flaw {
        Flaw::Malformed
        | Flaw::TrailingBytes
        | Flaw::DuplicateKey
        | Flaw::EmptyPayload
        | Flaw::Tombstone
        | Flaw::InvalidUtf8 => "malformed",
        Flaw::WrongType | Flaw::MissingField | Flaw::IntegerOverflow => "schema",
        Flaw::UnknownCampaign => "lookup",
        Flaw::EndBeforeStart | Flaw::LongerThanADay => "expectation",
        Flaw::FarAhead => "event_time",
    }
}

/// How many of the generator's first `count` events are to have each fate.
pub fn expected(generator: &Generator, count: u64) -> BTreeMap<String, i64> {
    let mut fates = BTreeMap::new();
    for index in 0..count {
        let fate = match generator.event(index).fate {
            ExpectedFate::Accepted(_) => "accepted",
            ExpectedFate::Duplicate { .. } => "duplicate",
            ExpectedFate::Rejected(flaw) => reason(flaw),
        };
        *fates.entry(fate.to_owned()).or_insert(0) += 1;
    }
    fates
}

pub fn every_event_has_the_fate_it_was_made_for_and_the_next_run_goes_on(make: Make<'_>) {
    let bed = make(3);
    let views = Views::new(bed.as_ref());
    let events = lively();
    send(bed.as_ref(), &events, 0..4_000, None);
    views.run(&ONCE).unwrap();
    assert_eq!(views.fates(), expected(&events, 4_000));
    assert_eq!(views.audit().records, 4_000);

    // Nothing new: nothing changes but the tick that a run began.
    views.run(&ONCE).unwrap();
    assert_eq!(views.records(), 4_000);

    send(bed.as_ref(), &events, 4_000..6_000, None);
    views.run(&ONCE_AND_CLOSE).unwrap();
    let fates = expected(&events, 6_000);
    assert!(
        fates.len() == 7 && fates.values().all(|count| *count > 10),
        "too tame: {fates:?}"
    );
    assert_eq!(views.fates(), fates);
    let report = views.audit();
    assert_eq!((report.records, report.gaps.len()), (6_000, 0));
    // Every window is closed, so every accepted view is counted or was late.
    let (counted, late) = views.counted();
    assert_eq!(counted + late, fates["accepted"]);
    assert!(counted > late && late > 0, "{counted} counted, {late} late");
}

pub fn the_layers_can_run_one_after_the_other(make: Make<'_>) {
    let bed = make(2);
    let views = Views::new(bed.as_ref());
    let events = lively();
    send(bed.as_ref(), &events, 0..1_500, None);
    for (layer, upstream) in [(Layer::Gold, "silver"), (Layer::Silver, "bronze")] {
        let error = views.run_layer(layer).expect_err("there is nothing to read");
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(
            error.to_string().contains(&format!("there is no {upstream} table yet")),
            "{error}"
        );
    }
    for range in [0..0, 1_500..2_000] {
        send(bed.as_ref(), &events, range, None);
        for layer in [Layer::Bronze, Layer::Silver, Layer::Gold] {
            views.run_layer(layer).unwrap();
        }
    }
    assert_eq!(views.fates(), expected(&events, 2_000));
    assert!(views.audit().gold > 0);
}

pub fn a_live_run_takes_in_what_comes_and_stops_when_asked(make: Make<'_>) {
    let bed = make(3);
    let views = Views::new(bed.as_ref());
    let events = lively();
    send(bed.as_ref(), &events, 0..500, None);
    views.live(|views| {
        views.wait_for(500);
        send(bed.as_ref(), &events, 500..2_500, None);
        views.wait_for(2_500);
    });
    assert_eq!(views.audit().records, 2_500);
    views.live(|views| {
        send(bed.as_ref(), &events, 2_500..3_000, None);
        views.wait_for(3_000);
    });
    assert_eq!(views.fates(), expected(&events, 3_000));
    views.run(&ONCE_AND_CLOSE).unwrap();
    let report = views.audit();
    assert_eq!(report.records, 3_000);
    let (counted, late) = views.counted();
    assert_eq!(counted + late, report.silver);
}

pub fn an_idle_partition_does_not_hold_back_busy_ones_for_ever(make: Make<'_>) {
    let bed = make(2);
    let mut views = Views::new(bed.as_ref());
    views.kafka().idle_after = Duration::from_secs(1);
    views.kafka().quiet_after = None;
    // A second of event time each. The idle partition has the first one only.
    let events = plain(3, NOON, 1);
    send(bed.as_ref(), &events, 0..1, Some(1));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        /// Ends the sender also where the test fails.
        struct Ending<'a>(&'a AtomicBool);
        impl Drop for Ending<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let ending = Ending(&done);
        // Without any pause as long as a poll: the source always has something.
        scope.spawn(|| {
            let sender = Sender::new(bed.as_ref());
            for index in 1.. {
                if done.load(Ordering::SeqCst) {
                    break;
                }
                sender.event(&events.event(index), Some(0));
                sender.flush();
                std::thread::sleep(Duration::from_millis(15));
            }
        });
        views.live(|views| {
            views.until("a closed window", || {
                views.has_gold() && views.number("select count(*) from gold") > 0
            });
        });
        drop(ending);
    });
    let idle = views.query(
        "select cast(value as varchar) from bronze where kind = 'tick' \
         and cast(value as varchar) like '%\"reason\":\"idle\"%' order by seq",
    );
    let alone = format!("\"idle\":[\"{}/1\"]", bed.topic());
    assert!(idle.iter().any(|tick| tick[0].contains(&alone)), "{idle:?}");
    let report = views.audit();
    assert_eq!(report.late, 0);
}

pub fn a_quiet_topic_closes_its_last_window(make: Make<'_>) {
    let bed = make(2);
    let mut views = Views::new(bed.as_ref());
    views.kafka().idle_after = Duration::from_millis(100);
    views.kafka().quiet_after = Some(Duration::from_millis(500));
    views.pipeline.gold[0].watermark = Duration::ZERO;
    // Two windows; the last event is 100 ms before the end of the second.
    send(bed.as_ref(), &plain(1, NOON + MINUTE - 2_000_000, 1), 0..4, Some(0));
    send(bed.as_ref(), &plain(2, NOON + 2 * MINUTE - 100_000, 1), 0..1, Some(1));
    views.live(|views| {
        views.until("the last window", || {
            views.has_gold() && views.number("select sum(total_count) from gold") == 5
        });
    });
    assert_eq!(views.audit().silver, 5);
}

pub fn bronze_has_every_byte_as_it_was_sent(make: Make<'_>) {
    let bed = make(1);
    let views = Views::new(bed.as_ref());
    let headers: [(&str, Option<&[u8]>); 3] = [("trace", Some(b"\x00\xff")), ("none", None), ("trace", Some(b""))];
    let sender = Sender::new(bed.as_ref());
    let sent = [
        (Some(&b"k"[..]), Some(&b"{\"a\":1}"[..]), &headers[..]),
        (Some(b""), Some(b""), &[]),
        (None, None, &[]),
        (Some(b"\xfe\x00"), Some(b"\x00\x01\xff"), &[]),
    ];
    for (index, (key, value, headers)) in sent.into_iter().enumerate() {
        sender.record(&Outgoing {
            partition: Some(0),
            timestamp_ms: Some(1_700_000_000_000 + index as i64),
            key,
            value,
            headers,
        });
    }
    sender.flush();
    views.run(&ONCE).unwrap();
    let rows = views.query(
        "select \"offset\", \"partition\", key, value, headers, timestamp_type, \
         cast(extract(epoch from \"timestamp\") * 1000 as bigint), topic from bronze where kind = 'record' order by seq",
    );
    let told = "[{key: trace, value: 00ff}, {key: none, value: NULL}, {key: trace, value: }]";
    let row = |offset: i64, key: &str, value: &str, headers: &str| -> Vec<String> {
        let time = (1_700_000_000_000 + offset).to_string();
        let offset = offset.to_string();
        [&offset, "0", key, value, headers, "create_time", &time, bed.topic()]
            .map(str::to_owned)
            .to_vec()
    };
    assert_eq!(
        rows,
        [
            row(0, "6b", "7b2261223a317d", told),
            row(1, "", "", "NULL"),
            row(2, "NULL", "NULL", "NULL"),
            row(3, "fe00", "0001ff", "NULL"),
        ]
    );
    assert_eq!(
        views.fates(),
        BTreeMap::from([
            ("accepted".to_owned(), 0),
            ("malformed".to_owned(), 3),
            ("schema".to_owned(), 1)
        ])
    );
    views.audit();
}

pub fn an_unknown_topic_is_an_error_and_leaves_no_table_behind(make: Make<'_>) {
    let bed = make(1);
    let mut views = Views::new(bed.as_ref());
    "vews".clone_into(&mut views.kafka().topic);
    let error = views.fails();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("has no topic `vews`"), "{error}");
    assert!(error.next().unwrap().contains("source.topic"), "{error}");
    for table in ["bronze", "silver", "rejects", "gold", "late"] {
        assert!(!views.path(table).exists(), "{table} was made");
    }
    // The topic named rightly, the same lake serves.
    let events = lively();
    send(bed.as_ref(), &events, 0..100, None);
    bed.topic().clone_into(&mut views.kafka().topic);
    views.run(&ONCE).unwrap();
    assert_eq!(views.audit().records, 100);
}
