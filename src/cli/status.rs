//! `medallion status`.

use std::time::Duration;

use serde_json::json;

use super::args::Status;
use super::output::{self, grouped};
use super::session::Session;
use crate::definition::Pipeline;
use crate::error::Result;
use crate::run::standing::{self, Standing};
use crate::table::Lake;

const WATCH_EVERY: Duration = Duration::from_secs(2);

/// Prints where each layer stands, once or again and again.
pub fn status(session: &Session, command: &Status) -> Result<()> {
    let pipelines = session.pipelines(command.pipeline.as_deref())?;
    let lake = session.lake_to_read()?;
    loop {
        show(session, &lake, &pipelines)?;
        if !command.watch {
            return Ok(());
        }
        std::thread::sleep(WATCH_EVERY);
    }
}

fn show(session: &Session, lake: &Lake, pipelines: &[Pipeline]) -> Result<()> {
    let mut all = Vec::new();
    for pipeline in pipelines {
        all.push((
            pipeline.name.as_str(),
            session.runtime.block_on(standing::of(lake, pipeline))?,
        ));
    }
    if session.json() {
        let value: Vec<_> = all
            .iter()
            .map(|(name, layers)| json!({"pipeline": name, "layers": layers}))
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
    ];
    let mut table = vec![header.map(str::to_owned).to_vec()];
    for (name, layers) in &all {
        if layers.is_empty() {
            output::line(format!("{name}: not run yet; `medallion run -p {name}` starts it"))?;
        }
        table.extend(layers.iter().map(|layer| cells(name, layer)));
    }
    if table.len() > 1 {
        output::columns(&table)
    } else {
        Ok(())
    }
}

fn cells(pipeline: &str, standing: &Standing) -> Vec<String> {
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
        format!("{:.1}", standing.bytes as f64 / f64::from(1 << 20)),
    ]
}
