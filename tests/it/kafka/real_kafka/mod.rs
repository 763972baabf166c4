//! What only a real broker shows to a pipeline.

mod changes;
mod crash;
mod loss;
mod outages;
mod partitions;
mod records;
