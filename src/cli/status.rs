//! `medallion status`.

use std::time::Duration;

use serde_json::json;

use super::args::Status;
use super::output::{self, grouped};
use super::session::Session;
use crate::definition::Pipeline;
use crate::error::{Error, Result};
use crate::run::standing::{self, Standing};
use crate::run::upstream;
use crate::source::loss_error;
use crate::table::Lake;

const WATCH_EVERY: Duration = Duration::from_secs(2);

/// A pipeline's layers, and what is wrong with its source where that was asked.
struct Standings {
    pipeline: String,
    layers: Vec<Standing>,
    trouble: Option<Error>,
}

/// Prints where each layer stands, once or again and again.
///
/// Errors: with `--source`, that of the first source which has lost records or does not answer; all were printed then.
pub fn status(session: &Session, command: &Status) -> Result<()> {
    let pipelines = session.pipelines(command.pipeline.as_deref())?;
    let lake = session.lake_to_read()?;
    loop {
        let mut all = Vec::new();
        for pipeline in &pipelines {
            all.push(look(session, &lake, pipeline, command.source)?);
        }
        show(session, &all)?;
        let mut troubles = all.into_iter().filter_map(|standings| standings.trouble);
        if !command.watch {
            return troubles.next().map_or(Ok(()), Err);
        }
        for trouble in troubles {
            output::line(format!("error: {trouble}"))?;
        }
        std::thread::sleep(WATCH_EVERY);
    }
}

fn look(session: &Session, lake: &Lake, pipeline: &Pipeline, source: bool) -> Result<Standings> {
    let mut standings = Standings {
        pipeline: pipeline.name.clone(),
        layers: session.runtime.block_on(standing::of(lake, pipeline))?,
        trouble: None,
    };
    if source {
        let asked = session
            .runtime
            .block_on(upstream::of(lake, session.project(), pipeline));
        match asked {
            Ok(None) => {}
            Ok(Some(upstream)) => {
                if let Some(bronze) = standings.layers.first_mut() {
                    bronze.lag_rows = Some(upstream.waiting);
                }
                standings.trouble = loss_error(&pipeline.name, &upstream.losses);
            }
            Err(error) => standings.trouble = Some(error),
        }
    }
    Ok(standings)
}

fn show(session: &Session, all: &[Standings]) -> Result<()> {
    if session.json() {
        let value: Vec<_> = all
            .iter()
            .map(|of| {
                let trouble = of.trouble.as_ref().map(ToString::to_string);
                json!({"pipeline": of.pipeline, "layers": of.layers, "trouble": trouble})
            })
            .collect();
        return output::json(&value);
    }
    let header = [
        "pipeline",
        "layer",
        "position",
        "lag rows",
        "lag s",
        "watermark",
        "version",
        "files",
        "MiB",
        "log MiB",
        "rows/s",
        "CPU ns/row",
        "B/row in",
        "B/row out",
    ];
    let mut table = vec![header.map(str::to_owned).to_vec()];
    for Standings { pipeline, layers, .. } in all {
        if layers.is_empty() {
            output::line(format!(
                "{pipeline}: not run yet; `medallion run -p {pipeline}` starts it"
            ))?;
        }
        table.extend(layers.iter().map(|layer| cells(pipeline, layer)));
    }
    if table.len() > 1 {
        output::columns(&table)
    } else {
        Ok(())
    }
}

fn cells(pipeline: &str, standing: &Standing) -> Vec<String> {
    let activity = &standing.activity;
    let whole = |value: Option<f64>| value.map(|value| grouped(value.round() as i64)).unwrap_or_default();
    vec![
        pipeline.to_owned(),
        standing.layer.clone(),
        grouped(standing.position),
        standing.lag_rows.map(grouped).unwrap_or_default(),
        standing
            .lag_seconds
            .map(|seconds| format!("{seconds:.1}"))
            .unwrap_or_default(),
        standing.watermark.clone().unwrap_or_default(),
        standing.version.to_string(),
        standing.files.to_string(),
        mebibytes(standing.bytes),
        mebibytes(standing.log_bytes),
        whole(activity.rows_per_second),
        whole(activity.cpu_ns_per_row),
        whole(activity.bytes_in_per_row),
        whole(activity.bytes_out_per_row),
    ]
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}
