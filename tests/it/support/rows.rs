//! The rows of a lake's tables as text, for comparing two lakes.

use std::collections::BTreeMap;

use arrow::util::pretty::pretty_format_batches;
use medallion::run::names;
use medallion::table::{Lake, Queryable, session};

use super::project::{PIPELINE, block};

/// The gold table of the pipeline.
pub const GOLD: &str = "views_per_minute";

/// Each table's rows. A start leaves a tick, so lakes with other interruptions have other seqs: rows are told apart
/// by offset here, and what only says when a row was taken in is left out.
pub fn rows(lake: &Lake) -> BTreeMap<&'static str, String> {
    let duplicate = "duplicate_of is not null";
    let rejects = format!(
        "select r.topic, r.partition, r.offset, r.timestamp, r.value, r.reason, r.rules, \
         case when {duplicate} then null else r.detail end as detail, o.topic as of_topic, o.offset as of_offset \
         from rejects r left join bronze o on r.duplicate_of = o.seq order by r.topic, r.offset"
    );
    let queries = [
        (
            "bronze",
            "select * except (seq, ingested_at, ingest_date) from bronze where kind = 'record' order by topic, \"offset\"",
        ),
        (
            "silver",
            "select b.topic, s.* except (_seq) from silver s join bronze b on s._seq = b.seq order by b.topic, s._offset",
        ),
        ("rejects", rejects.as_str()),
        (
            "gold",
            "select * from gold order by minute_timestamp, campaign_id, network_id, total_count, avg_duration",
        ),
        (
            "late",
            "select s._offset, l.* except (_seq) from late l join silver s on l._seq = s._seq order by s._offset",
        ),
    ];
    queries.map(|(table, sql)| (table, select(lake, sql))).into()
}

/// The rows of one query over `bronze`, `silver`, `rejects`, `gold`, `late` and `events`, a line each after a line of names.
pub fn select(lake: &Lake, sql: &str) -> String {
    let table = |name: &str, path: String| Queryable {
        schema: PIPELINE.to_owned(),
        name: name.to_owned(),
        path,
    };
    let tables = [
        table("bronze", names::bronze_path(PIPELINE)),
        table("silver", names::silver_path(PIPELINE)),
        table("rejects", names::rejects_path(PIPELINE)),
        table("gold", names::gold_path(PIPELINE, GOLD)),
        table("late", names::late_path(PIPELINE, GOLD)),
        table("events", names::events_path(PIPELINE)),
    ];
    let batches = block(async {
        let context = session(lake, &tables, PIPELINE).await.unwrap();
        context.sql(sql).await.unwrap().collect().await.unwrap()
    });
    let text = pretty_format_batches(&batches).unwrap().to_string();
    // How wide a column is depends on the other rows, what a row says does not.
    let rows = text.lines().filter(|line| !line.starts_with('+'));
    let rows: Vec<String> = rows
        .map(|row| row.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    rows.join("\n")
}

/// The number that a query finds.
pub fn number(lake: &Lake, sql: &str) -> i64 {
    let found = select(lake, sql);
    let last = found.lines().last().unwrap().trim_matches(['|', ' ']);
    last.parse().unwrap_or_else(|_| panic!("{sql}: {found}"))
}

/// Asserts that two lakes hold the same rows, showing the first that differ.
pub fn assert_same(found: &BTreeMap<&'static str, String>, wanted: &BTreeMap<&'static str, String>, when: &str) {
    for (table, wanted) in wanted {
        let found = &found[table];
        if found == wanted {
            continue;
        }
        let mut pairs = found.lines().zip(wanted.lines());
        let first = pairs.find(|(found, wanted)| found != wanted);
        let counts = (found.lines().count(), wanted.lines().count());
        panic!("{when}: {table} differs, {counts:?} lines; first: {first:#?}");
    }
}
