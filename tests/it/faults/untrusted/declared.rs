//! One declared file of any bytes, in a project that is otherwise right: what fuzzing and the tests call.

use std::fs;
use std::path::Path;

use arrow::datatypes::{DataType, Field, Schema};
use medallion::definition::expression::{self, check_aggregate, compile, instant};
use medallion::definition::settings::load_settings;
use medallion::definition::{Pipeline, load_one};
use medallion::error::{Error, Kind};
use medallion::layer::silver::{Plan, Reference, State};
use medallion::layer::{bronze, gold};
use tempfile::TempDir;

/// The files of a project, in the order of the numbers that stand for them in a case's first byte: `0` to `5`. `6` is
/// a SQL expression over a row, `7` one over a group of rows.
const FILES: [&str; 6] = [
    "layers/view_log/bronze.toml",
    "layers/view_log/silver.toml",
    "layers/view_log/gold.toml",
    "schemas/view_log.json",
    "data/campaigns.csv",
    "medallion.toml",
];
/// Bytes of an error message, whatever it is about.
const MESSAGE: usize = 1 << 20;

thread_local! {
    static PROJECT: TempDir = project();
}

fn project() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in FILES {
        fs::create_dir_all(folder.path().join(file).parent().unwrap()).unwrap();
        fs::write(folder.path().join(file), shipped(file)).unwrap();
    }
    folder
}

fn shipped(file: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// Reads the file that the first byte says, with the rest as its content: it is accepted or refused in words, the same
/// each time, and what is accepted can be run.
pub fn check(case: &[u8]) {
    let Some((which, content)) = case.split_first() else {
        return;
    };
    match FILES.get(usize::from(*which % 8)) {
        Some(file) => PROJECT.with(|project| {
            fs::write(project.path().join(file), content).unwrap();
            judge(project.path());
            fs::write(project.path().join(file), shipped(file)).unwrap();
        }),
        None => {
            if let Ok(sql) = std::str::from_utf8(content) {
                expression_of(sql, *which % 8 == 7);
            }
        }
    }
}

fn judge(project: &Path) {
    let env = |name: &str| name.len().is_multiple_of(2).then(|| "${x}:1".to_owned());
    if let Err(error) = load_settings(project, &env) {
        told(&error);
    }
    match (load_one(project, "view_log", &env), load_one(project, "view_log", &env)) {
        (Ok(one), Ok(other)) => {
            assert_eq!(format!("{one:?}"), format!("{other:?}"));
            run(project, &one);
        }
        (Err(one), Err(other)) => {
            told(&one);
            assert_eq!(one.to_string(), other.to_string());
        }
        (one, other) => panic!("the same files are right and wrong: {one:?}, {other:?}"),
    }
}

fn told(error: &Error) {
    assert_eq!(error.kind(), Kind::Definition, "{error}");
    assert!(!error.problems().is_empty(), "{error}");
    assert!(error.to_string().len() < MESSAGE);
}

/// What was found right must compile, and a step over no rows must work.
fn run(project: &Path, pipeline: &Pipeline) {
    let silver = &pipeline.silver;
    let mut plan = Plan::compile(silver).unwrap();
    for table in &pipeline.gold {
        gold::Plan::compile(table, &silver.event_time, &plan.schema()).unwrap();
    }
    let parse = |lookup: &medallion::definition::Lookup| {
        let bytes = fs::read(project.join(&lookup.file)).unwrap();
        Reference::parse(lookup, &silver.contract, &bytes).unwrap()
    };
    let references: Vec<Reference> = silver.lookups.iter().map(parse).collect();
    let none = arrow::array::RecordBatch::new_empty(bronze::schema());
    plan.process(&none, &references, &mut State::default()).unwrap();
}

fn expression_of(sql: &str, aggregate: bool) {
    let field = |name: &str, kind| Field::new(name, kind, true);
    let schema = Schema::new(vec![
        field("id", DataType::Int64),
        field("name", DataType::Utf8),
        field("at", instant()),
        field("day", DataType::Date32),
        field("share", DataType::Float64),
        field("ok", DataType::Boolean),
    ]);
    let groups = ["name".to_owned()];
    if aggregate {
        let checked = check_aggregate(sql, &schema, &groups);
        let compiled = expression::aggregate_expr(sql, &schema, &groups);
        // Checking goes further: it plans the query.
        assert!(checked.is_err() || compiled.is_ok(), "{sql}");
    } else {
        assert_eq!(
            expression::check(sql, &schema).is_ok(),
            compile(sql, &schema).is_ok(),
            "{sql}"
        );
    }
    expression::canonical(sql);
}
