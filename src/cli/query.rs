//! `medallion query`: one SELECT over the tables, which can neither write nor read anything else.

use datafusion::execution::context::SQLOptions;

use super::args::Query;
use super::output;
use super::session::Session;
use crate::error::{Context, Kind, Result};
use crate::run::names;
use crate::table::{self, Queryable};

/// Runs the query and prints its rows.
pub fn query(session: &Session, command: &Query) -> Result<()> {
    let pipelines = session.pipelines(None)?;
    let lake = session.lake_to_read()?;
    let mut tables = Vec::new();
    for pipeline in &pipelines {
        let name = &pipeline.name;
        let mut add = |table: String, path: String| {
            tables.push(Queryable {
                schema: name.clone(),
                name: table,
                path,
            });
        };
        add("bronze".to_owned(), names::bronze_path(name));
        add("silver".to_owned(), names::silver_path(name));
        add("rejects".to_owned(), names::rejects_path(name));
        for gold in &pipeline.gold {
            add(gold.name.clone(), names::gold_path(name, &gold.name));
            add(format!("late_{}", gold.name), names::late_path(name, &gold.name));
        }
    }
    let default = pipelines.first().map_or("public", |pipeline| pipeline.name.as_str());
    // Everything but a query is off: otherwise CREATE EXTERNAL TABLE and COPY reach any file.
    let only_queries = SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false);
    let batches = session.runtime.block_on(async {
        let context = table::session(&lake, &tables, default).await?;
        let frame = context.sql_with_options(&command.sql, only_queries).await;
        let frame = frame.or_fail(Kind::Usage, || "the query").map_err(|error| {
            error.with_next(
                "tables are PIPELINE.bronze, .silver, .rejects, .GOLD_TABLE and .late_GOLD_TABLE, once they have run",
            )
        })?;
        let frame = frame
            .limit(0, Some(command.limit))
            .or_fail(Kind::Usage, || "the query")?;
        frame.collect().await.or_fail(Kind::Usage, || "the query")
    })?;
    if session.json() {
        output::rows_as_json(&batches)
    } else {
        output::rows(&batches)
    }
}
