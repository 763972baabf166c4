//! The shipped `view_log` pipeline in a project of its own, reading generated events from files.

use std::fmt::Write;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use medallion::definition::{Pipeline, load_one};
use medallion::source::generator::{Generator, GeneratorConfig};
use tempfile::TempDir;

const SHIPPED: [&str; 4] = [
    "layers/view_log/silver.toml",
    "layers/view_log/gold.toml",
    "schemas/view_log.json",
    "data/campaigns.csv",
];
const BRONZE: &str = r#"[source]
kind = "files"
paths = ["in/*.ndjson"]

[commit]
max_rows = 500
max_delay = "100ms"
"#;

/// A project directory, removed at the end.
pub struct Project {
    folder: TempDir,
}

impl Project {
    /// The project without any events.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let project = Self { folder };
        for file in SHIPPED {
            let text = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
            project.write(file, &text);
        }
        project.write("layers/view_log/bronze.toml", BRONZE.as_bytes());
        project
    }

    /// The project over a Kafka topic, with quick commits and an impatient watch over its source.
    pub fn over_kafka(brokers: &str, topic: &str) -> Self {
        let project = Self::new();
        let text = format!(
            "[source]\nkind = \"kafka\"\nbrokers = \"{brokers}\"\ntopic = \"{topic}\"\nstalled_after = \"1s\"\n\n\
             [commit]\nmax_delay = \"100ms\"\n"
        );
        project.write("layers/view_log/bronze.toml", text.as_bytes());
        project
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The pipeline as declared.
    pub fn pipeline(&self) -> Pipeline {
        load_one(self.path(), "view_log", &|_| None).unwrap()
    }

    /// Adds a file with these events of the generator; returns the number of its lines.
    pub fn add_events(&self, name: &str, events: Range<u64>) -> usize {
        let generator = Generator::new(GeneratorConfig {
            events_per_second: 20,
            ..GeneratorConfig::default()
        });
        let mut text = String::new();
        for index in events {
            // A file has neither tombstones nor bytes that are not text; a line ends where it ends.
            if let Some(value) = generator.event(index).value
                && let Ok(value) = String::from_utf8(value)
                && !value.contains(['\n', '\r'])
            {
                writeln!(text, "{value}").unwrap();
            }
        }
        self.write(&format!("in/{name}.ndjson"), text.as_bytes());
        text.lines().count()
    }

    /// Puts a file into place at once, as a source of files wants it.
    pub fn write(&self, file: &str, bytes: &[u8]) {
        let path: PathBuf = self.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let unfinished = path.with_extension("unfinished");
        fs::write(&unfinished, bytes).unwrap();
        fs::rename(unfinished, path).unwrap();
    }
}
