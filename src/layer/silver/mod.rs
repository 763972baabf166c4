//! The silver layer.
