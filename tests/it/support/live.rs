//! The real program running, seen as an operator sees it: by its metrics, its log and its exit code.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::command::{Said, ended, medallion};
use super::project::{PIPELINE, Project};

/// How long something may take that is sure to come.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A running program; killed if the test ends before it does.
pub struct Live {
    child: RefCell<Option<Child>>,
    address: SocketAddr,
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(child) = self.child.get_mut() {
            let _already_gone = child.kill();
            let _reaped = child.wait();
        }
    }
}

impl Live {
    /// `medallion run` on a project, with a metrics port that was free a moment ago.
    pub fn start(project: &Project) -> Self {
        let address = free_address();
        let child = medallion(project.path())
            .env("MEDALLION_METRICS", address.to_string())
            .args(["run", "-p", PIPELINE])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            child: RefCell::new(Some(child)),
            address,
        }
    }

    /// The sample of `name` that has all `labels`; none while nobody answers or there is none.
    pub fn sample(&self, name: &str, labels: &[&str]) -> Option<f64> {
        sample(&get(self.address, "/metrics")?, name, labels)
    }

    /// Waits until the sample fits. Returns how long that took.
    #[track_caller]
    pub fn wait_for(&self, name: &str, labels: &[&str], fits: impl Fn(f64) -> bool) -> Duration {
        let began = Instant::now();
        loop {
            let value = self.sample(name, labels);
            if value.is_some_and(&fits) {
                return began.elapsed();
            }
            self.assert_running();
            if began.elapsed() > PATIENCE {
                let said = self.killed();
                panic!("{name} {labels:?} is {value:?} after {PATIENCE:?}: {}", said.err);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The code and the body of the answer to `GET path`.
    pub fn ask(&self, path: &str) -> (u16, String) {
        ask(self.address, path).unwrap()
    }

    /// What a probe of the process is answered: the code and the layers' states by name.
    pub fn probe(&self, path: &str) -> (u16, BTreeMap<String, String>) {
        let (code, body) = self.ask(path);
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let layers = body["layers"].as_array().unwrap().iter();
        let states = layers.map(|layer| ["layer", "state"].map(|key| layer[key].as_str().unwrap().to_owned()));
        (code, states.map(|[layer, state]| (layer, state)).collect())
    }

    /// Waits until every layer has passed `seq`. Returns how long that took.
    #[track_caller]
    pub fn wait_until_all_reach(&self, seq: f64) -> Duration {
        let began = Instant::now();
        for layer in ["bronze", "silver", "gold"] {
            let label = format!("layer=\"{layer}\"");
            self.wait_for("medallion_position_seq", &[&label], |position| position >= seq);
        }
        began.elapsed()
    }

    /// Fails with what the program said if it has ended.
    #[track_caller]
    fn assert_running(&self) {
        let mut child = self.child.borrow_mut();
        if child.as_mut().unwrap().try_wait().unwrap().is_none() {
            return;
        }
        let said = ended(child.take().unwrap());
        panic!("the program has ended with {:?}: {}", said.code, said.err);
    }

    /// Ends it at once, and gives what it said until then.
    fn killed(&self) -> Said {
        let mut child = self.child.borrow_mut().take().unwrap();
        child.kill().unwrap();
        ended(child)
    }

    /// Sends a signal: `TERM`, `INT`, `STOP`, ...
    pub fn signal(&self, name: &str) {
        let pid = self.child.borrow().as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// What it said, once it has ended by itself.
    pub fn ended(self) -> Said {
        let child = self.child.borrow_mut().take();
        ended(child.unwrap())
    }

    /// Asks it to end, and gives what it said.
    pub fn end(self) -> Said {
        self.signal("TERM");
        let child = self.child.borrow_mut().take();
        ended(child.unwrap())
    }
}

/// An address that was free a moment ago.
pub fn free_address() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
}

/// The body of `GET path`, which is found, or none while nobody answers.
pub fn get(address: SocketAddr, path: &str) -> Option<String> {
    let (code, body) = ask(address, path)?;
    assert_eq!(code, 200, "{path}: {body}");
    Some(body)
}

/// The code and the body of the answer to `GET path`, or none while nobody answers.
pub fn ask(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let code = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((code, body.to_owned()))
}

/// The value of the sample of `name` that has all `labels`.
pub fn sample(body: &str, name: &str, labels: &[&str]) -> Option<f64> {
    body.lines()
        .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')))
        .find(|line| labels.iter().all(|label| line.contains(label)))
        .and_then(|line| line.rsplit(' ').next()?.parse().ok())
}
