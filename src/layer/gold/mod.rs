//! The gold layer.
