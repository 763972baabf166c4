//! The whole pipeline, from files to gold, in memory or on disk; no broker.

mod by_date;
mod command_line;
mod events;
mod fencing;
mod handing_on;
mod kills;
mod large_log;
mod layers;
mod maintenance;
mod once;
mod replays;
mod retention;
mod tampering;
mod totals;
mod usage;
