//! Running the layers: one step, the loop around it, and replay. The only room that sees source, layer and table.
//!
//! **Invariant: a step reads a bounded range, applies a pure function, and commits rows with positions; whatever
//! happens between two commits is forgotten by a restart and done again.** Channels carry wake-ups, never rows.

mod account;
pub mod archive;
pub mod bronze;
mod bronze_loop;
pub mod chunks;
pub mod driver;
mod events;
pub mod gap;
pub mod gold;
pub mod health;
pub mod history;
mod keep;
mod lag;
mod layers;
pub mod lineage;
mod lock;
pub mod maintenance;
mod mirror;
pub mod names;
mod newest;
pub mod open;
pub mod overview;
mod progress;
pub mod recover;
pub mod references;
pub mod replay;
pub mod restore;
pub mod silver;
mod stall;
pub mod standing;
pub mod tables;
mod tell;
mod threads;
mod totals;
pub mod upstream;
pub mod wake;
mod watch;

pub use driver::{Components, Layer, OnBronze, Options, Summary, run};
pub use layers::Tally;
pub use lock::Lock;
pub use watch::Reload;
