use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::*;

const COUNT: u64 = 100_000;

fn config() -> GeneratorConfig {
    GeneratorConfig {
        duplicates: 0.08,
        late: 0.02,
        out_of_order: 0.10,
        invalid: 0.05,
        ..GeneratorConfig::default()
    }
}

fn instant(json: &Value, name: &str) -> i64 {
    let text = json[name].as_str().unwrap().replace(' ', "T");
    let zoned = if text.len() == 26 { format!("{text}Z") } else { text };
    chrono::DateTime::parse_from_rfc3339(&zoned).unwrap().timestamp_micros()
}

#[test]
fn an_event_depends_on_config_and_index_and_on_nothing_else() {
    let generator = Generator::new(config());
    let forward: Vec<Event> = (0..500).map(|index| generator.event(index)).collect();
    let other = Generator::new(config());
    for index in (0..500).rev() {
        assert_eq!(other.event(index as u64), forward[index]);
    }
    let seeded = Generator::new(GeneratorConfig { seed: 2, ..config() });
    assert!(
        (0..500).all(|index| seeded.event(index as u64).value != forward[index].value
            || forward[index].value.as_ref().is_none_or(Vec::is_empty))
    );
}

#[test]
fn the_events_of_a_seed_are_the_same_forever() {
    // Benchmarks and recorded results rest on it.
    let generator = Generator::new(config());
    let first = generator.event(0);
    assert_eq!(
        str::from_utf8(first.value.as_deref().unwrap()).unwrap(),
        "{\"view_id\":\"f0cba6b8-d8f8-4b0e-be98-17eee85e606f\",\"start_timestamp\":\"2023-12-31T23:57:19.859266Z\",\
         \"end_timestamp\":\"2024-01-01T00:00:00.000000Z\",\"banner_id\":13746,\"campaign_id\":130}"
    );
    let bytes: Vec<u8> = (0..2_000)
        .flat_map(|index| generator.event(index).value.unwrap_or_default())
        .collect();
    assert_eq!(
        format!("{:032x}", twox_hash::XxHash3_128::oneshot(&bytes)),
        "d1ec9fd316fe894f37bfa93efef344d5"
    );
}

#[test]
fn shares_are_what_was_asked_for() {
    let generator = Generator::new(config());
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut flaws: BTreeMap<Flaw, u64> = BTreeMap::new();
    for index in 0..COUNT {
        let word = match generator.event(index).fate {
            ExpectedFate::Accepted(Arrival::InOrder) => "in order",
            ExpectedFate::Accepted(Arrival::OutOfOrder) => "out of order",
            ExpectedFate::Accepted(Arrival::Late) => "late",
            ExpectedFate::Duplicate { .. } => "duplicate",
            ExpectedFate::Rejected(flaw) => {
                *flaws.entry(flaw).or_default() += 1;
                "invalid"
            }
        };
        *counts.entry(word).or_default() += 1;
    }
    let expected = [
        ("in order", 0.75),
        ("out of order", 0.10),
        ("late", 0.02),
        ("duplicate", 0.08),
        ("invalid", 0.05),
    ];
    for (word, share) in expected {
        let found = counts[word] as f64 / COUNT as f64;
        assert!((found - share).abs() < 0.005, "{word}: {found} instead of {share}");
    }
    for flaw in Flaw::ALL {
        assert!(
            flaws.get(&flaw).is_some_and(|count| *count > 250),
            "{flaw:?} is rare: {flaws:?}"
        );
    }
}

#[test]
fn only_the_flaws_that_were_asked_for_occur_and_all_of_them() {
    let asked = [Flaw::Malformed, Flaw::FarAhead];
    let generator = Generator::new(GeneratorConfig {
        invalid: 1.0,
        flaws: asked.to_vec(),
        ..config()
    });
    let found: BTreeSet<&str> = (0..1_000).map(|index| generator.event(index).fate.name()).collect();
    assert_eq!(found, BTreeSet::from(asked.map(Flaw::name)));
}

#[test]
fn every_flaw_is_found_by_its_name() {
    for flaw in Flaw::ALL {
        assert_eq!(Flaw::named(flaw.name()), Some(flaw));
    }
    assert_eq!(Flaw::named("flawless"), None);
}

#[test]
fn a_duplicate_repeats_an_accepted_event_and_most_repeat_a_recent_one() {
    let generator = Generator::new(config());
    let (mut duplicates, mut recent) = (0u64, 0u64);
    for index in 0..COUNT {
        let event = generator.event(index);
        let ExpectedFate::Duplicate { of } = event.fate else {
            continue;
        };
        let original = generator.event(of);
        assert!(of < index && matches!(original.fate, ExpectedFate::Accepted(_)));
        assert_eq!((event.key, event.value), (original.key, original.value));
        assert!(event.timestamp_ms > original.timestamp_ms - 200);
        duplicates += 1;
        recent += u64::from(index - of <= RECENT);
    }
    assert!(duplicates > 0 && (0.78..0.95).contains(&(recent as f64 / duplicates as f64)));
}

#[test]
fn accepted_events_are_valid_views_at_the_time_they_claim() {
    let generator = Generator::new(config());
    let mut seen = HashMap::new();
    for index in 0..20_000 {
        let event = generator.event(index);
        let ExpectedFate::Accepted(arrival) = event.fate else {
            continue;
        };
        let json: Value = serde_json::from_slice(&event.value.unwrap()).unwrap();
        let view_id = json["view_id"].as_str().unwrap().to_owned();
        assert_eq!(event.key.as_deref(), Some(view_id.as_bytes()));
        assert_eq!(
            seen.insert(view_id, index),
            None,
            "a view id twice without being a duplicate"
        );
        assert!((10..=140).contains(&json["campaign_id"].as_i64().unwrap()));
        assert!(json["banner_id"].as_i64().unwrap() > 0);
        let (start, end) = (instant(&json, "start_timestamp"), instant(&json, "end_timestamp"));
        assert!((0..=300 * SECOND).contains(&(end - start)));
        let behind = generator.time(index) - end;
        let range = match arrival {
            Arrival::InOrder => 0..1,
            Arrival::OutOfOrder => 1..8 * SECOND,
            Arrival::Late => 120 * SECOND..1800 * SECOND,
        };
        assert!(range.contains(&behind), "{arrival:?}: {behind} microseconds behind");
        let delay = event.timestamp_ms * 1000 - generator.time(index);
        assert!(
            (4_000..=200_000).contains(&delay),
            "the record is {delay} microseconds after the event"
        );
    }
}

#[test]
fn every_flaw_is_in_the_bytes() {
    let generator = Generator::new(GeneratorConfig {
        invalid: 1.0,
        ..config()
    });
    for index in 0..5_000 {
        let event = generator.event(index);
        let ExpectedFate::Rejected(flaw) = event.fate else {
            panic!("event {index} has no flaw")
        };
        let payload = event.value;
        let json = payload
            .as_deref()
            .and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
        match flaw {
            Flaw::Tombstone => assert_eq!(payload, None),
            Flaw::EmptyPayload => assert_eq!(payload, Some(Vec::new())),
            Flaw::Malformed | Flaw::TrailingBytes | Flaw::InvalidUtf8 => {
                assert!(
                    payload.is_some_and(|bytes| !bytes.is_empty()) && json.is_none(),
                    "{flaw:?}"
                );
            }
            _ => {
                let json = json.unwrap_or_else(|| panic!("{flaw:?} is not JSON"));
                let (start, end) = (json["start_timestamp"].as_str(), json["end_timestamp"].as_str());
                let length = start
                    .zip(end)
                    .map(|_| instant(&json, "end_timestamp") - instant(&json, "start_timestamp"));
                let campaign = json["campaign_id"].as_i64();
                match flaw {
                    Flaw::WrongType => assert!(!json["view_id"].is_string() || !json["campaign_id"].is_number()),
                    Flaw::MissingField => assert_eq!(json.as_object().unwrap().len(), 4),
                    Flaw::IntegerOverflow => {
                        assert!(!json["banner_id"].is_i64() || campaign > Some(i64::from(i32::MAX)))
                    }
                    Flaw::DuplicateKey => {
                        let text = String::from_utf8(payload.unwrap()).unwrap();
                        assert_eq!(text.matches("campaign_id").count(), 2);
                    }
                    Flaw::UnknownCampaign => assert!(campaign > Some(140)),
                    Flaw::EndBeforeStart => assert!(length < Some(0)),
                    Flaw::LongerThanADay => assert!(length > Some(86_400 * SECOND)),
                    _ => assert!(instant(&json, "end_timestamp") > event.timestamp_ms * 1000 + 3600 * SECOND),
                }
            }
        }
    }
}
