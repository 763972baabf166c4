//! `medallion replay`.

use std::io::{BufRead, IsTerminal, Write};

use super::args::Replay;
use super::output::{self, grouped};
use super::progress;
use super::session::Session;
use crate::definition::Pipeline;
use crate::error::{Context, Error, Kind, Result};
use crate::run::replay::{self, Extent, Replayed};

/// Shows the plan, asks, rebuilds, and prints what was rebuilt.
pub fn replay(session: &Session, command: &Replay) -> Result<()> {
    let pipelines = session.pipelines(command.pipeline.as_deref())?;
    let lake = session.lake()?;
    for pipeline in &pipelines {
        eprintln!("{}", plan(pipeline, &command.layer));
    }
    if command.dry_run {
        return Ok(());
    }
    if !command.yes && !confirmed()? {
        return Err(Error::new(Kind::Usage, "nothing was replayed").with_next("answer `yes`, or give --yes"));
    }
    let extent = match command.kept_only {
        true => Extent::KeptOnly,
        false => Extent::All,
    };
    let mut replayed: Vec<Replayed> = Vec::new();
    for pipeline in &pipelines {
        let bar = progress::bar(0, &pipeline.name);
        let show = |table: &str, done: i64, total: i64| {
            bar.set_message(table.to_owned());
            bar.set_length(u64::try_from(total).unwrap_or(0));
            bar.set_position(u64::try_from(done).unwrap_or(0));
        };
        let rebuild = async {
            match command.layer.as_str() {
                "silver" => replay::silver(&lake, session.project(), pipeline, extent, &show).await,
                _ => replay::gold(&lake, pipeline, extent, &show).await,
            }
        };
        replayed.extend(session.runtime.block_on(rebuild)?);
        bar.finish_and_clear();
    }
    if session.json() {
        return output::json(&replayed);
    }
    let mut table = vec![["table", "rows", "position", "version"].map(str::to_owned).to_vec()];
    for done in replayed {
        let version = done.version.to_string();
        table.push(vec![done.table, grouped(done.rows), grouped(done.position), version]);
    }
    output::columns(&table)
}

fn plan(pipeline: &Pipeline, layer: &str) -> String {
    let name = &pipeline.name;
    let gold: Vec<&str> = pipeline.gold.iter().map(|gold| gold.name.as_str()).collect();
    let gold = gold.join(", ");
    match layer {
        "silver" => format!("{name}: silver and rejects are rebuilt from bronze, then gold ({gold}) from silver"),
        _ => format!("{name}: gold ({gold}) is rebuilt from silver"),
    }
}

fn confirmed() -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    eprint!("replace these tables? readers see the old ones until each is swapped; type yes: ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .or_fail(Kind::Unavailable, || "reading the answer")?;
    Ok(answer.trim() == "yes")
}
