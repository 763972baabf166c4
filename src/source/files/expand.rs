//! From declared paths and patterns to files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Kind, Result};

/// The files that `patterns` name, relative to `base`, by the name they get as a topic: as declared, pattern filled in,
/// forward slashes. Sorted by that name; a file named twice comes once.
///
/// # Errors
/// [`Kind::Unavailable`] for a pattern that matches no file, [`Kind::Definition`] for one that is malformed.
pub(super) fn expand(base: &Path, patterns: &[String]) -> Result<BTreeMap<String, PathBuf>> {
    let mut files = BTreeMap::new();
    for pattern in patterns {
        let before = files.len();
        let mut known = 0;
        let escaped_base = glob::Pattern::escape(&base.to_string_lossy());
        // An absolute pattern replaces the base, as it does when joining paths.
        let absolute = Path::new(&escaped_base).join(pattern);
        let matches = glob::glob(&absolute.to_string_lossy()).or_fail(Kind::Definition, || {
            format!("the pattern `{pattern}` in `source.paths`")
        })?;
        for found in matches {
            let path = found.or_fail(Kind::Unavailable, || format!("looking for files like `{pattern}`"))?;
            if !path.is_file() {
                continue;
            }
            known += usize::from(files.insert(topic(base, &path), path).is_some());
        }
        if files.len() == before && known == 0 {
            return Err(Error::new(
                Kind::Unavailable,
                format!("no file matches `{pattern}` in {}", base.display()),
            )
            .with_next("put the files there or mend `source.paths`"));
        }
    }
    Ok(files)
}

fn topic(base: &Path, path: &Path) -> String {
    let shown = path.strip_prefix(base).unwrap_or(path);
    shown.to_string_lossy().replace('\\', "/")
}
