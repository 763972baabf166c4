//! Which data files a compaction may merge.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use deltalake::DeltaTable;
use deltalake::kernel::{Add, LogicalFileView};

use super::load::{add_of, views};
use crate::error::Result;

/// The files below `small` bytes that share their partition with another such file, and hardly any that do not: of a table
/// with a partition per minute, which has millions of files and none to merge, nothing is copied.
///
/// Errors: those of [`super::load::active_files`].
pub(super) fn crowded(table: &DeltaTable, partition_by: &[String], small: i64) -> Result<Vec<Add>> {
    let hasher = RandomState::new();
    let partition = |file: &LogicalFileView| {
        let values = file.partition_values_map();
        let values: Vec<_> = partition_by.iter().map(|name| values.get(name)).collect();
        hasher.hash_one(values)
    };
    let mut shared: HashMap<u64, bool> = HashMap::new();
    for file in views(table)?.filter(|file| file.size() < small) {
        shared
            .entry(partition(&file))
            .and_modify(|shared| *shared = true)
            .or_default();
    }
    views(table)?
        .filter(|file| file.size() < small && shared.get(&partition(file)) == Some(&true))
        .map(|file| add_of(&file))
        .collect()
}
