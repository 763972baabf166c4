//! Files that are not data and come in parts: log checkpoints too large for one piece.

use async_trait::async_trait;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart};

use super::Durable;

/// A file that gets its name, whole and on disk, when its last part is there. Until then its parts are in memory: half of
/// it must never be seen.
#[derive(Debug)]
pub(super) struct Parts {
    store: Durable,
    at: Path,
    parts: Vec<Bytes>,
}

impl Parts {
    /// Of the file at `at`, which has none yet.
    pub(super) fn new(store: Durable, at: Path) -> Self {
        Self {
            store,
            at,
            parts: Vec::new(),
        }
    }
}

#[async_trait]
impl MultipartUpload for Parts {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        self.parts.extend(part);
        Box::pin(std::future::ready(Ok(())))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let whole = PutPayload::from_iter(self.parts.drain(..));
        self.store.keep(&self.at, whole, false).await?;
        self.store.remember(&self.at);
        Ok(PutResult {
            e_tag: None,
            version: None,
        })
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}
