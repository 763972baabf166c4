//! Pipelines over Kafka: one suite for the in-process broker and for a real one, and what only a real one can show.
//!
//! The real part is ignored unless asked for: `scripts/kafka.sh start`, `MEDALLION_TEST_KAFKA=127.0.0.1:19092`, and
//! `cargo test --test it real_kafka -- --ignored --test-threads=1`, as `.ci/run` does.

pub mod bed;
mod real_kafka;
pub mod suite;
pub mod views;

/// Makes two tests of each function of the suite: one on the in-process broker, one on a real one.
macro_rules! on_both {
    ($($name:ident)*) => {
        mod on_mock {
            use super::bed::Mock;

            $(#[test]
            fn $name() {
                super::suite::$name(&|partitions| Box::new(Mock::start(partitions)));
            })*
        }

        mod on_real_kafka {
            use crate::support::real_kafka::Topic;

            $(#[test]
            #[ignore = "needs a broker: MEDALLION_TEST_KAFKA=host:port"]
            fn $name() {
                super::suite::$name(&|partitions| Box::new(Topic::create("suite", partitions, &[])));
            })*
        }
    };
}

on_both! {
    every_event_has_the_fate_it_was_made_for_and_the_next_run_goes_on
    the_layers_can_run_one_after_the_other
    a_live_run_takes_in_what_comes_and_stops_when_asked
    an_idle_partition_does_not_hold_back_busy_ones_for_ever
    a_quiet_topic_closes_its_last_window
    bronze_has_every_byte_as_it_was_sent
    an_unknown_topic_is_an_error_and_leaves_no_table_behind
}
