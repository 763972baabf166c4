//! How the memory that a run may take is shared out: smaller steps instead of growth.
//!
//! Records take memory on their way: fetched and waiting in the Kafka client, as bronze's batch, handed on to silver, as
//! silver's rows, handed on to gold. Each place has a bound in bytes, all of them together three quarters of
//! what a run may take; the rest is for the program itself. By the default that is enough:
//! `tests/it/faults/host/memory.rs` runs over 10 GiB of backlog in front of a slow store. With less, the program's own
//! share counts for more. What is *state* rather than on its way is not bounded here: keys
//! remembered by silver, reference data, and open windows of gold, which are as many as the definitions make them.

use super::{Pipeline, SourceKind};

/// Bytes that a run may take, state apart, unless told otherwise.
pub const DEFAULT: u64 = 512 << 20;
/// With less than this, steps would be so small that commits are all it does.
pub const LEAST: u64 = 64 << 20;

/// librdkafka's bound on what it fetches ahead.
const QUEUE: &str = "queued.max.messages.kbytes";

/// The shares of pipelines that run together.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// Bytes for the rows of one pipeline.
    each: u64,
}

impl Share {
    /// That of each of `pipelines` pipelines in `memory` bytes.
    pub fn of(memory: u64, pipelines: usize) -> Self {
        Self {
            each: memory / 4 * 3 / (pipelines as u64).max(1),
        }
    }

    /// Bytes of rows that one pipeline's layers may hand on to each other.
    pub fn handed_on(self) -> usize {
        size(self.each / 8)
    }

    /// Lowers the pipeline's bounds until they fit; what is declared lower stays.
    pub fn fit(self, pipeline: &mut Pipeline) {
        let lower = |bytes: &mut usize, most: u64| *bytes = (*bytes).min(size(most));
        // Payload alone is counted there; seq, offsets and the rest take about as much again for small events.
        lower(&mut pipeline.bronze.commit.max_bytes, self.each / 16);
        lower(&mut pipeline.silver.commit.max_bytes, self.each / 8);
        if let SourceKind::Kafka(kafka) = &mut pipeline.bronze.source {
            // Payload again, and librdkafka takes twice as much beside it for each small message.
            let queue = (self.each / 32 / 1024).to_string();
            kafka.options.entry(QUEUE.to_owned()).or_insert(super::Secret(queue));
        }
    }
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::definition::{Bronze, CommitPolicy, KafkaSource, Secret, samples};

    fn pipeline(max_bytes: usize) -> Pipeline {
        let commit = CommitPolicy {
            max_rows: 1,
            max_bytes,
            max_delay: Duration::from_secs(1),
        };
        let source = SourceKind::Kafka(KafkaSource {
            brokers: "localhost:1".to_owned(),
            topic: "t".to_owned(),
            idle_after: Duration::from_secs(1),
            quiet_after: None,
            stalled_after: Duration::from_secs(1),
            options: BTreeMap::new(),
        });
        let mut silver = samples::silver();
        silver.commit = commit;
        Pipeline {
            name: "p".to_owned(),
            bronze: Bronze {
                source,
                commit,
                keep: None,
            },
            silver,
            gold: Vec::new(),
        }
    }

    fn queue(pipeline: &Pipeline) -> Option<&str> {
        match &pipeline.bronze.source {
            SourceKind::Kafka(kafka) => kafka.options.get(QUEUE).map(|it| it.0.as_str()),
            SourceKind::Files(_) => None,
        }
    }

    #[test]
    fn pipelines_share_and_what_is_declared_lower_stays() {
        let mut pipelines = [pipeline(64 << 20), pipeline(1000)];
        if let SourceKind::Kafka(kafka) = &mut pipelines[1].bronze.source {
            kafka.options.insert(QUEUE.to_owned(), Secret("7".to_owned()));
        }
        let share = Share::of(256 << 20, pipelines.len());
        pipelines.iter_mut().for_each(|pipeline| share.fit(pipeline));
        assert_eq!(share.handed_on(), 12 << 20);
        let bounds = |it: &Pipeline| (it.bronze.commit.max_bytes, it.silver.commit.max_bytes);
        assert_eq!(bounds(&pipelines[0]), (6 << 20, 12 << 20));
        assert_eq!(bounds(&pipelines[1]), (1000, 1000));
        assert_eq!((queue(&pipelines[0]), queue(&pipelines[1])), (Some("3072"), Some("7")));
    }
}
