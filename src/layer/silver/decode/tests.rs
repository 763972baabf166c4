use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use proptest::prelude::*;

use super::*;
use crate::definition::{Check, Field, FieldKind};

fn field(name: &str, kind: FieldKind, required: bool, nullable: bool) -> Field {
    Field {
        name: name.to_owned(),
        kind,
        required,
        nullable,
        description: String::new(),
        checks: Vec::new(),
    }
}

fn contract(closed: bool) -> Contract {
    let mut name = field("name", FieldKind::String, false, true);
    name.checks = vec![
        Check::MinLength(2),
        Check::MaxLength(4),
        Check::Pattern(regex::Regex::new("^[a-zä]*$").unwrap()),
    ];
    let mut size = field("size", FieldKind::Int32, false, false);
    size.checks = vec![Check::MinInt(-5), Check::MaxInt(2_000_000_000)];
    Contract {
        description: String::new(),
        fields: vec![
            field("id", FieldKind::Int64, true, false),
            name,
            size,
            field("at", FieldKind::Timestamp, false, false),
            field("share", FieldKind::Float64, false, false),
            field("ok", FieldKind::Boolean, false, false),
            field("day", FieldKind::Date, false, false),
        ],
        closed,
    }
}

fn judge(payload: &[u8]) -> Result<(), Defect> {
    Decoder::new(&contract(false)).decode(Some(payload))
}

fn refused(payload: impl AsRef<[u8]>) -> (Reason, String) {
    let payload = payload.as_ref();
    let shown = String::from_utf8_lossy(payload);
    let defect = judge(payload).expect_err(shown.get(..shown.len().min(80)).unwrap_or_default());
    (defect.reason, defect.detail)
}

#[test]
fn values_arrive_in_their_columns_in_any_order() {
    let mut decoder = Decoder::new(&contract(false));
    let messages = [
        r#"{"id":1,"name":"\u00e4bc","size":-5,"at":"1970-01-01T00:00:01Z","share":0.5,"ok":true,"day":"1970-01-02"}"#,
        r#" {"at":"1970-01-01 00:00:02","other":{"id":[1,{"id":2}]},"share":3,"id":-9223372036854775808} "#,
        r#"{"id":1e3,"name":null,"size":7.0}"#,
        r#"{"id":-0}"#,
    ];
    for message in messages {
        assert_eq!(decoder.decode(Some(message.as_bytes())), Ok(()), "{message}");
    }
    let columns = decoder.finish().unwrap();
    let ids: Vec<_> = columns[0].as_primitive::<Int64Type>().values().to_vec();
    assert_eq!(ids, [1, i64::MIN, 1000, 0]);
    let names: Vec<_> = columns[1].as_string::<i32>().iter().collect();
    assert_eq!(names, [Some("äbc"), None, None, None]);
    let sizes: Vec<_> = columns[2].as_primitive::<Int32Type>().iter().collect();
    assert_eq!(sizes, [Some(-5), None, Some(7), None]);
    let times: Vec<_> = columns[3].as_primitive::<TimestampMicrosecondType>().iter().collect();
    assert_eq!(times, [Some(1_000_000), Some(2_000_000), None, None]);
    let shares: Vec<_> = columns[4].as_primitive::<Float64Type>().iter().collect();
    assert_eq!(shares, [Some(0.5), Some(3.0), None, None]);
    assert_eq!(columns[5].as_boolean().iter().flatten().collect::<Vec<_>>(), [true]);
    assert_eq!(columns[6].len() - columns[6].null_count(), 1);
    assert!(decoder.finish().unwrap().iter().all(|column| column.is_empty()));
}

#[test]
fn what_is_not_one_json_event_is_malformed() {
    let deep = |levels: usize| format!(r#"{{"id":1,"x":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    assert_eq!(judge(deep(MAX_DEPTH - 1).as_bytes()), Ok(()));
    let payloads: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"  ".to_vec(),
        b"{".to_vec(),
        b"{\"id\":1}{\"id\":2}".to_vec(),
        b"{\"id\":1}x".to_vec(),
        b"{\"id\":1,}".to_vec(),
        b"{'id':1}".to_vec(),
        b"{\"id\":01}".to_vec(),
        b"{\"id\":+1}".to_vec(),
        b"{\"id\":NaN}".to_vec(),
        b"{\"id\":1,\"share\":1e999}".to_vec(),
        b"{\"id\":1,\"x\":1e999}".to_vec(),
        b"{\"id\":1,\"name\":\"\xff\"}".to_vec(),
        b"{\"id\":1,\"x\":\"\xff\"}".to_vec(),
        b"\xef\xbb\xbf{\"id\":1}".to_vec(),
        b"{\"id\":1,\"name\":\"\\ud800\"}".to_vec(),
        b"{\"id\":1,\"x\":\"\\ud800\"}".to_vec(),
        b"{\"id\":1,\"name\":\"a\nb\"}".to_vec(),
        b"{\"id\":1,\"id\":1}".to_vec(),
        b"{\"id\":1,\"i\\u0064\":1}".to_vec(),
        b"{\"id\":1,\"x\":1,\"x\":1}".to_vec(),
        b"{\"id\":\"no\",\"x\":1,\"x\":1}".to_vec(),
        b"{\"id\":\"no\"".to_vec(),
        b"[1".to_vec(),
        deep(MAX_DEPTH).into_bytes(),
        deep(100_000).into_bytes(),
        "{\"id\":".repeat(100_000).into_bytes(),
        vec![b' '; MAX_PAYLOAD + 1],
    ];
    for payload in payloads {
        let (reason, detail) = refused(&payload);
        assert_eq!(reason, Reason::Malformed, "{detail}");
        assert!(detail.len() < 300, "{detail}");
    }
    let tombstone = Decoder::new(&contract(false)).decode(None).unwrap_err();
    assert_eq!(tombstone.reason, Reason::Malformed);
    assert_eq!(refused("{\"x\":1,\"x\":2}").1, "member \"x\" is there twice");
}

#[test]
fn json_that_breaks_the_contract_names_the_member_and_its_value() {
    for (payload, detail) in [
        ("[1,{\"id\":1}]", "the event is an array, not an object"),
        ("null", "the event is null, not an object"),
        ("\"x\"", "the event is \"x\", not an object"),
        ("17", "the event is 17, not an object"),
        ("{}", "id is missing"),
        ("{\"id\":null}", "id: null is not allowed"),
        ("{\"id\":\"1\"}", "id: \"1\" is not an integer"),
        ("{\"id\":1.9}", "id: 1.9 has a fraction, but is declared an integer"),
        (
            "{\"id\":9223372036854775808}",
            "id: 9223372036854775808 does not fit int64",
        ),
        (
            "{\"id\":-9223372036854775809}",
            "id: -9.223372036854776e18 does not fit int64",
        ),
        ("{\"id\":1e16}", "id: 1e16 does not fit int64"),
        ("{\"id\":true}", "id: true is not an integer"),
        ("{\"id\":{\"a\":1}}", "id: an object is not an integer"),
        ("{\"id\":1,\"size\":4294967296}", "size: 4294967296 does not fit int32"),
        ("{\"id\":1,\"size\":-6}", "size: -6 is below -5"),
        ("{\"id\":1,\"size\":null}", "size: null is not allowed"),
        ("{\"id\":1,\"name\":\"a\"}", "name: \"a\" has fewer than 2 characters"),
        (
            "{\"id\":1,\"name\":\"aaaaa\"}",
            "name: \"aaaaa\" has more than 4 characters",
        ),
        ("{\"id\":1,\"name\":\"AB\"}", "name: \"AB\" does not match ^[a-zä]*$"),
        ("{\"id\":1,\"at\":5}", "at: 5 is not a date-time in a string"),
        (
            "{\"id\":1,\"at\":\"yesterday\"}",
            "at: \"yesterday\" is not a date-time: it is too short",
        ),
        (
            "{\"id\":1,\"day\":\"2026-02-30\"}",
            "day: \"2026-02-30\" is not a date: there is no such day",
        ),
        (
            "{\"size\":\"x\",\"ok\":1}",
            "size: \"x\" is not an integer; ok: 1 is not true or false; id is missing",
        ),
    ] {
        assert_eq!(refused(payload), (Reason::Schema, detail.to_owned()));
    }
    let long = format!("{{\"id\":\"{}\"}}", "ä".repeat(1_000_000));
    assert_eq!(
        refused(long).1,
        format!("id: \"{}...\" is not an integer", "ä".repeat(100))
    );
}

#[test]
fn a_closed_contract_refuses_members_it_does_not_name() {
    let mut decoder = Decoder::new(&contract(true));
    let defect = decoder.decode(Some(br#"{"id":1,"x":[]}"#)).unwrap_err();
    assert_eq!(defect.reason, Reason::Schema);
    assert_eq!(defect.detail, "\"x\" is not a member of the contract");
}

#[test]
fn a_bad_message_leaves_no_trace_between_good_ones() {
    let mut decoder = Decoder::new(&contract(false));
    let good = |id: i64| format!(r#"{{"id":{id},"name":"n{}"}}"#, "abc".get(..id as usize).unwrap());
    let bad = [
        r#"{"name":"zzz","size":3,"id":"#,
        r#"{"name":"zzz","size":3,"id":"x"}"#,
        r#"{"name":"zz"}"#,
    ];
    for (id, bad) in (0_i64..).zip(bad) {
        let _ = id;
        assert!(decoder.decode(Some(bad.as_bytes())).is_err());
        let payload = good(id + 1);
        assert_eq!(decoder.decode(Some(payload.as_bytes())), Ok(()), "{payload}");
    }
    let columns = decoder.finish().unwrap();
    assert_eq!(columns[0].as_primitive::<Int64Type>().values().to_vec(), [1, 2, 3]);
    let names: Vec<_> = columns[1].as_string::<i32>().iter().flatten().collect();
    assert_eq!(names, ["na", "nab", "nabc"]);
    assert_eq!(columns[2].null_count(), 3);
}

proptest! {
    #[test]
    fn any_bytes_are_one_row_or_none_and_agree_with_serde_json(
        payload in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            "[{}\\[\\]\":,a-d0-9 .\\-eu\\\\]{0,40}".prop_map(String::into_bytes),
            r#"\{"id":-?[0-9]{1,20}(\.[0-9]{1,3})?(e[0-9])?(,"(x|y|id|i\\u0064)":(1|"a"|\[\{\}\]))?\}[ }]?"#.prop_map(String::into_bytes),
        ]
    ) {
        let mut decoder = Decoder::new(&contract(false));
        let judged = decoder.decode(Some(&payload));
        let rows = decoder.finish().unwrap();
        prop_assert!(rows.iter().all(|column| column.len() == usize::from(judged.is_ok())));
        let parsed = serde_json::from_slice::<serde_json::Value>(&payload);
        match judged {
            Ok(()) => prop_assert!(parsed.is_ok_and(|value| value.is_object())),
            Err(defect) if defect.reason == Reason::Schema => prop_assert!(parsed.is_ok()),
            Err(defect) => prop_assert!(parsed.is_err() || defect.detail.contains("twice"), "{}", defect.detail),
        }
    }
}

/// A message out of pieces that are nearly right, so that many are and the others are wrong in one place.
fn nearly() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        9 => prop::sample::select(vec!["id", "name", "size", "at", "share", "ok", "day"]),
        1 => prop::sample::select(vec!["x", "i\\u0064", "id\\", "i", "idd", ""]),
    ];
    let value = prop::sample::select(vec![
        "1",
        "0",
        "-0",
        "-7",
        "01",
        "-",
        "1.0",
        "1e2",
        "2.5",
        "999999999999999999",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "4294967296",
        "true",
        "false",
        "null",
        "tru",
        "nul",
        "truex",
        "\"abc\"",
        "\"\"",
        "\"\u{e4}b\"",
        "\"a\\u0062\"",
        "\"a\tb\"",
        "\"abcdefgh\\n\"",
        "\"abc",
        "[]",
        "{}",
        "[1",
        "\"1970-01-01T00:00:01Z\"",
        "\"1970-01-01 00:00:01.5+01:00\"",
        "\"1970-01-02\"",
    ]);
    let blank = prop::sample::select(vec!["", "", "", " ", "\r\n", "\t", "\u{a0}"]);
    let member = (blank.clone(), name, blank.clone(), value, blank.clone())
        .prop_map(|(a, name, b, value, c)| format!("{a}\"{name}\"{b}:{c}{value}{b}"));
    let order = prop_oneof![
        Just(r#""id":5,"name":"abc","size":3,"at":"1970-01-01T00:00:01Z""#.to_owned()),
        prop::collection::vec(member, 0..6).prop_map(|members| members.join(",")),
    ];
    (
        blank.clone(),
        order,
        prop::sample::select(vec!["}", "}", "}", "} ", "", "}}", ",}", "}x"]),
    )
        .prop_map(|(blank, members, end)| format!("{blank}{{{members}{end}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn the_short_way_says_what_the_parser_says_or_nothing(messages in prop::collection::vec(nearly(), 1..4), closed: bool) {
        let contract = contract(closed);
        let mut decoder = Decoder::new(&contract);
        let mut parser = Decoder { plain: Plain::new(&Contract { fields: Vec::new(), ..contract.clone() }), ..Decoder::new(&contract) };
        for message in &messages {
            prop_assert_eq!(decoder.decode(Some(message.as_bytes())), parser.decode(Some(message.as_bytes())), "{}", message);
        }
        prop_assert_eq!(decoder.finish().unwrap(), parser.finish().unwrap());
    }
}

#[test]
fn the_short_way_is_taken_by_what_producers_write() {
    let contract = contract(true);
    for (message, taken) in [
        (
            r#"{"id":1,"name":"abc","size":-3,"at":"1970-01-01T00:00:01Z","ok":true}"#,
            true,
        ),
        ("{ \"name\": null, \"id\": 12 }\n", true),
        (r#"{"id":1,"name":"\u00e4b"}"#, false),
        (r#"{"id":1,"share":0.5}"#, false),
        (r#"{"name":"abc"}"#, false),
        (r#"{"id":1,"name":"a"}"#, false),
        (r#"{"id":1,"id":1}"#, false),
    ] {
        let mut columns: Vec<Column> = contract.fields.iter().map(|field| Column::new(field.kind)).collect();
        let found = Plain::new(&contract).read(message, &mut columns, 0);
        assert_eq!(found.is_some(), taken, "{message}");
        assert!(!taken || columns.iter().all(|column| column.len() == 1), "{message}");
    }
}
