//! `medallion query` with what someone might ask who wants something else than the tables.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::support::command::{Said, call, done};
use crate::support::project::{PIPELINE, Project};
use crate::support::tier;

/// A project whose pipeline has run.
fn project() -> Project {
    let project = Project::new(60, 70);
    project.events("a.ndjson", 0..200);
    done(project.path(), &["run", "-p", PIPELINE, "--once", "--close-windows"]);
    project.write("outside.csv", "secret\nnot-for-you\n");
    project
}

/// Every file under `root`: when it was written, and its length.
fn files(root: &Path) -> BTreeMap<PathBuf, (SystemTime, u64)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                found.insert(entry.path(), (metadata.modified().unwrap(), metadata.len()));
            }
        }
    }
    found
}

fn refused(project: &Project, sql: &str, flags: &[&str]) -> Said {
    let said = call(project.path(), &[&["query", sql], flags].concat());
    assert_eq!(said.code, Some(2), "{sql}: {}{}", said.out, said.err);
    assert_eq!(said.out, "", "{sql}");
    assert!(!said.err.contains("panicked"), "{sql}: {}", said.err);
    said
}

/// What changes something, or is no query at all.
const STATEMENTS: [&str; 33] = [
    "insert into silver select * from silver",
    "insert overwrite silver select * from silver",
    "create table t as select 1",
    "create or replace view v as select 1",
    "create view v as select 1",
    "create schema s",
    "create database d",
    "create function f() returns int return 1",
    "create index i on silver (_seq)",
    "drop table silver",
    "drop view silver",
    "drop schema view_log cascade",
    "drop function abs",
    "truncate table silver",
    "alter table silver rename to gone",
    "delete from silver",
    "update silver set banner_id = 1",
    "merge into silver using rejects on true when matched then delete",
    "set datafusion.execution.batch_size = 1",
    "set variable datafusion.runtime.memory_limit = '100G'",
    "reset datafusion.execution.batch_size",
    "begin",
    "commit",
    "prepare p as select 1",
    "execute p",
    "deallocate p",
    "use other",
    "grant select on silver to public",
    "vacuum",
    "select 1; drop table silver",
    "select 1; select 2",
    ";",
    "",
];

/// Ways to read a file.
fn reads(file: &str) -> Vec<String> {
    [
        "select * from 'FILE'",
        "select * from \"FILE\"",
        "select * from read_csv('FILE')",
        "select * from read_parquet('FILE')",
        "select * from read_json('FILE')",
        "select * from glob('FILE')",
        "select * from parquet_metadata('FILE')",
        "select read_text('FILE')",
        "select pg_read_file('FILE')",
        "create external table t stored as csv location 'FILE'",
        "create unbounded external table t stored as parquet location 'FILE'",
        "load data inpath 'FILE' into table silver",
    ]
    .map(|statement| statement.replace("FILE", file))
    .into()
}

/// Ways to write a file, plain and inside of what is allowed.
fn writes(file: &str, table: &str) -> Vec<String> {
    let plain = [
        "copy (select 1) to 'FILE.csv'",
        "copy silver to 'FILE' stored as parquet partitioned by (event_date)",
        "copy (select * from silver) to 'TABLE/x.parquet'",
        "copy silver from 'FILE.csv'",
        "insert into silver select * from silver",
        "create external table t stored as csv location 'FILE.csv'",
    ]
    .map(|statement| statement.replace("FILE", file).replace("TABLE", table));
    let around = [
        "",
        "explain ",
        "explain analyze ",
        "explain verbose ",
        "prepare p as ",
        "with x as (select 1) ",
    ];
    plain
        .iter()
        .flat_map(|statement| around.map(|before| format!("{before}{statement}")))
        .collect()
}

#[test]
fn a_query_reads_and_writes_nothing_outside_of_the_tables() {
    let project = project();
    let place = |name: &str| project.path().join(name).display().to_string();
    let (csv, silver) = (place("outside.csv"), place("data/lake/view_log/silver"));
    let mut statements = STATEMENTS.map(str::to_owned).to_vec();
    for file in [csv.as_str(), &format!("file://{csv}"), "/etc/passwd", "outside.csv"] {
        statements.extend(reads(file));
    }
    statements.extend(writes(&place("out"), &silver));
    // A process for each of them.
    let statements: Vec<&String> = statements.iter().step_by(tier::pick(4, 1, 1)).collect();
    let before = files(project.path());
    for sql in &statements {
        let said = refused(&project, sql, &[]);
        assert!(
            !said.err.contains("not-for-you") && !said.err.contains("root:"),
            "{sql}: {}",
            said.err
        );
    }
    assert_eq!(files(project.path()), before, "no file came, went or changed");
    println!("untrusted queries: {} statements refused", statements.len());
}

#[test]
fn a_query_that_only_computes_or_describes_is_answered() {
    let project = project();
    let before = files(project.path());
    for (sql, answer) in [
        ("select sum(value) as total from generate_series(1, 10)", "55"),
        (
            "select count(*) as tables from information_schema.tables where table_schema = 'view_log'",
            "6",
        ),
        ("select '/etc/passwd' as name", "/etc/passwd"),
        ("with x as (select 1 as one) select one from x union all select 2", "2"),
        ("describe silver", "view_id"),
        ("show tables", "rejects"),
    ] {
        let said = done(project.path(), &["query", sql]);
        assert!(said.out.contains(answer), "{sql}: {}", said.out);
    }
    assert_eq!(files(project.path()), before);
}

#[test]
fn a_query_ends_in_time_and_within_its_memory() {
    let project = project();
    let small = ["--memory-mib", "64", "--timeout", "20"];
    let short = ["--timeout", "1"];
    let cases: [(&str, &[&str], &str); 7] = [
        (
            "select count(*) from generate_series(1, 1000000000) a cross join generate_series(1, 1000000000) b",
            &short,
            "not done after 1 s",
        ),
        (
            "select count(*) from bronze a, bronze b, bronze c, bronze d, bronze e where a.seq + b.seq = c.seq + d.seq - e.seq * 7",
            &short,
            "not done after 1 s",
        ),
        (
            "with recursive t as (select 1 as n union all select n + 1 from t) select max(n) from t",
            &short,
            "not done after 1 s",
        ),
        (
            // In another order than the series', or its order makes it a query that needs no memory.
            "select count(distinct value * 7919 % 100000007) from generate_series(1, 100000000)",
            &small,
            "--memory-mib",
        ),
        (
            "select length(string_agg(cast(value as varchar), ',')) from generate_series(1, 100000000)",
            &small,
            "--memory-mib",
        ),
        (
            "select sum(length(repeat(cast(value as varchar), 300000000))) from generate_series(1, 3)",
            &small,
            "--memory-mib",
        ),
        ("select array_length(range(1, 2000000000))", &small, "--memory-mib"),
    ];
    let before = files(project.path());
    for (sql, flags, says) in cases {
        let began = Instant::now();
        let said = refused(&project, sql, flags);
        assert!(
            said.err.contains(says) && said.err.contains("next:"),
            "{sql}: {}",
            said.err
        );
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{sql}: {:?}",
            began.elapsed()
        );
    }
    assert_eq!(files(project.path()), before, "nothing was spilled into the project");
    let help = done(project.path(), &["query", "--help"]).out;
    assert!(
        help.contains("--timeout") && help.contains("--memory-mib") && help.contains("writes nothing"),
        "{help}"
    );
}
