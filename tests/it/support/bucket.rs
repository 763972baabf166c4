//! The objects behind the S3 server of the tests.
//!
//! The file system behind it looks whether an object exists and then writes it, so of two conditional puts at once both
//! could succeed. Here they come one at a time, so that a race between processes is truly decided, as on S3. A watch
//! may see every request before it is done and before it is answered, and hold it.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::BytesMut;
use futures::TryStreamExt;
use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput,
    GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output,
    PutObjectInput, PutObjectOutput, StreamingBlob,
};
use s3s::{Body, S3, S3Request, S3Response, S3Result};
use s3s_fs::FileSystem;
use tokio::sync::Semaphore;

/// One request at one of two moments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// `put`, `get`, `head`, `list` or `delete`.
    pub what: &'static str,
    /// The object, or the prefix of a list.
    pub key: String,
    /// Whether it is done and about to be answered; else it is about to be done.
    pub done: bool,
}

/// Sees each request; one for which it returns a gate waits for a permit of it.
pub type Watch = Box<dyn FnMut(&Seen) -> Option<Arc<Semaphore>> + Send>;

/// All objects of the server.
pub struct Bucket {
    files: FileSystem,
    one_at_a_time: tokio::sync::Mutex<()>,
    watch: Arc<Mutex<Option<Watch>>>,
}

impl Bucket {
    /// The objects in `files`, seen by whoever is put into `watch`.
    pub fn new(files: FileSystem, watch: Arc<Mutex<Option<Watch>>>) -> Self {
        let one_at_a_time = tokio::sync::Mutex::default();
        Self {
            files,
            one_at_a_time,
            watch,
        }
    }

    async fn see(&self, what: &'static str, key: &str, done: bool) {
        let key = key.to_owned();
        let gate = self
            .watch
            .lock()
            .unwrap()
            .as_mut()
            .and_then(|watch| watch(&Seen { what, key, done }));
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
    }
}

type Answer<T> = S3Result<S3Response<T>>;

#[async_trait]
impl S3 for Bucket {
    async fn put_object(&self, mut request: S3Request<PutObjectInput>) -> Answer<PutObjectOutput> {
        let key = request.input.key.clone();
        // Whole before it is anybody's turn: a client that sleeps in the middle of its body must hold up nobody.
        if let Some(body) = request.input.body.take() {
            let whole: BytesMut = body
                .try_collect()
                .await
                .map_err(|error| s3s::s3_error!(IncompleteBody, "{error}"))?;
            request.input.body = Some(StreamingBlob::from(Body::from(whole.freeze())));
        }
        self.see("put", &key, false).await;
        let turn = match request.input.if_none_match {
            Some(_) => Some(self.one_at_a_time.lock().await),
            None => None,
        };
        let answer = self.files.put_object(request).await;
        drop(turn);
        self.see("put", &key, true).await;
        answer
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> Answer<GetObjectOutput> {
        self.see("get", &request.input.key, false).await;
        self.files.get_object(request).await
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> Answer<HeadObjectOutput> {
        self.see("head", &request.input.key, false).await;
        self.files.head_object(request).await
    }

    async fn list_objects_v2(&self, request: S3Request<ListObjectsV2Input>) -> Answer<ListObjectsV2Output> {
        let prefix = request.input.prefix.clone().unwrap_or_default();
        self.see("list", &prefix, false).await;
        self.files.list_objects_v2(request).await
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> Answer<DeleteObjectOutput> {
        self.see("delete", &request.input.key, false).await;
        self.files.delete_object(request).await
    }

    async fn delete_objects(&self, request: S3Request<DeleteObjectsInput>) -> Answer<DeleteObjectsOutput> {
        self.see("delete", "several", false).await;
        self.files.delete_objects(request).await
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> Answer<CopyObjectOutput> {
        self.files.copy_object(request).await
    }
}
