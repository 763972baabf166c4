//! Whole definitions, right and wrong.

mod broken;
mod declared;
