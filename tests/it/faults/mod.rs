//! The fault suite: what must hold whatever breaks.

mod few_files;

// The points are compiled in debug builds only, and so is what arms them.
#[cfg(debug_assertions)]
mod kill_case;
#[cfg(debug_assertions)]
mod kill_points;
#[cfg(debug_assertions)]
mod kill_replay;
#[cfg(debug_assertions)]
mod kill_signals;
