//! The fault suite: what must hold whatever breaks.

mod kafka;
