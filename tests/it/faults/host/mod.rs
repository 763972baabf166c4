//! Faults of the host, on the real process: a full or failing disk, limits, clocks that jump, readers that go away.

mod calls;
mod clocks;
mod disk;
mod limits;
mod memory;
mod output;
mod rig;
