//! The loops: every layer of every pipeline on a thread of its own, woken by the layer before it.
//!
//! One loop shape for all: step; after progress step again; else wait for upstream. A failure that may pass opens
//! the layer anew after a pause, because only the tables know what was committed; any other failure ends the run.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;

use super::bronze_loop::BronzeLoop;
use super::events::Events;
use super::health::Health;
use super::history::History;
use super::layers::{GoldLoop, LayerLoop, SilverLoop, Tally, Turn};
use super::maintenance::keep_small;
use super::threads;
use super::wake::{Bell, Stop};
use super::watch::{Reload, RunEnd, watch};
use crate::checkpoint::Checkpoints;
use crate::definition::Pipeline;
use crate::definition::maintenance::Maintenance;
use crate::error::{Kind, Result};
use crate::metrics;
use crate::source::Positions;
use crate::table::Lake;

/// Pauses between openings of a layer that failed in a way that may pass.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How often a layer looks upstream without being woken: upstream may be another process.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// Records as they came.
    Bronze,
    /// Valid events.
    Silver,
    /// Aggregates.
    Gold,
}

impl Layer {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bronze => "bronze",
            Self::Silver => "silver",
            Self::Gold => "gold",
        }
    }
}

/// What to run and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// Only this layer; none: all three.
    pub layer: Option<Layer>,
    /// Up to what is there at the start, then end.
    pub once: bool,
    /// Tell the layers that the input has ended, so that every window closes.
    pub close_windows: bool,
    /// Take a changed definition into force for new rows.
    pub adopt: bool,
}

/// Called with bronze's positions after each of its commits.
pub type OnBronze = Arc<dyn Fn(&Positions) + Send + Sync>;

/// What the loops work with.
#[derive(Clone)]
pub struct Components {
    /// Where the tables are.
    pub lake: Lake,
    /// The directory that declared files are relative to.
    pub project: PathBuf,
    /// Where silver's state is saved for a fast restart, if anywhere.
    pub checkpoints: Checkpoints,
    /// The runtime that I/O runs on.
    pub runtime: Handle,
    /// The wish to end.
    pub stop: Stop,
    /// Who wants to know of bronze's commits, if anyone.
    pub on_bronze: Option<OnBronze>,
    /// How the layers fare, for whoever looks.
    pub health: Health,
    /// Where the layers were in the last hour, for whoever looks.
    pub history: History,
    /// When and how tables are kept small.
    pub maintenance: Maintenance,
    /// Reads a declaration anew, so that a run can tell when the files are no longer those it started with; none:
    /// nobody looks.
    pub reload: Option<Reload>,
}

impl Components {
    /// Components that nobody looks into, that save no state and maintain no table.
    pub fn new(lake: Lake, project: PathBuf, runtime: Handle, stop: Stop) -> Self {
        let health = Health::new(lake.clock().clone());
        Self {
            lake,
            project,
            checkpoints: Checkpoints::off(),
            runtime,
            stop,
            on_bronze: None,
            health,
            history: History::default(),
            maintenance: Maintenance {
                every: None,
                ..Maintenance::default()
            },
            reload: None,
        }
    }
}

/// What a run did to one pipeline.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Summary {
    /// The pipeline.
    pub pipeline: String,
    /// Of a one-shot run: whether each layer that ran came to the end of what was there. False where it was asked to stop before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complete: Option<bool>,
    /// Per layer that ran, what it did.
    pub layers: Vec<Tally>,
}

/// Runs the layers of `pipelines` until the input ends (`once`), someone asks to stop, or a layer fails for good.
pub fn run(components: &Components, pipelines: &[Pipeline], options: &Options) -> Result<Vec<Summary>> {
    let end = RunEnd::default();
    std::thread::scope(|scope| {
        scope.spawn(|| watch(pipelines, components.reload.as_ref(), &components.health, &end));
        scope.spawn(|| keep_small(components, pipelines, options, &end));
        let running: Vec<_> = pipelines
            .iter()
            .map(|pipeline| {
                threads::start(scope, &pipeline.name, &components.stop, move || {
                    run_pipeline(components, pipeline, options)
                })
            })
            .collect();
        let ended: Vec<_> = running
            .into_iter()
            .map(|thread| threads::ended(thread, &components.stop))
            .collect();
        end.tell();
        ended.into_iter().collect()
    })
}

fn run_pipeline(components: &Components, pipeline: &Pipeline, options: &Options) -> Result<Summary> {
    let stop = &components.stop;
    let wanted = |layer| options.layer.is_none_or(|only| only == layer);
    let stages = [Stage::default(), Stage::default()];
    let [bronze_end, silver_end] = &stages;
    // A layer whose upstream does not run here sees upstream as it is: all there will be in a one-shot run.
    bronze_end.done.store(!wanted(Layer::Bronze), Ordering::SeqCst);
    silver_end.done.store(!wanted(Layer::Silver), Ordering::SeqCst);
    std::thread::scope(|scope| {
        let events = Events::begin(scope, components, pipeline, options.layer);
        let mut running = Vec::new();
        if wanted(Layer::Bronze) {
            let layer = BronzeLoop::new(components, pipeline, options);
            running.push(threads::start(scope, "bronze", stop, move || {
                drive(layer, components, options, None, Some(bronze_end))
            }));
        }
        if wanted(Layer::Silver) {
            let layer = SilverLoop::new(components, pipeline, options);
            running.push(threads::start(scope, "silver", stop, move || {
                drive(layer, components, options, Some(bronze_end), Some(silver_end))
            }));
        }
        if wanted(Layer::Gold) {
            let layer = GoldLoop::new(components, pipeline, options);
            running.push(threads::start(scope, "gold", stop, move || {
                drive(layer, components, options, Some(silver_end), None)
            }));
        }
        let ended: Vec<_> = running.into_iter().map(|thread| threads::ended(thread, stop)).collect();
        events.end();
        let (ends, layers): (Vec<_>, Vec<_>) = ended.into_iter().collect::<Result<Vec<_>>>()?.into_iter().unzip();
        Ok(Summary {
            pipeline: pipeline.name.clone(),
            complete: options.once.then(|| ends.iter().all(|end| *end == End::OfInput)),
            layers,
        })
    })
}

/// What a layer's downstream knows of it.
#[derive(Default)]
struct Stage {
    bell: Bell,
    done: AtomicBool,
}

/// Marks a stage as done however its loop ends, so that nobody waits for it.
struct Ending<'a>(Option<&'a Stage>);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if let Some(stage) = self.0 {
            stage.done.store(true, Ordering::SeqCst);
            stage.bell.ring();
        }
    }
}

/// How a layer came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It has done all that there was.
    OfInput,
    /// It was asked to stop.
    Asked,
}

/// Turns a layer until it ends, and keeps account of how it fares.
fn drive(
    mut layer: impl LayerLoop,
    components: &Components,
    options: &Options,
    upstream: Option<&Stage>,
    downstream: Option<&Stage>,
) -> Result<(End, Tally)> {
    let ending = Ending(downstream);
    let (pipeline, name) = layer.name();
    let pipeline = pipeline.to_owned();
    let turned = turn_on(&mut layer, components, options, upstream, downstream);
    components.health.ended(&pipeline, name, turned.as_ref().err());
    // Nobody downstream waits for what is only for the next start.
    drop(ending);
    let end = turned?;
    layer.finish();
    Ok((end, layer.tally()))
}

fn turn_on(
    layer: &mut impl LayerLoop,
    components: &Components,
    options: &Options,
    upstream: Option<&Stage>,
    downstream: Option<&Stage>,
) -> Result<End> {
    let Components { stop, health, .. } = components;
    let (pipeline, name) = layer.name();
    let pipeline = pipeline.to_owned();
    metrics::layer_started(&pipeline, name, components.lake.clock().now());
    health.begins(&pipeline, name);
    let mut pause = PAUSE_MIN;
    loop {
        let last_turn = stop.asked();
        // Taken before the turn: what upstream committed before it was done must still be seen.
        let upstream_done = upstream.is_none_or(|stage| stage.done.load(Ordering::SeqCst));
        let seen = upstream.map_or(0, |stage| stage.bell.count());
        #[cfg(feature = "otel")]
        let began = std::time::Instant::now();
        let turned = layer.turn(upstream_done, last_turn);
        if turned.is_ok() {
            match layer.trouble() {
                None => health.turned(&pipeline, name),
                Some(trouble) => health.stalled(&pipeline, name, trouble),
            }
        }
        match turned {
            Ok(Turn::Progress) => {
                pause = PAUSE_MIN;
                if let Some(stage) = downstream {
                    stage.bell.ring();
                }
            }
            Ok(Turn::Waiting) => {
                pause = PAUSE_MIN;
                if let Some(stage) = upstream
                    && !last_turn
                {
                    stage.bell.wait(seen, LOOK_EVERY);
                }
            }
            Ok(Turn::Ended) => return Ok(End::OfInput),
            Err(error) => {
                metrics::error(&pipeline, name, error.kind());
                #[cfg(feature = "otel")]
                let _span = {
                    let now = components.lake.clock().now();
                    crate::otel::failed(&pipeline, name, &error, began.elapsed().as_secs_f64(), now)
                };
                if error.kind() != Kind::Unavailable || options.once || last_turn {
                    tracing::error!(pipeline, layer = name, kind = error.kind().name(), %error, "the run ends");
                    stop.ask();
                    return Err(error.context(format!("{pipeline} {name}")));
                }
                tracing::warn!(pipeline, layer = name, %error, pause_ms = pause.as_millis() as u64, "trying again");
                health.retrying(&pipeline, name, &error);
                layer.forget();
                stop.sleep(pause);
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
        if last_turn {
            return Ok(End::Asked);
        }
    }
}
