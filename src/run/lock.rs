//! An advisory lock per layer on a local lake: the early, clear answer to a second writer on the same host.
//!
//! It is a courtesy. What excludes two writers is the transaction in the commit; on an object store there is no
//! lock at all.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};

use crate::error::{Context, Error, Kind, Result};
use crate::table::Lake;

/// Held while a layer of a pipeline is written by this process.
pub struct Lock {
    _file: Option<File>,
}

impl Lock {
    /// Takes the lock of `layer`, or says who has it.
    pub fn take(lake: &Lake, pipeline: &str, layer: &str) -> Result<Self> {
        let Some(root) = lake.local_path() else {
            return Ok(Self { _file: None });
        };
        let directory = root.join("_locks");
        let path = directory.join(format!("{pipeline}.{layer}.lock"));
        let what = || format!("the lock file {}", path.display());
        std::fs::create_dir_all(&directory).or_fail(Kind::Unavailable, what)?;
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .or_fail(Kind::Unavailable, what)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                return Err(Error::new(
                    Kind::Fenced,
                    format!(
                        "layer {layer} of {pipeline} is being written by another process ({})",
                        holder.trim()
                    ),
                )
                .with_next("stop that process first; every layer has one writer"));
            }
            Err(TryLockError::Error(error)) => return Err(error).or_fail(Kind::Unavailable, what),
        }
        let note = || -> std::io::Result<()> {
            let mut file = &file;
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "pid {}", std::process::id())
        };
        note().or_fail(Kind::Unavailable, what)?;
        Ok(Self { _file: Some(file) })
    }
}
