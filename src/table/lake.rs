//! A lake: one root URL, under which every table has a place.

use std::collections::BTreeMap;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use deltalake::logstore::{LogStoreRef, StorageConfig, default_logstore};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use url::Url;
use uuid::Uuid;

use super::durable::{Durable, LocalDisk, SyncFailed, sync_above};
use super::in_turn::InTurn;
use super::recent::Recent;
use crate::clock::Clock;
use crate::definition::Secret;
use crate::definition::settings::Durability;
use crate::error::{Context, Error, Kind, Result};

/// Bytes of rows handed from writers to readers in this process, unless told otherwise.
const HANDED_ON: usize = 64 << 20;

/// The root of all tables and the store behind it.
#[derive(Clone)]
pub struct Lake {
    url: Url,
    root: Arc<dyn ObjectStore>,
    clock: Clock,
    writer: Arc<str>,
    durability: Durability,
    recent: Recent,
}

impl Lake {
    /// Opens the lake at `location`: a path, or a `file://`, `memory://` or (feature `s3`) `s3://` URL.
    ///
    /// A local lake's directory is made if it is missing. A remote store is probed: it must refuse to create a key
    /// that exists, because on that rests that a version is committed once. The store takes its options from the
    /// environment (`AWS_*`).
    pub async fn open(location: &str, clock: Clock) -> Result<Self> {
        Self::open_with(location, &BTreeMap::new(), clock).await
    }

    /// Opens the lake at `location` as [`Lake::open`] does, with `options` of the store over those of the environment.
    ///
    /// Errors: [`Kind::Definition`] for an option that the store does not know, [`Kind::Unavailable`] for a store that
    /// cannot be reached or fails the probe. A local lake has no use for options.
    pub async fn open_with(location: &str, options: &BTreeMap<String, Secret>, clock: Clock) -> Result<Self> {
        let lake = Self::open_to_read(location, options, clock)?;
        match lake.local_path() {
            Some(path) => make_directory(&path)?,
            None => lake.probe_conditional_put().await?,
        }
        Ok(lake)
    }

    /// The lake at `location` for looking only: nothing is made, nothing is probed, and it may not be there.
    ///
    /// Errors: [`Kind::Usage`] for a location that is none, [`Kind::Definition`] for an option that the store does not
    /// know.
    pub fn open_to_read(location: &str, options: &BTreeMap<String, Secret>, clock: Clock) -> Result<Self> {
        let url = parse_location(location)?;
        let root: Arc<dyn ObjectStore> = match url.scheme() {
            "file" => Arc::new(LocalFileSystem::new()),
            "memory" => Arc::new(object_store::memory::InMemory::new()),
            "s3" | "s3a" => s3_store(&url, options)?,
            other => {
                return Err(
                    Error::new(Kind::Usage, format!("lake {location}: no store for scheme {other}://"))
                        .with_next("use a local path, file:// or s3://"),
                );
            }
        };
        let root: Arc<dyn ObjectStore> = InTurn::new(root);
        Ok(Self::with_store(url, root, clock))
    }

    /// A lake at `url` over a given store, which is not probed: for tests and for stores that inject faults.
    pub fn with_store(url: Url, root: Arc<dyn ObjectStore>, clock: Clock) -> Self {
        let writer = format!("pid {} run {}", std::process::id(), Uuid::new_v4().simple());
        Self {
            url,
            root,
            clock,
            writer: writer.into(),
            durability: Durability::Process,
            recent: Recent::new(HANDED_ON),
        }
    }

    /// The same lake, under which commits survive what `durability` says; as opened they survive the process. It
    /// changes something on local disk only: what a remote store has answered is safe, and memory never is.
    ///
    /// Errors: [`Kind::Unavailable`] where the lake's directory cannot be synced.
    pub fn with_durability(mut self, durability: Durability) -> Result<Self> {
        let directory = self.local_path();
        if let (Some(directory), Durability::Power) = (directory, durability) {
            let root = url_path(&self.url);
            sync_above(&root)
                .or_fail(Kind::Unavailable, || format!("the lake {}", directory.display()))
                .map_err(|error| error.with_next(SyncFailed::NEXT))?;
            self.root = Arc::new(Durable::new(self.root, Arc::new(LocalDisk), root));
            self.durability = durability;
        }
        Ok(self)
    }

    /// The same lake, whose writers hand at most so many bytes of rows to readers in this process.
    #[must_use]
    pub fn handing_on(mut self, bytes: usize) -> Self {
        self.recent = Recent::new(bytes);
        self
    }

    /// What commits survive: `process` or `power`; `store` where a remote store answers for it, `none` in memory.
    pub fn durability(&self) -> &'static str {
        match self.url.scheme() {
            "file" => self.durability.name(),
            "memory" => "none",
            _ => "store",
        }
    }

    /// The lake's URL, with a slash at its end.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The clock that stamps commits and files.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Who we are in commits: process and run.
    pub(super) fn writer(&self) -> &str {
        &self.writer
    }

    /// Rows of the newest commits of this process.
    pub(super) fn recent(&self) -> &Recent {
        &self.recent
    }

    /// The lake's directory, for a lake on local disk.
    pub fn local_path(&self) -> Option<PathBuf> {
        (self.url.scheme() == "file")
            .then(|| self.url.to_file_path().ok())
            .flatten()
    }

    /// The store rooted at the lake, for small files beside the tables.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::new(PrefixStore::new(self.root(), url_path(&self.url)))
    }

    /// The whole store; with the kill points around everything else where there are any.
    fn root(&self) -> Arc<dyn ObjectStore> {
        #[cfg(debug_assertions)]
        return super::failing::watched(self.root.clone(), &url_path(&self.url));
        #[cfg(not(debug_assertions))]
        self.root.clone()
    }

    /// The URL of the table at `path`, relative to the lake: `view_log/bronze`.
    pub(super) fn table_url(&self, path: &str) -> Result<Url> {
        self.url
            .join(&format!("{path}/"))
            .or_fail(Kind::Bug, || format!("table path {path}"))
    }

    /// The log store of the table at `path`.
    pub(super) fn log_store(&self, path: &str) -> Result<LogStoreRef> {
        let url = self.table_url(path)?;
        let prefixed = Arc::new(PrefixStore::new(self.root(), url_path(&url)));
        Ok(default_logstore(prefixed, self.root(), &url, &StorageConfig::default()))
    }

    /// Proves that the store refuses to create a key that exists.
    ///
    /// Errors: [`Kind::Unavailable`] where it overwrites the key or cannot be asked.
    pub async fn probe_conditional_put(&self) -> Result<()> {
        let store = self.store();
        let key = Path::from(format!("_medallion_probe/{}", Uuid::new_v4().simple()));
        let create = || PutOptions::from(PutMode::Create);
        let probe = || format!("probing the store of lake {}", self.url);
        store
            .put_opts(&key, PutPayload::from_static(b"1"), create())
            .await
            .or_fail(Kind::Unavailable, probe)?;
        let second = store.put_opts(&key, PutPayload::from_static(b"2"), create()).await;
        store.delete(&key).await.or_fail(Kind::Unavailable, probe)?;
        match second {
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(()),
            Err(error) => Err(Error::new(Kind::Unavailable, format!("{}: {error}", probe()))),
            Ok(_) => Err(Error::new(
                Kind::Unavailable,
                format!(
                    "the store of lake {} overwrites a key it was told to create (it ignores If-None-Match)",
                    self.url
                ),
            )
            .with_next("use a store with conditional put: without it two writers can both commit one version")),
        }
    }
}

fn url_path(url: &Url) -> Path {
    Path::from_url_path(url.path()).unwrap_or_default()
}

fn parse_location(location: &str) -> Result<Url> {
    let bad = |why: String| {
        let location = without_credentials(location);
        Error::new(Kind::Usage, format!("lake {location}: {why}")).with_next("give a path, or a file:// or s3:// URL")
    };
    let mut url = if location.contains("://") {
        Url::parse(location).map_err(|error| bad(error.to_string()))?
    } else {
        let path = std::path::absolute(location).map_err(|error| bad(error.to_string()))?;
        Url::from_directory_path(path).map_err(|()| bad("not a path".to_owned()))?
    };
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(bad("a lake's URL has no query, fragment or credentials".to_owned()));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// A location as it may be shown: a URL that is refused because of credentials in it must not be repeated with them.
fn without_credentials(location: &str) -> String {
    let Some((scheme, rest)) = location.split_once("://") else {
        return location.to_owned();
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let rest = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    format!("{scheme}://{rest}")
}

fn make_directory(path: &FsPath) -> Result<()> {
    std::fs::create_dir_all(path).or_fail(Kind::Unavailable, || format!("making the lake {}", path.display()))?;
    probe_directory(path)
}

/// Writes, links and removes a file, so that missing permissions show before any record is consumed.
fn probe_directory(path: &FsPath) -> Result<()> {
    let probe = path.join(format!(".medallion-probe-{}", std::process::id()));
    let check = || -> std::io::Result<()> {
        std::fs::write(&probe, b"probe")?;
        std::fs::remove_file(&probe)
    };
    check()
        .or_fail(Kind::Unavailable, || format!("writing to the lake {}", path.display()))
        .map_err(|error| error.with_next("give this user the right to write there, or choose another --lake"))
}

#[cfg(feature = "s3")]
fn s3_store(url: &Url, options: &BTreeMap<String, Secret>) -> Result<Arc<dyn ObjectStore>> {
    use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};

    let bucket = url
        .host_str()
        .ok_or_else(|| Error::new(Kind::Usage, format!("lake {url}: no bucket")))?;
    let mut builder = AmazonS3Builder::from_env();
    for (name, value) in options {
        let key: AmazonS3ConfigKey = name.to_lowercase().parse().map_err(|_| {
            Error::new(
                Kind::Definition,
                format!("[store] of medallion.toml: {name:?} is no option of an S3 store"),
            )
            .with_next("its options are the AWS_* variables in small letters, as aws_region, aws_endpoint")
        })?;
        builder = builder.with_config(key, value.0.as_str());
    }
    let store = builder
        .with_bucket_name(bucket)
        .build()
        .or_fail(Kind::Unavailable, || format!("the S3 client for lake {url}"))?;
    Ok(Arc::new(store))
}

#[cfg(not(feature = "s3"))]
fn s3_store(url: &Url, _options: &BTreeMap<String, Secret>) -> Result<Arc<dyn ObjectStore>> {
    Err(
        Error::new(Kind::Usage, format!("lake {url}: this medallion was built without S3"))
            .with_next("build it with --features s3"),
    )
}
