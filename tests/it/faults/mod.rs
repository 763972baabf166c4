//! The fault suite: what must hold whatever breaks.

mod compactions;
mod host;
