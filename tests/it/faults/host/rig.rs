//! A live run whose words are read while it speaks, and small file systems of one's own.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::command::{done, medallion};
use crate::support::project::{PIPELINE, Project, memory_lake};
use crate::support::rows::{assert_same, rows};

/// Waits are for slow machines; what takes this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The project with live commits five times a second.
pub fn lively(bronze_rows: usize, silver_rows: usize) -> Project {
    let project = Project::new(bronze_rows, silver_rows);
    let bronze = format!(
        "source = {{ kind = \"files\", paths = [\"input/*\"] }}\n\
         commit = {{ max_rows = {bronze_rows}, max_delay = \"200ms\" }}\n"
    );
    project.write("layers/view_log/bronze.toml", &bronze);
    // One file a commit: a table on a small file system has room for many.
    let gold = project.read("layers/view_log/gold.toml");
    let gold = gold.replace(
        "partition_by = [\"network_id\", \"minute_timestamp\"]",
        "partition_by = []",
    );
    project.write("layers/view_log/gold.toml", &gold);
    project
}

/// The command that takes everything to its end.
pub const ONCE: [&str; 5] = ["run", "-p", PIPELINE, "--once", "--close-windows"];

/// The project after a first run over some events.
pub fn begun() -> Project {
    let project = lively(60, 70);
    project.events("a.ndjson", 0..200);
    done(project.path(), &["run", "-p", PIPELINE, "--once"]);
    project
}

/// Everything must be as if nothing had been.
pub fn assert_as_undisturbed(project: &Project, when: &str) {
    done(project.path(), &ONCE);
    done(project.path(), &["audit", "-p", PIPELINE]);
    let (wanted, _) = memory_lake();
    project.run(&wanted).unwrap();
    assert_same(&rows(&project.lake()), &rows(&wanted), when);
}

/// Lets `command`, which ends with the program, run the project once.
pub fn once(project: &Project, mut command: Command) -> Output {
    command
        .args(["run", "-p", PIPELINE, "--once", "--log", "error"])
        .current_dir(project.path())
        .env("MEDALLION_METRICS", "off")
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap()
}

/// A live `run` of the project.
pub struct Live {
    child: Child,
    log: PathBuf,
}

impl Live {
    /// Starts it; its stderr goes into a file of the project.
    pub fn start(project: &Project) -> Self {
        let log = project.path().join("stderr");
        let child = medallion(project.path())
            .args(["run", "-p", PIPELINE])
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log }
    }

    /// What it has said on stderr.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// How many lines it has said with all of these words in it, after the first `seen` bytes.
    pub fn lines(&self, seen: usize, words: &[&str]) -> usize {
        let said = self.said();
        let with_all = |line: &&str| words.iter().all(|word| line.contains(word));
        said[seen..].lines().filter(with_all).count()
    }

    /// Waits until it says a line with all of these words after the first `seen` bytes.
    pub fn wait(&mut self, seen: usize, words: &[&str]) {
        let begun = Instant::now();
        while self.lines(seen, words) == 0 {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended before it said {words:?}: {}", self.said());
            assert!(begun.elapsed() < PATIENCE, "it never says {words:?}: {}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Asks it to stop; it must do so with exit code 0. Returns all that it said.
    pub fn stop(mut self) -> String {
        signal("-TERM", &self.child);
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < PATIENCE, "it does not stop: {}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{}", self.said());
        self.said()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // A test that failed leaves nothing running; one that passed has nothing left to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(name: &str, child: &Child) {
    let sent = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
}

/// A tool that a fault needs; without it the test fails and says what to install.
pub fn tool(name: &str) -> Command {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {name}")])
        .output()
        .unwrap();
    assert!(
        found.status.success(),
        "{name} is missing: apt-get install strace util-linux mount gcc"
    );
    Command::new(name)
}

/// A file system in memory over a directory, with what the directory held; unmounted at the end.
pub struct Mount {
    at: PathBuf,
}

impl Mount {
    /// Mounts one of `kib` KiB over `directory`.
    pub fn over(directory: &Path, kib: u32) -> Self {
        let kept = tempfile::tempdir().unwrap();
        copy(directory, kept.path());
        let size = format!("size={kib}k");
        let mounted = tool("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(directory)
            .output()
            .unwrap();
        assert!(
            mounted.status.success(),
            "cannot mount a file system over {} (these tests need root or CAP_SYS_ADMIN): {}",
            directory.display(),
            String::from_utf8_lossy(&mounted.stderr)
        );
        let mount = Self {
            at: directory.to_owned(),
        };
        copy(kept.path(), directory);
        mount
    }

    /// Fills it to the last byte.
    pub fn fill(&self) {
        let mut filler = File::create(self.filler()).unwrap();
        for piece in [1 << 12, 1 << 8, 1] {
            while filler.write_all(&vec![0; piece]).is_ok() {}
        }
    }

    /// Gives the space back.
    pub fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    /// Makes it read-only, or writable again.
    pub fn writable(&self, writable: bool) {
        let option = if writable { "remount,rw" } else { "remount,ro" };
        let done = Command::new("mount")
            .args(["-o", option])
            .arg(&self.at)
            .status()
            .unwrap();
        assert!(done.success(), "{option} of {}", self.at.display());
    }

    fn filler(&self) -> PathBuf {
        self.at.join("_filler")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp")
        .arg("-a")
        .arg(from.join("."))
        .arg(to)
        .status()
        .unwrap();
    assert!(done.success(), "copying {}", from.display());
}
