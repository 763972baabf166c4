//! Silver stopped in the middle of bronze, with two generations of its state saved, to be continued again and again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use medallion::checkpoint::snapshot::{Header, Snapshot, decode, write_front};
use medallion::checkpoint::{Checkpoints, Folder, Shape};
use medallion::definition::{CommitPolicy, Pipeline};
use medallion::layer::silver::{Plan, rejects_schema};
use medallion::run::restore::How;
use medallion::run::silver::SilverLayer;
use medallion::run::{Layer, names};
use medallion::table::{Lake, Reader};
use object_store::memory::InMemory;
use tempfile::TempDir;

use crate::support::project::{NOW, PIPELINE, Project, block, lake_over, memory_lake};

/// Bronze rows of a step.
pub const STEP: usize = 25;

/// What a continued silver came to.
#[derive(Debug, PartialEq)]
pub struct Rows {
    silver: RecordBatch,
    rejects: RecordBatch,
}

/// How it was continued.
#[derive(Debug)]
pub struct Continued {
    /// How the state was had.
    pub how: How,
    /// The position of the snapshot that was taken, 0 for none.
    pub from: i64,
    /// All rows in the end.
    pub rows: Rows,
}

/// Silver of the shipped pipeline: three steps saved, of which two generations are left, and one more that is not.
pub struct Bed {
    /// The project; bronze has all of its input.
    pub project: Project,
    /// The lake's store after each step.
    pub after: Vec<InMemory>,
    /// The checkpoints, to be copied before anything is done to them.
    root: TempDir,
    shape: Shape,
    /// The rows that silver has in the end without any checkpoints.
    pub wanted: Rows,
}

impl Bed {
    /// Makes one. The second half of its input repeats the first, so that a state without its keys accepts twice.
    pub fn new() -> Self {
        Self::shaped(Shape::default())
    }

    /// As [`Bed::new`], with older keys in volumes of this shape.
    pub fn shaped(shape: Shape) -> Self {
        let project = Project::new(1_000, STEP);
        for events in [0..70, 35..90, 0..60] {
            project.events("a.ndjson", events);
        }
        let (lake, store) = memory_lake();
        project.run_layer(&lake, Some(Layer::Bronze)).unwrap();
        let root = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::at(root.path().to_owned()).every(1).shaped(shape);
        let mut layer = open(&project, &lake, &checkpoints, &project.pipeline());
        assert_eq!(layer.keeper().how(), How::Tables);
        let mut after = Vec::new();
        for step in 0..4 {
            block(layer.step(&in_steps_of(STEP))).unwrap().unwrap();
            after.push(store.fork());
            if step < 3 {
                block(layer.save_state(true, NOW));
                assert_eq!(layer.keeper().saved(), layer.position());
            }
        }
        let wanted = go_on(&project, &lake, &Checkpoints::off(), STEP).rows;
        assert!(wanted.silver.num_rows() > 50 && wanted.rejects.num_rows() > 80);
        let bed = Self {
            project,
            after,
            root,
            shape,
            wanted,
        };
        assert_eq!(bed.copy().positions(), [3 * STEP as i64, 2 * STEP as i64]);
        bed
    }

    /// The lake as silver left it.
    pub fn lake(&self) -> Lake {
        lake_over(Arc::new(self.after[3].fork()))
    }

    /// A copy of the checkpoints.
    pub fn copy(&self) -> Files {
        let files = Files {
            root: tempfile::tempdir().unwrap(),
            shape: self.shape,
        };
        fs::create_dir(files.folder().path()).unwrap();
        for found in fs::read_dir(self.root.path().join(PIPELINE)).unwrap() {
            let found = found.unwrap();
            fs::copy(found.path(), files.folder().path().join(found.file_name())).unwrap();
        }
        files
    }

    /// Continues silver from where it was left, with these checkpoints.
    pub fn go_on(&self, files: &Files) -> Continued {
        go_on(&self.project, &self.lake(), &files.checkpoints(), STEP)
    }

    /// As [`Bed::go_on`]; the rows must be the undisturbed ones, and the state had in this way.
    #[track_caller]
    pub fn expect(&self, files: &Files, how: How, from: i64, case: &str) {
        let continued = self.go_on(files);
        assert_eq!((continued.how, continued.from), (how, from), "{case}");
        assert_eq!(continued.rows, self.wanted, "{case}");
    }
}

/// Checkpoints to be spoilt.
pub struct Files {
    root: TempDir,
    shape: Shape,
}

impl Files {
    /// None at all.
    pub fn none() -> Self {
        Self {
            root: tempfile::tempdir().unwrap(),
            shape: Shape::default(),
        }
    }

    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints::at(self.root.path().to_owned()).every(1).shaped(self.shape)
    }

    pub fn folder(&self) -> Folder {
        self.checkpoints().of(PIPELINE).unwrap()
    }

    pub fn positions(&self) -> Vec<i64> {
        self.folder().snapshots().iter().map(|found| found.position).collect()
    }

    /// The newest snapshot.
    pub fn newest(&self) -> PathBuf {
        self.folder().snapshots().remove(0).path
    }

    /// The one before it.
    pub fn previous(&self) -> PathBuf {
        self.folder().snapshots().remove(1).path
    }
}

/// A sound snapshot with another content: the sums are right, what they cover is not.
pub fn forge(path: &Path, change: impl FnOnce(&mut Snapshot)) {
    let mut snapshot = contents(path);
    change(&mut snapshot);
    let writer = write_front(Vec::new(), &snapshot.header).unwrap();
    fs::write(path, writer.finish(snapshot.entries.into_iter()).unwrap()).unwrap();
}

/// What a sound snapshot holds.
pub fn contents(path: &Path) -> Snapshot {
    let bytes = fs::read(path).unwrap();
    let header = medallion::checkpoint::snapshot::read_header(&bytes[..], bytes.len() as u64).unwrap();
    let Header { identity, .. } = header;
    decode(&bytes, &identity).unwrap()
}

pub fn open(project: &Project, lake: &Lake, checkpoints: &Checkpoints, pipeline: &Pipeline) -> SilverLayer {
    let layer = SilverLayer::open(lake, project.path(), checkpoints, pipeline, false);
    block(layer).unwrap().unwrap()
}

/// Steps of so many rows, whatever their bytes.
pub fn in_steps_of(rows: usize) -> CommitPolicy {
    CommitPolicy {
        max_rows: rows,
        max_bytes: usize::MAX,
        max_delay: Duration::ZERO,
    }
}

/// Opens silver and processes the rest of bronze.
pub fn go_on(project: &Project, lake: &Lake, checkpoints: &Checkpoints, step: usize) -> Continued {
    let mut layer = open(project, lake, checkpoints, &project.pipeline());
    let (how, from) = (layer.keeper().how(), layer.keeper().saved());
    while block(layer.step(&in_steps_of(step))).unwrap().is_some() {}
    Continued {
        how,
        from,
        rows: rows(project, lake),
    }
}

/// Silver and rejects as they are.
fn rows(project: &Project, lake: &Lake) -> Rows {
    let silver = Plan::compile(&project.pipeline().silver).unwrap().schema();
    let read = |path: String, schema: arrow::datatypes::SchemaRef, seq: &str| {
        let columns: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        block(async {
            let reader = Reader::open(lake, &path, schema, seq).await.unwrap().unwrap();
            reader.read(0, i64::MAX, &columns).await.unwrap()
        })
    };
    Rows {
        silver: read(names::silver_path(PIPELINE), silver, "_seq"),
        rejects: read(names::rejects_path(PIPELINE), rejects_schema(), "seq"),
    }
}
