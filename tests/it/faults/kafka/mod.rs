//! Kafka at its worst, on the broker inside this process: links, leaders, silence, loss, records nobody wants.
//! What needs a real broker is in `kafka/real_kafka/`.

mod gaps;
mod large;
mod leaders;
mod links;
mod poison;
mod silence;
