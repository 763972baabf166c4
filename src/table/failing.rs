//! The kill points that lie in the store: which call of the libraries or of ours is which point is told by its path and
//! by the operation in a log entry. Debug builds only, and only where a point is armed.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use serde_json::Value;

use crate::failpoint;

const LOG: &str = "_delta_log";
const HINT: &str = "_last_checkpoint";

/// `root` with the points in its calls, where one is armed; the lake is at `lake` in it.
pub(super) fn watched(root: Arc<dyn ObjectStore>, lake: &Path) -> Arc<dyn ObjectStore> {
    if !failpoint::any() {
        return root;
    }
    let lake = lake.clone();
    Arc::new(Failing { inner: root, lake })
}

#[derive(Debug)]
struct Failing {
    inner: Arc<dyn ObjectStore>,
    lake: Path,
}

impl Failing {
    /// The layer that the path belongs to, and the path's parts in the table: none for what is in no table.
    fn place(&self, location: &Path) -> Option<(String, Vec<String>)> {
        let mut parts = location
            .prefix_match(&self.lake)?
            .map(|part| part.as_ref().to_owned())
            .skip(1);
        let layer = parts.next()?;
        let rest = parts.skip(usize::from(matches!(layer.as_str(), "gold" | "late")));
        Some((layer, rest.collect()))
    }

    /// The points before and after a put.
    fn points(&self, location: &Path, payload: &[u8]) -> (Option<&'static str>, Option<&'static str>) {
        let Some((layer, parts)) = self.place(location) else {
            return (None, None);
        };
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        if !matches!(parts.as_slice(), [log, name] if *log == LOG && name.ends_with(".json")) {
            return (None, None);
        }
        let text = String::from_utf8_lossy(payload);
        let operation = |name: &str| text.contains(&format!("\"operation\":\"{name}\""));
        match layer.as_str() {
            _ if operation("OPTIMIZE") => (Some("M1"), Some("M2")),
            _ if operation("VACUUM START") => (None, Some("M4")),
            _ if operation("VACUUM END") => (Some("M4"), None),
            "bronze" if operation("STREAMING UPDATE") => (Some("B3"), Some("B4")),
            "silver" if operation("STREAMING UPDATE") => (Some("S3"), None),
            "gold" if operation("STREAMING UPDATE") => (Some("G2"), Some("G3")),
            _ => (None, None),
        }
    }

    /// Half of the payload under the name of the whole, as power loss or a store without staging leaves it.
    async fn tear(&self, location: &Path, bytes: &Bytes) -> Result<()> {
        let half = bytes.slice(..bytes.len() / 2);
        self.inner.put(location, half.into()).await?;
        failpoint::act();
        Ok(())
    }

    /// Deletes the log checkpoint that the hint at `location` names.
    async fn delete_named(&self, location: &Path, hint: &[u8]) -> Result<()> {
        let hint: Value = serde_json::from_slice(hint).unwrap_or_default();
        let version = hint.get("version").and_then(Value::as_u64).unwrap_or_default();
        let folder: Path = location.parts().filter(|part| part.as_ref() != HINT).collect();
        let named = folder.join(format!("{version:020}.checkpoint.parquet"));
        self.inner.delete(&named).await?;
        failpoint::act();
        Ok(())
    }
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failing({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Failing {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let bytes = Bytes::from(payload.clone());
        let name = location.filename().unwrap_or_default();
        let data = self
            .place(location)
            .is_some_and(|(layer, parts)| layer == "bronze" && !parts.iter().any(|part| part == LOG));
        if data && failpoint::due("B2") {
            self.tear(location, &bytes).await?;
        }
        if name == HINT {
            failpoint::hit("M6");
            if failpoint::due("M7") {
                self.tear(location, &bytes).await?;
            }
        }
        let (before, after) = self.points(location, &bytes);
        before.into_iter().for_each(failpoint::hit);
        let result = self.inner.put_opts(location, payload, opts).await?;
        after.into_iter().for_each(failpoint::hit);
        if name == HINT && failpoint::due("M8") {
            self.delete_named(location, &bytes).await?;
        }
        Ok(result)
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    /// One after the other, so that a point lies between two deletions and not among ten.
    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (inner, lake) = (self.inner.clone(), self.lake.clone());
        let table = Self { inner, lake };
        let table = Arc::new(table);
        let delete = move |location: Path| {
            let table = table.clone();
            async move {
                table.inner.delete(&location).await?;
                match table.place(&location) {
                    Some((_, parts)) if parts.iter().any(|part| part == LOG) => failpoint::hit("M5"),
                    Some((_, parts)) if !parts.is_empty() => failpoint::hit("M3"),
                    _ => {}
                }
                Ok(location)
            }
        };
        locations.and_then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
