//! The fault suite: what must hold whatever breaks.

mod invariants;
mod processes;
mod scenario;
mod store;
mod together;
mod writers;
mod zombies;
