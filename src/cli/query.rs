//! `medallion query`: one SELECT over the tables, which can neither write nor read anything else, and which ends.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;

use super::args::Query;
use super::output;
use super::session::Session;
use crate::error::{Error, Kind, Result};
use crate::run::names;
use crate::table::{self, Lake, Queryable};

/// How often a running query's time and memory are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// DataFusion plans by recursion, and a query may be deep.
const STACK: usize = 32 << 20;
const MIB: u64 = 1 << 20;

const TABLES: &str =
    "tables are PIPELINE.bronze, .silver, .rejects, .GOLD_TABLE, .late_GOLD_TABLE and .events, once they have run";
const NARROWER: &str = "ask for fewer rows or groups, or raise --memory-mib";

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
        if pipeline.gold.iter().all(|gold| gold.name != "events") {
            add("events".to_owned(), names::events_path(name));
        }
    }
    let question = Question {
        lake,
        tables,
        default: pipelines
            .first()
            .map_or("public", |pipeline| pipeline.name.as_str())
            .to_owned(),
        sql: command.sql.clone(),
        limit: command.limit,
        memory: command.memory_mib.saturating_mul(MIB),
    };
    let batches = within_bounds(session, question, Duration::from_secs(command.timeout))?;
    if session.json() {
        output::rows_as_json(&batches)
    } else {
        output::rows(&batches)
    }
}

/// All that a query needs, to be taken to its thread.
struct Question {
    lake: Lake,
    tables: Vec<Queryable>,
    default: String,
    sql: String,
    limit: usize,
    /// Bytes.
    memory: u64,
}

impl Question {
    async fn answer(self) -> Result<Vec<RecordBatch>> {
        // Everything but a query is off: otherwise CREATE EXTERNAL TABLE and COPY reach any file.
        let only_queries = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
        let memory = usize::try_from(self.memory).unwrap_or(usize::MAX);
        let context = table::bounded_session(&self.lake, &self.tables, &self.default, memory).await?;
        let frame = context.sql_with_options(&self.sql, only_queries).await;
        let frame = frame.map_err(|error| failed(&error).with_next(TABLES))?;
        let frame = frame.limit(0, Some(self.limit)).map_err(|error| failed(&error))?;
        frame.collect().await.map_err(|error| failed(&error))
    }
}

fn failed(error: &DataFusionError) -> Error {
    let failed = Error::new(Kind::Usage, format!("the query: {}", error.strip_backtrace()));
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => failed.with_next(NARROWER),
        _ => failed,
    }
}

/// Waits for the answer, but not for ever and not at any price. The query runs on a thread of its own, which is left
/// behind when it is too much: the process ends with it, and there is nothing that it could leave half done.
///
/// The pool of the session bounds sorts, joins and aggregates; a single value built by a function (`repeat`) is in no
/// pool, so the process as a whole is looked at, too.
fn within_bounds(session: &Session, question: Question, longest: Duration) -> Result<Vec<RecordBatch>> {
    let most = question.memory.saturating_mul(2);
    let (tell, told) = channel();
    let runtime = session.runtime.clone();
    std::thread::Builder::new()
        .name("query".to_owned())
        .stack_size(STACK)
        .spawn(move || tell.send(runtime.block_on(question.answer())))
        .map_err(|error| Error::new(Kind::Unavailable, format!("starting the query's thread: {error}")))?;
    let began = Instant::now();
    loop {
        match told.recv_timeout(LOOK_EVERY) {
            Ok(answer) => return answer,
            Err(RecvTimeoutError::Disconnected) => return Err(Error::new(Kind::Bug, "the query panicked")),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if began.elapsed() >= longest {
            let message = format!("the query is not done after {} s", longest.as_secs());
            return Err(Error::new(Kind::Usage, message).with_next("ask for less, or raise --timeout"));
        }
        if let Some(held) = resident().filter(|held| *held > most) {
            let message = format!("the query holds {} MiB of memory, and may {}", held / MIB, most / MIB);
            return Err(Error::new(Kind::Usage, message).with_next(NARROWER));
        }
    }
}

/// Bytes of memory that this process holds; none where the system does not tell.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
