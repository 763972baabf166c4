//! What every command starts from: settings, definitions, lake, logs.

use std::io::IsTerminal;
use std::path::PathBuf;

use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use super::args::{Global, Output};
use crate::checkpoint::Checkpoints;
use crate::clock::Clock;
use crate::definition::settings::{LogFormat, Overrides, Settings, load_settings};
use crate::definition::{Pipeline, load};
use crate::error::{Context, Error, Kind, Result};
use crate::table::Lake;

/// Settings in force and the means to reach the lake.
pub struct Session {
    /// The settings in force.
    pub settings: Settings,
    /// How results are printed.
    pub output: Output,
    /// The I/O runtime.
    pub runtime: Handle,
    /// The wall clock.
    pub clock: Clock,
}

/// The process environment as definitions see it.
pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl Session {
    /// Reads the settings and starts the log.
    pub fn open(global: &Global, runtime: Handle) -> Result<Self> {
        let overrides = Overrides {
            lake: global.lake.clone(),
            checkpoints: global.checkpoints.clone(),
            durability: global.durability.clone(),
            metrics: global.metrics.clone(),
            log_format: global.log_format.clone(),
            log: global.log.clone(),
        };
        let settings = load_settings(&global.project, &env)?.with(overrides)?;
        #[cfg(feature = "otel")]
        crate::otel::start(&runtime, &env)?;
        start_log(&settings)?;
        Ok(Self {
            settings,
            output: global.output,
            runtime,
            clock: Clock::system(),
        })
    }

    /// The project's directory.
    pub fn project(&self) -> &PathBuf {
        &self.settings.project
    }

    /// All declared pipelines, or the one named.
    pub fn pipelines(&self, only: Option<&str>) -> Result<Vec<Pipeline>> {
        let pipelines = load(self.project(), &env)?;
        let Some(only) = only else {
            return Ok(pipelines);
        };
        let names: Vec<String> = pipelines.iter().map(|pipeline| pipeline.name.clone()).collect();
        let found: Vec<Pipeline> = pipelines.into_iter().filter(|pipeline| pipeline.name == only).collect();
        if found.is_empty() {
            return Err(Error::new(Kind::Usage, format!("there is no pipeline {only}"))
                .with_next(format!("declared are: {}", names.join(", "))));
        }
        Ok(found)
    }

    /// The lake, made if it is not there and ready to be written.
    pub fn lake(&self) -> Result<Lake> {
        let location = self.lake_location();
        self.runtime
            .block_on(Lake::open_with(&location, &self.settings.store, self.clock.clone()))?
            .with_durability(self.settings.durability)
    }

    /// The lake for looking only: nothing is made.
    pub fn lake_to_read(&self) -> Result<Lake> {
        Lake::open_to_read(&self.lake_location(), &self.settings.store, self.clock.clone())
    }

    /// A relative directory is relative to the project.
    fn lake_location(&self) -> String {
        let location = &self.settings.lake;
        if location.contains("://") || PathBuf::from(location).is_absolute() {
            return location.clone();
        }
        self.project().join(location).to_string_lossy().into_owned()
    }

    /// Where silver's state is saved; a relative directory is relative to the project.
    pub fn checkpoints(&self) -> Checkpoints {
        match &self.settings.checkpoints {
            Some(directory) => Checkpoints::at(self.project().join(directory)).every(self.settings.checkpoint_rows),
            None => Checkpoints::off(),
        }
    }

    /// Whether results go out as JSON.
    pub fn json(&self) -> bool {
        self.output == Output::Json
    }
}

/// Starts the log on stderr. What the levels mean, everywhere: **error**, the run ends or data needs a person; **warn**,
/// something is degraded, retried or refused and the run goes on; **info**, one line per commit and what begins, changes
/// or ends; **debug**, why. None of them per row.
fn start_log(settings: &Settings) -> Result<()> {
    let filter = EnvFilter::try_new(&settings.log)
        .or_fail(Kind::Usage, || format!("log filter {}", settings.log))?
        // Libraries repeat what our own lines say, or speak of what we expect and handle.
        .add_directive("deltalake_core=error".parse().or_fail(Kind::Bug, || "log filter")?)
        .add_directive("delta_kernel=error".parse().or_fail(Kind::Bug, || "log filter")?)
        .add_directive("buoyant_kernel=error".parse().or_fail(Kind::Bug, || "log filter")?);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        // The subscriber tells its own failure to write on stderr, which panics where stderr is what failed.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    match settings.log_format {
        LogFormat::Text => install(builder.finish()),
        LogFormat::Json => install(builder.json().finish()),
    }
}

/// Makes this the log of the process. With the feature `otel`, what it lets through goes to the collector, too.
fn install(log: impl Subscriber + for<'a> LookupSpan<'a> + Send + Sync) -> Result<()> {
    #[cfg(feature = "otel")]
    let log = tracing_subscriber::layer::SubscriberExt::with(log, crate::otel::log_layer());
    log.try_init()
        .map_err(|error| Error::new(Kind::Bug, format!("starting the log: {error}")))
}
