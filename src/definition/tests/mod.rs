//! Whole definitions, right and wrong.

mod broken;
mod broken_files;
mod broken_layers;
mod declared;
mod keep;
