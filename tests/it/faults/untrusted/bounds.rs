//! Large inputs made to cost much: memory is a multiple of a payload's length, and a declaration is judged in time.

use std::fmt::Write;
use std::time::Duration;

use medallion::layer::silver::MAX_PAYLOAD;

use super::{declared, payload};
use crate::model::generate::{BASE, payload as event};
use crate::support::heap::most_held;
use crate::support::tier;

/// A declaration is what a person waits for; of processor time, because other tests run beside this one.
const PATIENCE: Duration = Duration::from_secs(10);

/// Processor time of this thread so far.
fn worked() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn heap(value: &[u8]) -> usize {
    let mut most = 0;
    for closed in [false, true] {
        let case = payload::Case::new(value, closed);
        let (step, held) = most_held(|| case.process());
        assert_eq!(step.silver.num_rows() + step.rejects.num_rows(), 5);
        most = most.max(held);
    }
    most
}

/// Members with the shortest names that there are, each another.
fn strangers(length: usize) -> String {
    let letters: Vec<char> = ('!'..='~').filter(|letter| !['"', '\\'].contains(letter)).collect();
    let mut text = "{".to_owned();
    for number in 0.. {
        let (mut rest, mut name) = (number, String::new());
        while rest > 0 {
            name.push(letters[rest % letters.len()]);
            rest /= letters.len();
        }
        write!(text, "\"{name}\":0,").unwrap();
        if text.len() >= length {
            break;
        }
    }
    text.pop();
    text + "}"
}

#[test]
fn no_payload_holds_more_than_a_multiple_of_its_length() {
    let length = tier::pick(2 << 20, MAX_PAYLOAD, MAX_PAYLOAD) - 64;
    let good = event(2, BASE, BASE + 1_000_000, 1, 1);
    let within = |before: &str, piece: &str, after: &str| {
        let times = length / piece.len();
        good.replacen('{', &format!("{{{before}{}{after}", piece.repeat(times)), 1)
    };
    let payloads = [
        ("strangers", strangers(length)),
        ("one stranger again and again", within("", "\"\":0,", "")),
        ("a long name", within("\"", "n", "\":0,")),
        ("a long text", within("\"x\":\"", "t", "\",")),
        ("escapes", within("\"x\":\"", "\\u0001", "\",")),
        ("a list", within("\"x\":[", "0,", "0],")),
        ("lists in a list", within("\"x\":[", "[[[[]]]],", "0],")),
        ("a long number", within("\"x\":", "1", ",")),
        ("a long key", good.replace("view-2", &"v".repeat(length))),
        (
            "a long value of the wrong type",
            good.replace("\"banner_id\":1", &format!("\"banner_id\":\"{}\"", "b".repeat(length))),
        ),
        (
            "an array of events",
            format!("[{}]", vec![good.as_str(); length / (good.len() + 1)].join(",")),
        ),
        ("brackets", "[".repeat(length)),
        ("spaces", " ".repeat(length)),
        ("more than is parsed", " ".repeat(MAX_PAYLOAD + 1)),
        ("not UTF-8 at its end", format!("{}\u{0}", " ".repeat(length))),
    ];
    for (name, text) in &payloads {
        let held = heap(text.as_bytes());
        let most = payload::HEAP_BASE + payload::HEAP_PER_BYTE * text.len();
        println!(
            "untrusted payload: {name}: {} bytes held {:.1} times as much",
            text.len(),
            held as f64 / text.len() as f64
        );
        assert!(held <= most, "{name}: {} bytes held {held}", text.len());
    }
}

/// Asserts that a case of [`declared::check`] is judged in time.
fn judged(name: &str, case: &str) {
    let began = worked();
    declared::check(case.as_bytes());
    let took = worked().saturating_sub(began);
    println!("untrusted declaration: {name}: {} bytes in {took:?}", case.len());
    assert!(took < PATIENCE, "{name}: {} bytes took {took:?}", case.len());
}

#[test]
fn no_declaration_takes_for_ever() {
    // A little below the longest file that is read.
    let length = 250 * 1024;
    let many = |piece: &dyn Fn(usize) -> String| {
        let mut text = String::new();
        for number in 0.. {
            text.push_str(&piece(number));
            if text.len() > length {
                break;
            }
        }
        text
    };
    let schema = |members: &str, required: &str| {
        format!(
            "3{{\"type\":\"object\",\"required\":[{required}\"t\"],\"properties\":{{{members}\"t\":{{\"type\":\"string\"}}}}}}"
        )
    };
    for (name, case) in [
        ("keys", format!("0{}", many(&|number| format!("k{number} = 1\n")))),
        ("one key", format!("1{}", "k = 1\n".repeat(length / 6))),
        (
            "dotted keys",
            format!("0{}", many(&|number| format!("a.b{number}.c = 1\n"))),
        ),
        ("dots", format!("0{} = 1\n", vec!["a"; length / 2].join("."))),
        ("brackets", format!("0a = {}", "[".repeat(length))),
        ("tables", format!("2{}", "[[table]]\n".repeat(length / 10))),
        ("variables", format!("0a = \"{}\"", "${ab}".repeat(length / 5))),
        ("a long string", format!("0a = \"{}\"", "x".repeat(length))),
        (
            "members",
            schema(&many(&|number| format!("\"a{number}\":{{\"type\":\"string\"}},")), ""),
        ),
        (
            "required and unknown",
            schema("", &many(&|number| format!("\"m{number}\","))),
        ),
        ("brackets in JSON", format!("3{}", "[".repeat(length))),
        (
            "enum",
            schema(
                &format!(
                    "\"e\":{{\"enum\":[{}\"z\"]}},",
                    many(&|number| format!("\"{number}\","))
                ),
                "",
            ),
        ),
        (
            "patterns",
            schema(
                &many(&|number| format!("\"p{number}\":{{\"type\":\"string\",\"pattern\":\"(a{{40}}){{40}}\"}},")),
                "",
            ),
        ),
        ("too long", format!("0{}", "#".repeat(8 << 20))),
    ] {
        judged(name, &case);
    }
}

#[test]
fn no_expression_takes_for_ever() {
    for (name, case) in [
        ("a sum that is read", format!("6{}1 > id", "1 + ".repeat(390))),
        ("ands that are read", format!("6{}ok", "ok and ".repeat(390))),
        ("a sum", format!("6{}1", "1 + ".repeat(4000))),
        ("ands", format!("6{}ok", "ok and ".repeat(2000))),
        ("parentheses", format!("6{}", "(".repeat(16_000))),
        ("nots", format!("6{}ok", "not ".repeat(4000))),
        ("minuses", format!("6{}1", "- ".repeat(8000))),
        ("casts", format!("6id{}", "::int".repeat(3000))),
        ("a list", format!("6id in ({}1)", "1,".repeat(7000))),
        (
            "cases",
            format!("6{}1{}", "case when ok then ".repeat(400), " end".repeat(400)),
        ),
        ("calls", format!("6{}1{}", "abs(".repeat(2000), ")".repeat(2000))),
        // What is wrong inside is tried in two ways for each call around it.
        (
            "a slip in casts",
            format!("6{}x y{}", "cast(".repeat(40), ")".repeat(40)),
        ),
        (
            "a slip in few casts",
            format!("6{}x y{}", "cast(".repeat(10), ")".repeat(10)),
        ),
        ("a slip in positions", format!("6{}x y", "position(".repeat(10))),
        ("a slip in lists", format!("6{}x y", "array[".repeat(40))),
        ("a slip in negations", format!("6{}x y", "not (".repeat(40))),
        ("brackets", format!("6id{}", "[1]".repeat(4000))),
        ("concatenations", format!("6{}name", "name || ".repeat(1900))),
        ("aggregates", format!("7{}count(*)", "count(*) + ".repeat(1300))),
        ("a long text", format!("6name = '{}'", "x".repeat(16_000))),
        ("a bomb", "6repeat('x', 2000000000) = name".to_owned()),
        (
            "a series",
            "6array_length(generate_series(1, 9000000000)) > 1".to_owned(),
        ),
    ] {
        judged(name, &case);
    }
}
