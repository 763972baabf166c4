//! A project directory of its own: the shipped `view_log` pipeline, reading files instead of Kafka.

use std::fs;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use medallion::audit::{Report, audit};
use medallion::clock::Clock;
use medallion::definition::{Pipeline, load_one};
use medallion::error::Result;
use medallion::run::wake::Stop;
use medallion::run::{Components, Layer, Options, Summary, run};
use medallion::source::generator::{ExpectedFate, Flaw, Generator, GeneratorConfig};
use medallion::table::Lake;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use url::Url;

/// The name of the pipeline.
pub const PIPELINE: &str = "view_log";
/// The wall clock of in-process runs, which stands still: 2024-06-01.
pub const NOW: i64 = 1_717_200_000_000_000;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// A project in a directory that goes away with it, unless it is another's.
pub struct Project {
    folder: PathBuf,
    _own: Option<TempDir>,
}

impl Project {
    /// The shipped pipeline in steps of at most `bronze_rows` and `silver_rows` rows.
    pub fn new(bronze_rows: usize, silver_rows: usize) -> Self {
        let own = tempfile::tempdir().unwrap();
        let project = Self {
            folder: own.path().to_owned(),
            _own: Some(own),
        };
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR"));
        for file in [
            "layers/view_log/silver.toml",
            "layers/view_log/gold.toml",
            "schemas/view_log.json",
            "data/campaigns.csv",
        ] {
            project.write(file, &fs::read_to_string(shipped.join(file)).unwrap());
        }
        let bronze = format!(
            "source = {{ kind = \"files\", paths = [\"input/*\"] }}\ncommit = {{ max_rows = {bronze_rows} }}\n"
        );
        project.write("layers/view_log/bronze.toml", &bronze);
        let silver = project.read("layers/view_log/silver.toml");
        let silver = format!("commit = {{ max_rows = {silver_rows} }}\n{silver}");
        project.write("layers/view_log/silver.toml", &silver);
        project
    }

    /// Lets bronze wait no longer than `delay` before it commits what it has.
    pub fn commits_after(&self, delay: &str) {
        let bronze = self.read("layers/view_log/bronze.toml");
        let with = format!("max_delay = \"{delay}\", max_rows");
        self.write("layers/view_log/bronze.toml", &bronze.replace("max_rows", &with));
    }

    /// The project that another process has made at `path`.
    pub fn at(path: &Path) -> Self {
        Self {
            folder: path.to_owned(),
            _own: None,
        }
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Replaces a file of the project.
    pub fn write(&self, file: &str, text: &str) {
        let path = self.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Adds text at the end of a file of the project.
    pub fn append(&self, file: &str, text: &str) {
        self.write(file, &format!("{}{text}", self.read(file)));
    }

    /// A file of the project.
    pub fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path().join(file)).unwrap()
    }

    /// Appends generated events to `input/<file>`: two a second, so that a few hundred fill several windows.
    pub fn events(&self, file: &str, events: Range<u64>) {
        fs::create_dir_all(self.path().join("input")).unwrap();
        let path = self.path().join("input").join(file);
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.write_all(&lines(events)).unwrap();
    }

    /// Makes `input/<file>` the first `count` generated events, all at once: a process may be reading it.
    pub fn grow(&self, file: &str, count: u64) {
        let unfinished = self.path().join("unfinished");
        fs::create_dir_all(self.path().join("input")).unwrap();
        fs::write(&unfinished, lines(0..count)).unwrap();
        fs::rename(unfinished, self.path().join("input").join(file)).unwrap();
    }

    /// The pipeline as declared now.
    pub fn pipeline(&self) -> Pipeline {
        load_one(self.path(), PIPELINE, &|_| None).unwrap()
    }

    /// Where the default lake of the project's commands is.
    pub fn lake_path(&self) -> PathBuf {
        self.path().join("data/lake")
    }

    /// The project's lake on disk.
    pub fn lake(&self) -> Lake {
        let path = self.lake_path();
        block(Lake::open(path.to_str().unwrap(), Clock::fixed(NOW))).unwrap()
    }

    /// Runs all layers up to what is there and closes the windows.
    pub fn run(&self, lake: &Lake) -> Result<Vec<Summary>> {
        self.run_layer(lake, None)
    }

    /// As [`Project::run`], one layer only.
    pub fn run_layer(&self, lake: &Lake, layer: Option<Layer>) -> Result<Vec<Summary>> {
        let options = Options {
            layer,
            once: true,
            close_windows: true,
            adopt: false,
        };
        run(&self.components(lake), &[self.pipeline()], &options)
    }

    /// Layer after layer, so that the order of all calls on the store is the same each time.
    pub fn run_in_turn(&self, lake: &Lake) -> Result<()> {
        for layer in [Layer::Bronze, Layer::Silver, Layer::Gold] {
            self.run_layer(lake, Some(layer))?;
        }
        Ok(())
    }

    /// What the loops need to run on `lake`.
    pub fn components(&self, lake: &Lake) -> Components {
        let runtime = RUNTIME.handle().clone();
        Components::new(lake.clone(), self.path().to_owned(), runtime, Stop::default())
    }

    /// The audit of the pipeline as declared now.
    pub fn audit(&self, lake: &Lake) -> Report {
        block(audit(lake, self.path(), &self.pipeline(), &|_, _, _| {})).unwrap()
    }

    /// Asserts that the audit finds nothing, and that there was something to find fault with.
    pub fn assert_sound(&self, lake: &Lake) {
        let report = self.audit(lake);
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
        assert!(
            report.records > 0 && report.records == report.silver + report.rejects,
            "{report:?}"
        );
    }
}

/// Generated events as lines. Files carry no timestamps, so what is only wrong against one is left out, and a
/// payload with a line end in it cannot be one line.
pub fn lines(events: Range<u64>) -> Vec<u8> {
    let generator = Generator::new(GeneratorConfig {
        events_per_second: 2,
        invalid: 0.1,
        duplicates: 0.1,
        late: 0.05,
        ..GeneratorConfig::default()
    });
    let mut bytes = Vec::new();
    for index in events {
        let event = generator.event(index);
        let value = event.value.unwrap_or_default();
        if event.fate == ExpectedFate::Rejected(Flaw::FarAhead) || value.contains(&b'\n') {
            continue;
        }
        bytes.extend_from_slice(&value);
        bytes.push(b'\n');
    }
    bytes
}

/// Waits for `work` on the tests' runtime.
pub fn block<T>(work: impl Future<Output = T>) -> T {
    RUNTIME.block_on(work)
}

/// A lake in memory over `store`.
pub fn lake_over(store: Arc<dyn ObjectStore>) -> Lake {
    Lake::with_store(Url::parse("memory:///").unwrap(), store, Clock::fixed(NOW))
}

/// An empty lake in memory, and its store.
pub fn memory_lake() -> (Lake, Arc<InMemory>) {
    let store = Arc::new(InMemory::new());
    (lake_over(store.clone()), store)
}
