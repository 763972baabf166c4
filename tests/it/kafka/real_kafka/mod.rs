//! What only a real broker shows to a pipeline.

mod crash;
mod loss;
mod partitions;
mod records;
