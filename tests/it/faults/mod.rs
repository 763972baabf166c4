//! The fault suite: what must hold whatever breaks.

mod power;
mod power_cost;
mod power_traced;
