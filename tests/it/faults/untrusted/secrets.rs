//! A secret goes to the broker or the store and nowhere else: not into logs at their loudest, metrics, errors, results
//! or files.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use medallion::definition::load_one;
use medallion::definition::settings::load_settings;

use super::exposure::Running;
use crate::support::command::medallion;
use crate::support::project::{PIPELINE, Project};
use crate::support::s3::{ConditionalPut, SECRET_KEY, Server};

const SECRET: &str = "hunter2/Its+Long=%41&odd~Value";
/// What librdkafka says of a broker that is not there.
const REFUSED: &str = "Connect to ipv4#127.0.0.1:1 failed";
/// Long enough for a client to try again and complain several times.
const A_WHILE: Duration = Duration::from_millis(500);

/// The secret as it is, percent-encoded, and in base64 at each of the three places that it can have in a longer text.
fn forms(secret: &str) -> Vec<String> {
    let percent: String = secret
        .bytes()
        .map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect();
    let mut forms = vec![secret.to_owned(), percent];
    for place in 0..3 {
        let mut padded = vec![b':'; place];
        padded.extend_from_slice(secret.as_bytes());
        // The first and the last letters depend on what stands around it.
        let encoded = base64(&padded);
        let inner = &encoded[if place == 0 { 0 } else { 4 }..encoded.len() - 4];
        forms.push(inner.to_owned());
        forms.push(inner.replace('+', "-").replace('/', "_"));
    }
    forms
}

fn base64(bytes: &[u8]) -> String {
    let letters: Vec<char> = ('A'..='Z')
        .chain('a'..='z')
        .chain('0'..='9')
        .chain(['+', '/'])
        .collect();
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0, |word, at| {
            word << 8 | usize::from(chunk.get(at).copied().unwrap_or(0))
        });
        for at in 0..4 {
            text.push(if at <= chunk.len() {
                letters[word >> (18 - 6 * at) & 63]
            } else {
                '='
            });
        }
    }
    text
}

#[track_caller]
fn assert_hidden(secret: &str, text: &str, what: &str) {
    for form in forms(secret) {
        if let Some(at) = text.find(&form) {
            let start = text[..at].rfind('\n').map_or(0, |start| start + 1);
            let line = text[start..].lines().next().unwrap_or_default();
            panic!("{what} shows the secret as {form}: {line}");
        }
    }
}

/// Asserts that no file under `folder` has the secret in it, but those named.
fn assert_no_file_has(secret: &str, folder: &Path, but: &[&str]) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            count += assert_no_file_has(secret, &path, but);
        } else if !but.contains(&path.file_name().unwrap().to_str().unwrap()) {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            assert_hidden(secret, &text, &path.display().to_string());
            count += 1;
        }
    }
    count
}

/// A command with the secret in its environment, as loud as it can be.
fn loud(project: &Project, args: &[&str]) -> Command {
    let mut command = medallion(project.path());
    command.args(args).args(["--log", "trace"]).env("THE_SECRET", SECRET);
    command
}

/// The end of a log, for a message.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// Everything that a command says, once it has ended.
fn said(mut command: Command) -> (Option<i32>, String) {
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// The pipeline on a broker that is not there, with every kind of secret that can be declared.
fn on_kafka() -> Project {
    let project = Project::new(60, 70);
    project.write("secret.txt", &format!("{SECRET}\n"));
    project.write(
        "layers/view_log/bronze.toml",
        r#"
        [source]
        kind = "kafka"
        brokers = "127.0.0.1:1"
        topic = "t"
        [source.options]
        debug = "all"
        "security.protocol" = "sasl_plaintext"
        "sasl.mechanism" = "PLAIN"
        "sasl.username" = "someone"
        "sasl.password" = { env = "THE_SECRET" }
        "ssl.key.password" = { file = "secret.txt" }
        "ssl.keystore.password" = "${THE_SECRET:?must be set}"
        "#,
    );
    project
}

fn metrics(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn secrets_of_kafka_are_in_no_log_metric_or_file() {
    let project = on_kafka();
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let running = Running::start(loud(&project, &["run", "-p", PIPELINE, "--metrics", &address]));
    let log = running.log_past(REFUSED, A_WHILE);
    // librdkafka did say what it is configured with, and that it tried.
    assert!(
        log.contains("sasl.password = [redacted]") && log.contains(REFUSED),
        "{}",
        tail(&log)
    );
    assert_hidden(SECRET, &log, "the log");
    let metrics = metrics(&address);
    assert!(metrics.contains("medallion_"), "{metrics}");
    assert_hidden(SECRET, &metrics, "/metrics");
    drop(running);
    let mut options = vec![
        "debug=all",
        "security.protocol=sasl_plaintext",
        "sasl.mechanism=PLAIN",
        "sasl.username=a",
    ];
    options.extend(["sasl.password=env:THE_SECRET", "ssl.key.password=file:secret.txt"]);
    let mut args = vec!["produce", "--topic", "t", "--brokers", "127.0.0.1:1"];
    args.extend(options.iter().flat_map(|option| ["-X", option]));
    // It makes the topic first, and waits for that.
    let log = Running::start(loud(&project, &args)).log_past("Admin polling thread loop started", A_WHILE);
    assert!(log.contains("Admin polling"), "{}", tail(&log));
    assert_hidden(SECRET, &log, "the producer's log");
    for args in [
        &["status", "--output", "json"][..],
        &["check", "--output", "json"],
        &["query", "select 1", "--output", "json"],
    ] {
        let (_, text) = said(loud(&project, args));
        assert_hidden(SECRET, &text, &format!("{args:?}"));
    }
    let files = assert_no_file_has(SECRET, project.path(), &["secret.txt"]);
    assert!(files >= 5, "{files} files");
    let env = |name: &str| (name == "THE_SECRET").then(|| SECRET.to_owned());
    let pipeline = load_one(project.path(), PIPELINE, &env).unwrap();
    assert_hidden(SECRET, &format!("{pipeline:#?}"), "Debug of the pipeline");
}

#[test]
fn a_secret_that_is_refused_is_not_quoted() {
    let project = on_kafka();
    let bronze = project.read("layers/view_log/bronze.toml");
    for option in [
        "\"ssl.key.pem\" = { env = \"THE_SECRET\" }",
        "\"ssl.ca.pem\" = { env = \"THE_SECRET\" }",
        "\"ssl.certificate.pem\" = { file = \"secret.txt\" }",
        "\"sasl.oauthbearer.method\" = { env = \"THE_SECRET\" }",
        "\"sasl.oauthbearer.client.secret\" = \"${THE_SECRET}\"",
        "\"no.such.token\" = { env = \"THE_SECRET\" }",
        "\"sasl.jaas.config\" = { env = \"THE_SECRET\" }",
    ] {
        // Refused when TLS is set up, so it must be asked for.
        let tls = bronze.replace("sasl_plaintext", "sasl_ssl");
        project.write("layers/view_log/bronze.toml", &format!("{tls}\n{option}\n"));
        let (code, text) = said(loud(&project, &["run", "-p", PIPELINE, "--once"]));
        assert!(matches!(code, Some(1 | 4)), "{option}: {code:?} {text}");
        assert_hidden(SECRET, &text, option);
    }
    // The one option whose value librdkafka quotes where it cannot read it.
    let quoted = bronze.replace("\"PLAIN\"", "\"OAUTHBEARER\"").replace(
        "\"sasl.username\" = \"someone\"",
        "\"enable.sasl.oauthbearer.unsecure.jwt\" = true",
    );
    let quoted = format!("{quoted}\n\"sasl.oauthbearer.config\" = {{ env = \"THE_SECRET\" }}\n");
    project.write("layers/view_log/bronze.toml", &quoted);
    let log =
        Running::start(loud(&project, &["run", "bronze", "-p", PIPELINE])).log_past("oauthbearer.config", A_WHILE);
    assert!(log.contains("sasl.oauthbearer.config = [redacted]"), "{}", tail(&log));
    assert_hidden(SECRET, &log, "the log");
}

#[test]
fn a_secret_in_the_wrong_place_is_refused_without_being_repeated() {
    let project = Project::new(60, 70);
    project.write("long.txt", &SECRET.repeat(1 << 16));
    for args in [
        vec!["produce", "--topic", "t", "-X", &format!("sasl.password={SECRET}")],
        vec!["produce", "--topic", "t", "-X", &format!("ssl.key.pem={SECRET}")],
        vec!["produce", "--topic", "t", "-X", &SECRET.replace('=', ":")],
        vec!["produce", "--topic", "t", "-X", "sasl.password=file:long.txt"],
        vec!["status", "--lake", &format!("s3://someone:{SECRET}@bucket/lake")],
        vec!["status", "--lake", &format!("s3://bucket/lake?token={SECRET}")],
        vec!["status", "--lake", &format!("ftp://someone:{SECRET}@host/lake")],
    ] {
        let (code, text) = said(loud(&project, &args));
        assert_eq!(code, Some(2), "{args:?}: {text}");
        let repeated = if args.contains(&"-X") && text.contains("one -X") {
            &SECRET[..7]
        } else {
            SECRET
        };
        assert_hidden(SECRET, &text, &format!("{args:?}"));
        assert!(!text.contains(repeated), "{text}");
    }
    let settings = [
        format!("[store]\naws_secret_access_key = \"{SECRET}\"\n"),
        format!("[store]\naws_session_token = \"{SECRET}\"\nx = 1\n"),
        "[store]\naws_secret_access_key = { env = \"THE_SECRET\", file = \"x\" }\nlakes = 1\n".to_owned(),
        "[store]\nno_such_key = { env = \"THE_SECRET\" }\nno_option = { env = \"THE_SECRET\" }\n".to_owned(),
        "[store]\naws_secret_access_key = { file = \"long.txt\" }\n".to_owned(),
    ];
    for text in settings {
        project.write("medallion.toml", &text);
        let (code, said) = said(loud(&project, &["status", "--lake", "s3://bucket/lake"]));
        assert_eq!(code, Some(4), "{text}: {said}");
        assert_hidden(SECRET, &said, "the problems of medallion.toml");
    }
}

#[test]
fn secrets_of_the_store_are_in_no_log_and_no_error() {
    let server = Server::start(ConditionalPut::Kept);
    let project = Project::new(60, 70);
    project.events("a.ndjson", 0..40);
    project.write("medallion.toml", &server.settings("THE_STORE_SECRET"));
    let run = |args: &[&str], secret: &str| {
        let mut command = loud(&project, &[args, &["--lake", "s3://bucket/lake"]].concat());
        command.env("THE_STORE_SECRET", secret).env("AWS_SESSION_TOKEN", SECRET);
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT"] {
            command.env_remove(name);
        }
        command
    };
    for (args, code) in [
        (&["run", "-p", PIPELINE, "--once", "--close-windows"][..], 0),
        (&["status", "--output", "json"], 0),
        (&["query", "select count(*) from silver", "--output", "json"], 0),
        (&["maintain", "-p", PIPELINE], 0),
        (&["audit", "-p", PIPELINE, "--output", "json"], 0),
    ] {
        let (found, text) = said(run(args, SECRET_KEY));
        assert_eq!(found, Some(code), "{args:?}: {text}");
        assert!(
            text.contains("TRACE") && text.contains("DEBUG"),
            "{args:?} is not loud: {text}"
        );
        assert_hidden(SECRET_KEY, &text, &format!("{args:?}"));
        assert_hidden(SECRET, &text, &format!("{args:?} (session token)"));
    }
    // A secret that the store refuses.
    let (code, text) = said(run(&["run", "-p", PIPELINE, "--once"], SECRET));
    assert!(code == Some(1) && text.contains("s3://bucket/lake"), "{text}");
    assert_hidden(SECRET, &text, "the refusal");
    // A store that is not there.
    let nowhere = server.settings("THE_STORE_SECRET");
    let endpoint = nowhere.lines().find(|line| line.starts_with("aws_endpoint")).unwrap();
    project.write(
        "medallion.toml",
        &nowhere.replace(endpoint, "aws_endpoint = \"http://127.0.0.1:1\""),
    );
    let log = Running::start(run(&["run", "-p", PIPELINE, "--once"], SECRET)).log_past("127.0.0.1:1", A_WHILE);
    assert!(log.contains("127.0.0.1:1"), "{}", tail(&log));
    assert_hidden(SECRET, &log, "the log without a store");
    let env = |name: &str| (name == "THE_STORE_SECRET").then(|| SECRET.to_owned());
    let settings = load_settings(project.path(), &env).unwrap();
    assert_hidden(SECRET, &format!("{settings:#?}"), "Debug of the settings");
}
