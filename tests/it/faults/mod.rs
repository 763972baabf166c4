//! The fault suite: what must hold whatever breaks.

mod checkpoint;
mod compactions;
mod declared;
mod few_files;
mod health;
mod host;
mod invariants;
mod kafka;
// The kill points are compiled in debug builds only, and so is what arms them.
#[cfg(debug_assertions)]
mod kill_case;
#[cfg(debug_assertions)]
mod kill_points;
#[cfg(debug_assertions)]
mod kill_replay;
#[cfg(debug_assertions)]
mod kill_signals;
mod lineage;

mod power;
mod power_cost;
mod power_traced;
mod processes;
mod scenario;
mod store;
mod together;
mod untrusted;
mod writers;
mod zombies;
