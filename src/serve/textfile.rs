//! The metrics as a file for node-exporter's textfile collector: what a run that has ended can show no more over HTTP.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::error::{Error, Kind, Result};
use crate::metrics::Exporter;

/// How often it is written while a run lasts.
const WRITE_EVERY: Duration = Duration::from_secs(15);
/// The prefix of what every program says of itself. node-exporter says it of itself under the same names, and refuses
/// to say it twice.
const OF_THE_PROCESS: &str = "process_";

/// A file that holds the metrics of a run as they are, and after it as they were at its end.
pub struct Textfile {
    path: PathBuf,
    exporter: Exporter,
    /// Whether the run has ended. Held while the file is written, so that nothing older comes after the last.
    ended: Arc<Mutex<bool>>,
}

impl Textfile {
    /// Writes `path` from now on, every few seconds, on `runtime`. What it says of an earlier run stays until then.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] where there is no such directory.
    pub fn start(path: PathBuf, exporter: Exporter, runtime: &Handle) -> Result<Self> {
        let directory = path.parent().unwrap_or(Path::new(""));
        if !directory.is_dir() {
            let message = format!("metrics_file: there is no directory {}", directory.display());
            return Err(Error::new(Kind::Unavailable, message)
                .with_next("make the directory that node-exporter's --collector.textfile.directory names"));
        }
        let ended = Arc::<Mutex<bool>>::default();
        let file = Self { path, exporter, ended };
        let (path, exporter, ended) = (file.path.clone(), file.exporter.clone(), file.ended.clone());
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(WRITE_EVERY).await;
                let over = ended.lock().unwrap_or_else(PoisonError::into_inner);
                if *over {
                    return;
                }
                write(&path, &exporter);
            }
        });
        Ok(file)
    }

    /// The run has ended: writes what was measured of it. It never fails; what cannot be written is told in the log.
    pub fn end(self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        write(&self.path, &self.exporter);
    }
}

fn write(path: &Path, exporter: &Exporter) {
    if let Err(error) = replace(path, &without_the_process(&exporter.text())) {
        tracing::warn!(file = %path.display(), %error, "the metrics file is not written; what it says is old");
    }
}

/// Makes `text` the content of `path` at one stroke: who reads it sees the old text or the new.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Two processes may have the same file by mistake. What does not end in .prom is left alone by node-exporter.
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let replaced = fs::write(&beside, text).and_then(|()| fs::rename(&beside, path));
    if replaced.is_err() {
        let _never_written = fs::remove_file(&beside);
    }
    replaced
}

/// The text without the families that every program has.
fn without_the_process(text: &str) -> String {
    let of_the_process = |line: &str| {
        let head = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE "));
        head.unwrap_or(line).starts_with(OF_THE_PROCESS)
    };
    let kept = text.split_inclusive('\n').filter(|line| !of_the_process(line));
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_program_says_of_itself_is_left_out_and_nothing_else() {
        let text = "# HELP a_total process_ is in its help\n# TYPE a_total counter\na_total 1\n\n\
                    # HELP process_threads Number.\n# TYPE process_threads gauge\nprocess_threads 4\n\n\
                    # TYPE my_process_x gauge\nmy_process_x{p=\"process_\"} 2\n";
        let kept = without_the_process(text);
        assert_eq!(kept.lines().filter(|line| !line.is_empty()).count(), 5, "{kept}");
        assert!(!kept.contains("process_threads"), "{kept}");
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.prom");
        replace(&path, "old").unwrap();
        replace(&path, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let gone = folder.path().join("gone/a.prom");
        assert!(replace(&gone, "text").is_err());
        fs::create_dir(folder.path().join("b.prom")).unwrap();
        assert!(replace(&folder.path().join("b.prom"), "text").is_err());
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            2,
            "what was written in vain is gone"
        );
    }
}
