//! Where the metrics are kept and how they are read.

use std::sync::Arc;

use metrics::{describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

use super::catalogue::{CATALOGUE, Metric, Shape};
use crate::error::{Context, Kind, Result};

/// Bounds of the histograms in seconds: from a commit to local disk to a large step on a slow store.
const SECONDS: [f64; 15] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// The metrics of this process. Clones share them.
#[derive(Clone)]
pub struct Exporter {
    handle: PrometheusHandle,
    process: Arc<Collector>,
}

impl Exporter {
    /// Takes in from now on what this process measures. Where it leaves a file of it, `textfile` is that file's name, which
    /// every sample has as a label then: node-exporter knows files apart by nothing else.
    ///
    /// # Errors
    /// [`Kind::Bug`] where that was done before.
    pub fn install(textfile: Option<&str>) -> Result<Self> {
        let mut builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .or_fail(Kind::Bug, || "the metrics' buckets")?;
        if let Some(name) = textfile {
            builder = builder.add_global_label("textfile", name);
        }
        let handle = builder
            .install_recorder()
            .or_fail(Kind::Bug, || "installing the metrics")?;
        let exporter = Self {
            handle,
            process: Arc::default(),
        };
        CATALOGUE.iter().for_each(describe);
        exporter.process.describe();
        gauge!("medallion_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        Ok(exporter)
    }

    /// All of them in Prometheus' text format.
    pub fn text(&self) -> String {
        self.process.collect();
        self.handle.render()
    }

    /// Puts measured values into their buckets; where nobody reads they would pile up. To be called every few seconds.
    pub fn tidy(&self) {
        self.handle.run_upkeep();
    }
}

fn describe(metric: &Metric) {
    let Metric { name, shape, help } = *metric;
    match shape {
        Shape::Counter => describe_counter!(name, help),
        Shape::Gauge => describe_gauge!(name, help),
        Shape::Histogram => describe_histogram!(name, help),
    }
}
