//! An S3 server in this process: one bucket in a temporary directory, behind SigV4, on a port of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use medallion::clock::Clock;
use medallion::definition::Secret;
use medallion::error::Result;
use medallion::table::Lake;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SimpleAuth;
use s3s::dto::PutObjectInput;
use s3s::service::S3ServiceBuilder;
use s3s::{S3Request, S3Result};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::bucket::{Bucket, Watch};

/// The one bucket.
pub const BUCKET: &str = "bucket";
const ACCESS_KEY: &str = "an-access-key";
/// The secret of the one account.
pub const SECRET_KEY: &str = "a-secret-key-that-nobody-may-see";

/// What the server does with `If-None-Match` of a put.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ConditionalPut {
    Kept,
    Ignored,
}

/// A running server; it ends with this value, and its objects go with it.
pub struct Server {
    address: SocketAddr,
    _root: TempDir,
    runtime: Option<Runtime>,
    watch: Arc<Mutex<Option<Watch>>>,
}

impl Server {
    /// Starts a server with an empty bucket.
    pub fn start(conditional_put: ConditionalPut) -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join(BUCKET)).unwrap();
        let watch = Arc::<Mutex<Option<Watch>>>::default();
        let files = FileSystem::new(root.path()).unwrap();
        let mut service = S3ServiceBuilder::new(Bucket::new(files, watch.clone()));
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        service.set_access(Access { conditional_put });
        let service = service.build();

        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0)))
            .unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            let http = Builder::new(TokioExecutor::new());
            while let Ok((socket, _)) = listener.accept().await {
                // Head and body of an answer are two writes: Nagle's algorithm would hold the second for 40 ms.
                let _ = socket.set_nodelay(true);
                let connection = http
                    .serve_connection(TokioIo::new(socket), service.clone())
                    .into_owned();
                // A client that hangs up ends its connection, not the server.
                tokio::spawn(async move { drop(connection.await) });
            }
        });
        Self {
            address,
            _root: root,
            runtime: Some(runtime),
            watch,
        }
    }

    /// Shows every request from now on to `watch`.
    pub fn watch(&self, watch: Watch) {
        *self.watch.lock().unwrap() = Some(watch);
    }

    /// Shows no request to anyone any more.
    pub fn unwatch(&self) {
        *self.watch.lock().unwrap() = None;
    }

    /// The `[store]` options that reach it.
    pub fn options(&self) -> BTreeMap<String, Secret> {
        [
            ("aws_endpoint", format!("http://{}", self.address).as_str()),
            ("aws_allow_http", "true"),
            ("aws_region", "us-east-1"),
            ("aws_access_key_id", ACCESS_KEY),
            ("aws_secret_access_key", SECRET_KEY),
        ]
        .map(|(name, value)| (name.to_owned(), Secret(value.to_owned())))
        .into()
    }

    /// A `medallion.toml` that reaches it, given the secret in the variable `secret`.
    pub fn settings(&self, secret: &str) -> String {
        let mut text = "[store]\n".to_owned();
        for (name, value) in self.options() {
            let value = match value.0.as_str() {
                SECRET_KEY => format!("{{ env = {secret:?} }}"),
                plain => format!("{plain:?}"),
            };
            text.push_str(&format!("{name} = {value}\n"));
        }
        text
    }

    /// Opens the lake at `prefix` of the bucket, as a new writer.
    pub async fn lake(&self, prefix: &str) -> Result<Lake> {
        let location = format!("s3://{BUCKET}/{prefix}");
        Lake::open_with(&location, &self.options(), Clock::system()).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Lets every signed request pass, less the header that is not to be seen.
struct Access {
    conditional_put: ConditionalPut,
}

#[async_trait]
impl S3Access for Access {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        match context.credentials() {
            Some(_) => Ok(()),
            None => Err(s3s::s3_error!(AccessDenied, "Signature is required")),
        }
    }

    async fn put_object(&self, request: &mut S3Request<PutObjectInput>) -> S3Result<()> {
        if self.conditional_put == ConditionalPut::Ignored {
            request.input.if_none_match = None;
        }
        Ok(())
    }
}
