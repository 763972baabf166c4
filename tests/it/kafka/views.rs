//! The declared `view_log` pipeline over a bed's topic, in a lake of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use medallion::audit::{self, Report};
use medallion::clock::Clock;
use medallion::definition::{KafkaSource, Pipeline, SourceKind, load_one};
use medallion::error::{Error, Kind};
use medallion::run::wake::Stop;
use medallion::run::{self, Components, Layer, Options, Summary, gap, names, standing};
use medallion::source::Loss;
use medallion::table::{self, Append, Lake, Queryable, Reader};
use tempfile::TempDir;

use super::bed::Bed;

const PIPELINE: &str = "view_log";
/// Generous: the machine may be busy with other things.
const PATIENCE: Duration = Duration::from_secs(90);

pub const ONCE: Options = Options {
    layer: None,
    once: true,
    close_windows: false,
    adopt: false,
};
pub const ONCE_AND_CLOSE: Options = Options {
    close_windows: true,
    ..ONCE
};
const LIVE: Options = Options { once: false, ..ONCE };

pub struct Views {
    pub pipeline: Pipeline,
    /// What declared files are relative to.
    pub project: PathBuf,
    lake: Lake,
    runtime: tokio::runtime::Runtime,
    location: PathBuf,
    _dir: Option<TempDir>,
}

impl Views {
    pub fn new(bed: &dyn Bed) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let location = dir.path().to_owned();
        Self::over(bed, &location, Some(dir))
    }

    /// Over the lake at `location`, which another process may write.
    pub fn within(bed: &dyn Bed, location: &Path) -> Self {
        Self::over(bed, location, None)
    }

    fn over(bed: &dyn Bed, location: &Path, dir: Option<TempDir>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let location = location.to_str().unwrap();
        let lake = runtime.block_on(Lake::open(location, Clock::system())).unwrap();
        let mut pipeline = load_one(project(), PIPELINE, &|_| None).unwrap();
        // Small steps and often: more commits, more borders to get wrong.
        pipeline.bronze.commit.max_delay = Duration::from_millis(150);
        pipeline.bronze.commit.max_rows = 1_500;
        pipeline.silver.commit.max_rows = 1_000;
        let mut views = Self {
            pipeline,
            project: project().to_owned(),
            lake,
            runtime,
            location: PathBuf::from(location),
            _dir: dir,
        };
        let kafka = views.kafka();
        kafka.brokers = bed.brokers();
        bed.topic().clone_into(&mut kafka.topic);
        views
    }

    /// The source, to be changed before a run.
    pub fn kafka(&mut self) -> &mut KafkaSource {
        match &mut self.pipeline.bronze.source {
            SourceKind::Kafka(kafka) => kafka,
            SourceKind::Files(_) => panic!("{PIPELINE} reads files"),
        }
    }

    fn components(&self, stop: Stop) -> Components {
        let runtime = self.runtime.handle().clone();
        Components::new(self.lake.clone(), self.project.clone(), runtime, stop)
    }

    /// Runs until the input ends.
    pub fn run(&self, options: &Options) -> Result<Vec<Summary>, Error> {
        self.run_all(std::slice::from_ref(&self.pipeline), options)
    }

    /// Runs these pipelines in the same lake until their input ends.
    pub fn run_all(&self, pipelines: &[Pipeline], options: &Options) -> Result<Vec<Summary>, Error> {
        run::run(&self.components(Stop::default()), pipelines, options)
    }

    /// All rows of a table in the order of their seqs.
    pub fn rows(&self, path: &str, schema: SchemaRef, seq: &str) -> RecordBatch {
        let columns: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        self.runtime.block_on(async {
            let reader = Reader::open(&self.lake, path, schema, seq).await.unwrap().unwrap();
            reader.read(0, i64::MAX, &columns).await.unwrap()
        })
    }

    /// Appends to bronze what is not from the source.
    pub fn append_to_bronze(&self, append: Append<'_>) {
        self.runtime.block_on(async {
            let mut table = run::bronze::open_table(&self.lake, PIPELINE).await.unwrap();
            table.append(append).await.unwrap();
        });
    }

    pub fn run_layer(&self, layer: Layer) -> Result<Vec<Summary>, Error> {
        self.run(&Options {
            layer: Some(layer),
            ..ONCE
        })
    }

    /// The error that a one-shot run ends with.
    pub fn fails(&self) -> Error {
        self.run(&ONCE).expect_err("the run is stopped")
    }

    /// Runs on and on while `work` is done, then stops.
    pub fn live(&self, work: impl FnOnce(&Self)) {
        let stop = Stop::default();
        let components = self.components(stop.clone());
        let pipelines = std::slice::from_ref(&self.pipeline);
        std::thread::scope(|scope| {
            let running = scope.spawn(|| run::run(&components, pipelines, &LIVE));
            let ending = Ending(stop);
            work(self);
            drop(ending);
            running.join().unwrap().unwrap();
        });
    }

    /// Runs on and on while `work` is done; the error with which the run then ends by itself.
    pub fn live_fails(&self, work: impl FnOnce(&Self)) -> Error {
        let stop = Stop::default();
        let components = self.components(stop.clone());
        let pipelines = std::slice::from_ref(&self.pipeline);
        std::thread::scope(|scope| {
            let running = scope.spawn(|| run::run(&components, pipelines, &LIVE));
            let ending = Ending(stop);
            work(self);
            self.until("the end of the run", || running.is_finished());
            drop(ending);
            running.join().unwrap().expect_err("the run is stopped by a failure")
        })
    }

    pub fn accept(&self, record: bool) -> Vec<Loss> {
        let accept = gap::accept(&self.lake, &self.project, &self.pipeline, record);
        self.runtime.block_on(accept).unwrap()
    }

    /// The audit's report, in which everything holds.
    pub fn audit(&self) -> Report {
        let report = self.audited();
        assert_eq!(report.findings, [], "{report:?}");
        assert_eq!(report.records, report.silver + report.rejects, "{report:?}");
        report
    }

    /// The audit's report, whatever it finds.
    pub fn audited(&self) -> Report {
        let audit = audit::audit(&self.lake, &self.project, &self.pipeline, &|_, _, _| ());
        self.runtime.block_on(audit).unwrap()
    }

    /// Rows of a query, every value as text, null as `NULL`, bytes in hex.
    pub fn query(&self, sql: &str) -> Vec<Vec<String>> {
        self.query_of(PIPELINE, sql)
    }

    /// As [`Self::query`], of another pipeline in the same lake.
    fn query_of(&self, pipeline: &str, sql: &str) -> Vec<Vec<String>> {
        let gold = &self.pipeline.gold[0].name;
        let tables = [
            ("bronze", names::bronze_path(pipeline)),
            ("silver", names::silver_path(pipeline)),
            ("rejects", names::rejects_path(pipeline)),
            ("gold", names::gold_path(pipeline, gold)),
            ("late", names::late_path(pipeline, gold)),
        ]
        .map(|(name, path)| Queryable {
            schema: PIPELINE.to_owned(),
            name: name.to_owned(),
            path,
        });
        let batches = self.runtime.block_on(async {
            let context = table::session(&self.lake, &tables, PIPELINE).await.unwrap();
            context.sql(sql).await.unwrap().collect().await.unwrap()
        });
        let options = FormatOptions::default().with_null("NULL");
        let mut rows = Vec::new();
        for batch in &batches {
            let columns = batch.columns().iter();
            let columns: Vec<_> = columns
                .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
                .collect();
            let row = |row| columns.iter().map(|column| column.value(row).to_string()).collect();
            rows.extend((0..batch.num_rows()).map(row));
        }
        rows
    }

    /// The one number that `sql` gives, 0 for null.
    pub fn number(&self, sql: &str) -> i64 {
        self.number_of(PIPELINE, sql)
    }

    /// As [`Self::number`], of another pipeline in the same lake.
    pub fn number_of(&self, pipeline: &str, sql: &str) -> i64 {
        let rows = self.query_of(pipeline, sql);
        if rows[0][0] == "NULL" {
            0
        } else {
            rows[0][0].parse().unwrap()
        }
    }

    /// Records in bronze.
    pub fn records(&self) -> i64 {
        self.number("select count(*) from bronze where kind = 'record'")
    }

    /// Records by fate: `accepted`, or the reason in rejects.
    pub fn fates(&self) -> BTreeMap<String, i64> {
        let sql =
            "select 'accepted', count(*) from silver union all select reason, count(*) from rejects group by reason";
        let rows = self.query(sql).into_iter();
        rows.map(|row| (row[0].clone(), row[1].parse().unwrap())).collect()
    }

    /// Views counted in gold and rows that were late for it.
    pub fn counted(&self) -> (i64, i64) {
        (
            self.number("select sum(total_count) from gold"),
            self.number("select count(*) from late"),
        )
    }

    /// Waits until bronze has `records` records and silver and gold stand where bronze stands.
    pub fn wait_for(&self, records: i64) {
        self.until(&format!("{records} records through all layers"), || {
            let standing = || self.runtime.block_on(standing::of(&self.lake, &self.pipeline)).unwrap();
            // In this order: what comes in between is waited for as well.
            standing().len() == 3
                && self.records() >= records
                && standing().iter().skip(1).all(|layer| layer.lag_rows == Some(0))
        });
    }

    /// Whether the gold table has been made.
    pub fn has_gold(&self) -> bool {
        let gold = self.path("gold").join(&self.pipeline.gold[0].name);
        gold.join("_delta_log/00000000000000000000.json").exists()
    }

    /// Waits until `reached`.
    pub fn until(&self, what: &str, reached: impl Fn() -> bool) {
        let begun = Instant::now();
        while !reached() {
            assert!(begun.elapsed() < PATIENCE, "never came to {what}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Where a table of the lake would be.
    pub fn path(&self, table: &str) -> PathBuf {
        self.location.join(PIPELINE).join(table)
    }

    /// Asserts that the pipeline is stopped by a loss that is told as `what`, and stays so.
    pub fn assert_lost(&self, what: &str) {
        for _ in 0..2 {
            let error = self.fails();
            assert_eq!(error.kind(), Kind::DataLoss, "{error}");
            assert!(error.to_string().contains(what), "{error}");
            assert!(error.next().unwrap().contains("accept-gap -p view_log"), "{error}");
        }
    }
}

/// Stops the layers also where the work beside them panics, or their scope would wait for them forever.
struct Ending(Stop);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.ask();
    }
}

/// The project whose `view_log` is run.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
