//! Who can reach us, and who can overhear us: loopback unless told, and a word where told otherwise.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::support::command::{call, medallion};
use crate::support::project::{PIPELINE, Project};

const PATIENCE: Duration = Duration::from_secs(60);
/// An address for documentation: nobody has it, and nothing can be bound to it.
const NOBODY: &str = "192.0.2.1";

/// A running medallion and the lines of its log; killed at the end.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    pub fn start(mut command: std::process::Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (tell, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.split(b'\n').map_while(Result::ok) {
                if tell.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
            }
        });
        Self { child, lines }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its log up to the first line that has these words, and for a while after it; all of it where none has them.
    pub fn log_past(&self, words: &str, a_while: Duration) -> String {
        self.read(PATIENCE, |line| line.contains(words)) + &self.log(a_while)
    }

    /// Its log lines for so long.
    pub fn log(&self, longest: Duration) -> String {
        self.read(longest, |_| false)
    }

    fn read(&self, longest: Duration, last: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        let mut text = String::new();
        loop {
            match self.lines.recv_timeout(longest.saturating_sub(began.elapsed())) {
                Ok(line) => {
                    text = text + &line + "\n";
                    if last(&line) {
                        return text;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return text,
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The addresses that a process listens on, as the kernel knows them.
fn listening(process: u32) -> BTreeSet<IpAddr> {
    let of = Path::new("/proc").join(process.to_string());
    let Ok(files) = fs::read_dir(of.join("fd")) else {
        return BTreeSet::new();
    };
    let sockets: BTreeSet<String> = files
        .filter_map(|file| fs::read_link(file.ok()?.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut found = BTreeSet::new();
    for table in ["tcp", "tcp6"] {
        let text = fs::read_to_string(of.join("net").join(table)).unwrap_or_default();
        for line in text.lines().skip(1) {
            let columns: Vec<&str> = line.split_whitespace().collect();
            // The fourth column is the state, 0A is listening; the tenth is the socket's inode.
            if columns[3] == "0A" && sockets.contains(columns[9]) {
                found.insert(address(columns[1].split(':').next().unwrap()));
            }
        }
    }
    found
}

/// Words of 32 bits in the host's own order.
fn address(hex: &str) -> IpAddr {
    let words: Vec<u8> = (0..hex.len() / 8)
        .flat_map(|word| {
            u32::from_str_radix(&hex[word * 8..word * 8 + 8], 16)
                .unwrap()
                .to_ne_bytes()
        })
        .collect();
    match <[u8; 4]>::try_from(words.as_slice()) {
        Ok(four) => Ipv4Addr::from(four).into(),
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(words.as_slice()).unwrap()).into(),
    }
}

/// Waits until the process listens, and asserts that it does so on loopback only.
fn assert_loopback_only(running: &Running) {
    let began = Instant::now();
    while listening(running.id()).is_empty() {
        assert!(
            began.elapsed() < PATIENCE,
            "it listens nowhere: {}",
            running.log(Duration::ZERO)
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    // What else it opens, it opens soon.
    std::thread::sleep(Duration::from_millis(500));
    let found = listening(running.id());
    assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback), "{found:?}");
}

#[test]
fn the_kernel_tells_where_a_socket_listens() {
    let socket = TcpListener::bind(("127.0.0.3", 0)).unwrap();
    let found = listening(std::process::id());
    assert!(found.contains(&socket.local_addr().unwrap().ip()), "{found:?}");
}

#[test]
fn metrics_and_the_embedded_broker_listen_on_loopback_only() {
    let project = Project::new(60, 70);
    project.events("a.ndjson", 0..20);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = medallion(project.path());
    command.args(["run", "-p", PIPELINE, "--metrics", &format!("127.0.0.1:{port}")]);
    assert_loopback_only(&Running::start(command));

    // The demo reads a topic, so its pipeline is the shipped one.
    let shipped =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("layers/view_log/bronze.toml")).unwrap();
    project.write("layers/view_log/bronze.toml", &shipped);
    let mut command = medallion(project.path());
    command.args(["demo", "--events", "1000000", "--lake", "demo_lake"]);
    assert_loopback_only(&Running::start(command));
}

#[test]
fn metrics_for_everyone_are_warned_about() {
    let project = Project::new(60, 70);
    project.events("a.ndjson", 0..20);
    let run = |address: &str| call(project.path(), &["run", "-p", PIPELINE, "--once", "--metrics", address]);
    // Asked for and warned about, even where it then cannot be bound, as here.
    let said = run(&format!("{NOBODY}:9464"));
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert_eq!(said.err.matches("without a password").count(), 1, "{}", said.err);
    assert!(!run("127.0.0.1:0").err.contains("without a password"));
}

/// How often a command warns of an unencrypted connection until it has said `last`.
fn warnings(brokers: &str, protocol: &str, args: &[&str], last: &str) -> usize {
    let project = Project::new(60, 70);
    project.write(
        "layers/view_log/bronze.toml",
        &format!(
            "source = {{ kind = \"kafka\", brokers = \"{brokers}\", topic = \"t\", options = {{ \"security.protocol\" = \"{protocol}\" }} }}\n"
        ),
    );
    let mut command = medallion(project.path());
    command.args(args).args(["--log", "debug"]);
    let log = Running::start(command).log_past(last, Duration::from_millis(300));
    assert!(log.contains(last), "{args:?}: {log}");
    log.matches("the connection to Kafka is not encrypted").count()
}

#[test]
fn an_unencrypted_connection_to_another_host_is_warned_about_once() {
    let elsewhere = format!("localhost:1,{NOBODY}:9092");
    let run = ["run", "bronze", "-p", PIPELINE];
    let produce = ["produce", "--topic", "t", "--brokers", &elsewhere];
    // librdkafka complains once it has tried; by then the warning is out.
    let cases: [(&str, &str, &[&str], &str, usize); 4] = [
        (&elsewhere, "plaintext", &run, "failed", 1),
        (&elsewhere, "ssl", &run, "failed", 0),
        ("localhost:1,127.0.0.1:2", "plaintext", &run, "failed", 0),
        (&elsewhere, "plaintext", &produce, "not encrypted", 1),
    ];
    std::thread::scope(|scope| {
        for (brokers, protocol, args, last, times) in cases {
            scope.spawn(move || {
                let warned = warnings(brokers, protocol, args, last);
                assert_eq!(warned, times, "{brokers} {protocol} {args:?}");
            });
        }
    });
}
