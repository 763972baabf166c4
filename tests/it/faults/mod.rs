//! The fault suite: what must hold whatever breaks.

mod declared;
mod health;
mod lineage;
