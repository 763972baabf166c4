//! The fault suite: what must hold whatever breaks.

mod declared;
mod health;
mod lineage;
// The points are compiled in debug builds only, and so is what arms them.
mod checkpoint;
#[cfg(debug_assertions)]
mod kill_case;
#[cfg(debug_assertions)]
mod kill_points;
#[cfg(debug_assertions)]
mod kill_replay;
#[cfg(debug_assertions)]
mod kill_signals;
mod untrusted;
mod invariants;
mod processes;
mod scenario;
mod store;
mod together;
mod writers;
mod zombies;
