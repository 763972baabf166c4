//! A real broker of one test, to be killed, frozen and started again: `scripts/kafka.sh` with ports and data of its own.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A running broker with one topic; stopped at the end.
pub struct OwnKafka {
    dir: TempDir,
    ports: [u16; 2],
    pub topic: String,
}

impl OwnKafka {
    /// A broker on free ports with `topic`.
    pub fn start(topic: &str, partitions: i32) -> Self {
        let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let kafka = Self {
            dir: tempfile::Builder::new().prefix("medallion-kafka").tempdir().unwrap(),
            ports: free.each_ref().map(|listener| listener.local_addr().unwrap().port()),
            topic: topic.to_owned(),
        };
        drop(free);
        kafka.script(&["start"]);
        let none = std::collections::BTreeMap::new();
        let config = [("retention.ms", "-1")];
        let made = medallion::source::produce::ensure_topic(&kafka.address(), &none, topic, partitions, &config);
        assert!(made.unwrap());
        kafka
    }

    /// Its address, `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    /// Kills it at once, as a crash does; returns when it is gone.
    pub fn kill(&self) {
        let pid = self.pid();
        self.signal("KILL");
        let begun = Instant::now();
        while alive(&pid) {
            assert!(begun.elapsed() < Duration::from_secs(20), "pid {pid} does not die");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts it again on its data; returns when it answers.
    pub fn start_again(&self) {
        self.script(&["start", "--keep"]);
    }

    /// Sends it a signal: `KILL`, `STOP` or `CONT`.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{signal} {}", self.pid())])
            .status();
        assert!(sent.unwrap().success(), "{signal}");
    }

    fn pid(&self) -> String {
        let pid = std::fs::read_to_string(self.dir.path().join("pid")).unwrap();
        pid.trim().to_owned()
    }

    fn script(&self, args: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/kafka.sh");
        let done = Command::new(script)
            .args(args)
            .env("MEDALLION_KAFKA_DIR", self.dir.path())
            .env("MEDALLION_KAFKA_PORT", self.ports[0].to_string())
            .env("MEDALLION_KAFKA_CONTROLLER_PORT", self.ports[1].to_string())
            .env("MEDALLION_KAFKA_HEAP", "384m")
            .env_remove("MEDALLION_KAFKA_PROPERTIES")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(done.unwrap().success(), "scripts/kafka.sh {args:?}");
    }
}

impl Drop for OwnKafka {
    fn drop(&mut self) {
        if alive(&self.pid()) {
            // A frozen broker does not hear that it should stop.
            self.signal("CONT");
            self.script(&["stop"]);
        }
    }
}

/// Whether there is such a process; one that was killed and not yet waited for is not.
fn alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| {
        !stat
            .rsplit_once(')')
            .is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
    })
}
