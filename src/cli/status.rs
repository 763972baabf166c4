//! `medallion status`.

use std::time::Duration;

use super::args::Status;
use super::output::{self, grouped};
use super::session::Session;
use crate::definition::Pipeline;
use crate::error::{Error, Result};
use crate::run::overview::{self, Overview};
use crate::run::standing::Standing;
use crate::run::upstream;
use crate::source::loss_error;
use crate::table::Lake;

const WATCH_EVERY: Duration = Duration::from_secs(2);

/// A pipeline, and what is wrong with its tables, or with its source where that was asked.
struct Look {
    overview: Overview,
    trouble: Option<Error>,
}

/// Prints where each layer stands, once or again and again.
///
/// Errors: that of the first pipeline whose tables cannot be read or, with `--source`, whose source has lost records or does
/// not answer; all were printed then. With `--watch` they are printed, too, and looking goes on.
pub fn status(session: &Session, command: &Status) -> Result<()> {
    let pipelines = session.pipelines(command.pipeline.as_deref())?;
    let lake = session.lake_to_read()?;
    loop {
        let mut all = Vec::new();
        for pipeline in &pipelines {
            all.push(look(session, &lake, pipeline, command.source));
        }
        show(session, &all)?;
        let mut troubles = all.into_iter().filter_map(|look| look.trouble);
        if !command.watch {
            return troubles.next().map_or(Ok(()), |trouble| {
                let next = trouble.advice().to_owned();
                Err(trouble.with_next(next))
            });
        }
        for trouble in troubles {
            output::line(format!("error: {}\n  next: {}", trouble.what(), trouble.advice()))?;
        }
        std::thread::sleep(WATCH_EVERY);
    }
}

fn look(session: &Session, lake: &Lake, pipeline: &Pipeline, source: bool) -> Look {
    let mut look = match session.runtime.block_on(overview::of(lake, pipeline)) {
        Ok(overview) => Look {
            overview,
            trouble: None,
        },
        Err(error) => Look {
            overview: Overview::unread(pipeline, &error),
            trouble: Some(error),
        },
    };
    if source && look.trouble.is_none() {
        let asked = session
            .runtime
            .block_on(upstream::of(lake, session.project(), pipeline));
        match asked {
            Ok(None) => {}
            Ok(Some(upstream)) => {
                if let Some(bronze) = look.overview.layers.first_mut() {
                    bronze.standing.lag_rows = Some(upstream.waiting);
                }
                look.trouble = loss_error(&pipeline.name, &upstream.losses);
            }
            Err(error) => look.trouble = Some(error),
        }
    }
    if let Some(trouble) = &look.trouble {
        look.overview = look.overview.in_trouble(trouble);
    }
    look
}

fn show(session: &Session, all: &[Look]) -> Result<()> {
    if session.json() {
        let overviews: Vec<&Overview> = all.iter().map(|look| &look.overview).collect();
        return output::json(&overviews);
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
    for Look { overview, trouble } in all {
        let Overview { pipeline, layers, .. } = overview;
        if layers.is_empty() && trouble.is_none() {
            output::line(format!(
                "{pipeline}: not run yet; `medallion run -p {pipeline}` starts it"
            ))?;
        }
        table.extend(layers.iter().map(|layer| cells(pipeline, &layer.standing)));
    }
    if table.len() > 1 {
        output::columns(&table)?;
    }
    all.iter()
        .filter_map(|look| fates(&look.overview))
        .try_for_each(output::line)
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

/// What became of a pipeline's records, in a line.
fn fates(overview: &Overview) -> Option<String> {
    let quality = overview.quality.as_ref()?;
    let counts: Vec<String> = quality
        .counts()
        .filter(|(_, records)| *records > 0)
        .map(|(fate, records)| format!("{} {fate}", grouped(records)))
        .collect();
    let records = grouped(quality.records);
    Some(format!(
        "{}: {records} records: {}",
        overview.pipeline,
        counts.join(", ")
    ))
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}
