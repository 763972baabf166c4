//! What kind of failure a library's error is: of the outside world, which may pass, or of the table, which does not.
//!
//! A reader that takes a broken connection for a damaged table stops for good where trying again would do.

use std::error::Error as StdError;
use std::fmt::Display;

use object_store::Error as StoreError;

use super::durable::SyncFailed;
use crate::error::{Error, Kind, Result};

/// How Delta's kernel shows an error of the store: it is in the text only, not among the error's sources.
const KERNEL_STORE: &str = "Error interacting with object store";

/// Adds the place to an error met while reading, and its kind.
pub(super) trait Reading<T> {
    /// [`Kind::Unavailable`] where the store failed, [`Kind::Damaged`] where it gave something that is not as it must
    /// be, or does not have it.
    fn or_unreadable<D: Display>(self, what: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: StdError + 'static> Reading<T> for std::result::Result<T, E> {
    fn or_unreadable<D: Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| {
            let told = Error::new(kind(&error), format!("{}: {error}", what()));
            match SyncFailed::caused(&error) {
                true => told.with_next(SyncFailed::NEXT),
                false => told,
            }
        })
    }
}

fn kind(error: &(dyn StdError + 'static)) -> Kind {
    if SyncFailed::caused(error) {
        return Kind::Unavailable;
    }
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(store) = error.downcast_ref::<StoreError>() {
            return match store {
                StoreError::NotFound { .. } | StoreError::InvalidPath { .. } => Kind::Damaged,
                _ => Kind::Unavailable,
            };
        }
        if error.is::<std::io::Error>() {
            return Kind::Unavailable;
        }
        at = error.source();
    }
    match error.to_string().contains(KERNEL_STORE) {
        true => Kind::Unavailable,
        false => Kind::Damaged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::errors::ParquetError;

    fn store(name: &str) -> StoreError {
        let source = name.into();
        match name {
            "gone" => StoreError::NotFound {
                path: String::new(),
                source,
            },
            _ => StoreError::Generic { store: "s3", source },
        }
    }

    #[test]
    fn a_broken_connection_may_pass_and_a_broken_file_does_not() {
        let inside = |error: StoreError| ParquetError::External(Box::new(error));
        assert_eq!(kind(&inside(store("reset"))), Kind::Unavailable);
        assert_eq!(kind(&inside(store("gone"))), Kind::Damaged);
        assert_eq!(kind(&ParquetError::General("no footer".to_owned())), Kind::Damaged);
    }
}
