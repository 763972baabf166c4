//! A store that fails at one chosen call, of whatever kind, as a process, a network or a store would.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Calls after which a put that timed out still lands.
const LATE_BY: usize = 3;

/// A kind of call on a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Put,
    /// Put-if-absent.
    Create,
    Multipart,
    Get,
    GetRanges,
    Head,
    List,
    ListWithDelimiter,
    Delete,
    Copy,
}

impl Kind {
    /// Whether it changes the store.
    pub fn changes(self) -> bool {
        matches!(
            self,
            Self::Put | Self::Create | Self::Multipart | Self::Delete | Self::Copy
        )
    }
}

/// What happens at the chosen call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The process dies before it.
    DiesBefore,
    /// The process dies after it.
    DiesAfter,
    /// It is refused once.
    RefusedOnce,
    /// It is done, and reported as failed.
    AnswerLost,
    /// Half of the payload is stored and the process dies: a put that is not atomic.
    Torn,
    /// The client gives up on a put, which lands some calls later.
    LandsLate,
    /// The process dies with a put under way, which lands while the next process is at work.
    LandsAfterDeath,
    /// A put-if-absent lands and is told that the object exists: a retry below us met its own first try.
    OwnExists,
    /// As [`Fault::OwnExists`], told as a failed precondition.
    OwnPrecondition,
    /// Refused once for want of rights.
    Denied,
    /// Refused once for want of credentials.
    Unauthenticated,
    /// No answer within the client's patience, nothing done.
    TimedOut,
    /// Something that is there is not found, once.
    Missing,
    /// The body of an answer ends with a broken connection.
    CutShort,
    /// A list lacks the newest object, once.
    StaleOnce,
    /// From here on every list shows the objects that this one showed, which lacks the newest.
    StaleOn,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::DiesBefore,
        Self::DiesAfter,
        Self::RefusedOnce,
        Self::AnswerLost,
        Self::Torn,
        Self::LandsLate,
        Self::LandsAfterDeath,
        Self::OwnExists,
        Self::OwnPrecondition,
        Self::Denied,
        Self::Unauthenticated,
        Self::TimedOut,
        Self::Missing,
        Self::CutShort,
        Self::StaleOnce,
        Self::StaleOn,
    ];

    /// Whether it can happen to a call of this kind. A reader cannot tell a lost answer from a refusal, nor a death
    /// after one read from a death before the next call. A put-if-absent is atomic wherever medallion runs (it is
    /// refused elsewhere), so it cannot be torn.
    pub fn applies(self, kind: Kind) -> bool {
        match self {
            Self::DiesBefore | Self::RefusedOnce | Self::Denied | Self::Unauthenticated | Self::TimedOut => true,
            Self::DiesAfter | Self::AnswerLost => kind.changes(),
            Self::Torn => kind == Kind::Put,
            Self::LandsLate | Self::LandsAfterDeath => matches!(kind, Kind::Put | Kind::Create),
            Self::OwnExists | Self::OwnPrecondition => kind == Kind::Create,
            Self::Missing => !kind.changes(),
            Self::CutShort => kind == Kind::Get,
            Self::StaleOnce | Self::StaleOn => kind == Kind::List,
        }
    }

    /// Whether the process is gone after it.
    pub fn kills(self) -> bool {
        matches!(
            self,
            Self::DiesBefore | Self::DiesAfter | Self::Torn | Self::LandsAfterDeath
        )
    }

    /// Whether the store lies: it answers as if something that is there were not.
    pub fn lies(self) -> bool {
        matches!(self, Self::Missing | Self::StaleOnce | Self::StaleOn)
    }
}

/// A put that is under way.
pub type Pending = (Path, PutPayload, PutOptions);

#[derive(Debug, Default)]
struct State {
    calls: Vec<(Kind, Path)>,
    fault: Option<(Fault, usize)>,
    hit: Option<usize>,
    dead: bool,
    /// A put on its way, and the number of the call before which it lands.
    pending: Option<(Pending, usize)>,
    /// What lists may show, once they are stale for good.
    shown: Option<BTreeSet<Path>>,
    dice: Option<ChaCha8Rng>,
}

#[derive(Debug)]
struct Shared {
    inner: Arc<dyn ObjectStore>,
    state: Mutex<State>,
}

/// A store over another that fails at one call; a dead one fails at everything from then on.
#[derive(Debug, Clone)]
pub struct Faulty {
    shared: Arc<Shared>,
}

impl Faulty {
    fn with(inner: Arc<dyn ObjectStore>, state: State) -> Arc<Self> {
        let state = Mutex::new(state);
        Arc::new(Self {
            shared: Arc::new(Shared { inner, state }),
        })
    }

    /// A store that fails in the way of `fault` at call `at` (from 0), or at the next that it applies to.
    pub fn new(inner: Arc<dyn ObjectStore>, fault: Fault, at: usize) -> Arc<Self> {
        let fault = Some((fault, at));
        Self::with(
            inner,
            State {
                fault,
                ..State::default()
            },
        )
    }

    /// A store that only counts.
    pub fn counting(inner: Arc<dyn ObjectStore>) -> Arc<Self> {
        Self::with(inner, State::default())
    }

    /// A store whose calls take up to some milliseconds each, by dice, and that may fail at one of them.
    pub fn dawdling(inner: Arc<dyn ObjectStore>, seed: u64, fault: Option<(Fault, usize)>) -> Arc<Self> {
        let dice = Some(ChaCha8Rng::seed_from_u64(seed));
        Self::with(
            inner,
            State {
                fault,
                dice,
                ..State::default()
            },
        )
    }

    /// A healthy store in which someone else's put lands before call `at`.
    pub fn landing(inner: Arc<dyn ObjectStore>, put: Pending, at: usize) -> Arc<Self> {
        let pending = Some((put, at));
        Self::with(
            inner,
            State {
                pending,
                ..State::default()
            },
        )
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<(Kind, Path)> {
        self.state().calls.clone()
    }

    /// The number and the call that were hit, if any was.
    pub fn hit(&self) -> Option<(usize, (Kind, Path))> {
        let state = self.state();
        let at = state.hit?;
        Some((at, state.calls[at].clone()))
    }

    /// The put that is still under way.
    pub fn take_pending(&self) -> Option<Pending> {
        self.state().pending.take().map(|(put, _)| put)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }
}

impl Shared {
    /// Counts the call. Returns the fault where this is the one and it is not refused outright.
    async fn begin(&self, kind: Kind, path: &Path) -> Result<Option<Fault>> {
        let (landing, pause) = {
            let mut state = self.state.lock().unwrap();
            let now = state.calls.len();
            let due = state.pending.as_ref().is_some_and(|(_, at)| *at <= now) && !state.dead;
            let landing = if due { state.pending.take() } else { None };
            let pause = state
                .dice
                .as_mut()
                .map(|dice| dice.random_range(0..3_000_u64).saturating_sub(1_500));
            (landing, pause.filter(|pause| *pause > 0))
        };
        if let Some(((path, payload, options), _)) = landing {
            // Refused or not, nobody hears of it.
            let _ = self.inner.put_opts(&path, payload, options).await;
        }
        if let Some(pause) = pause {
            tokio::time::sleep(Duration::from_micros(pause)).await;
        }
        let mut state = self.state.lock().unwrap();
        if state.dead {
            return Err(broken("the process is gone"));
        }
        let number = state.calls.len();
        state.calls.push((kind, path.clone()));
        let Some((fault, at)) = state.fault else {
            return Ok(None);
        };
        if state.hit.is_some() || number < at || !fault.applies(kind) {
            return Ok(None);
        }
        state.hit = Some(number);
        state.dead = fault.kills();
        let text = path.to_string();
        let refusal = |why: &str| why.to_owned().into();
        match fault {
            Fault::DiesBefore | Fault::RefusedOnce => Err(broken("the connection broke")),
            Fault::TimedOut => Err(broken("operation timed out")),
            Fault::Denied => Err(Error::PermissionDenied {
                path: text,
                source: refusal("403"),
            }),
            Fault::Unauthenticated => Err(Error::Unauthenticated {
                path: text,
                source: refusal("401"),
            }),
            Fault::Missing => Err(Error::NotFound {
                path: text,
                source: refusal("404"),
            }),
            _ => Ok(Some(fault)),
        }
    }

    fn hold(&self, put: Pending) {
        let mut state = self.state.lock().unwrap();
        let at = state.calls.len() + LATE_BY;
        state.pending = Some((put, at));
    }

    async fn list(&self, prefix: Option<&Path>, fault: Option<Fault>) -> Result<Vec<ObjectMeta>> {
        let mut found: Vec<ObjectMeta> = self.inner.list(prefix).try_collect().await?;
        if fault.is_some() {
            let newest = found.iter().max_by_key(|meta| (meta.last_modified, &meta.location));
            let newest = newest.map(|meta| meta.location.clone());
            found.retain(|meta| Some(&meta.location) != newest.as_ref());
            if fault == Some(Fault::StaleOn) {
                let all: Vec<ObjectMeta> = self.inner.list(None).try_collect().await?;
                let mut shown: BTreeSet<Path> = all.into_iter().map(|meta| meta.location).collect();
                newest.map(|newest| shown.remove(&newest));
                self.state.lock().unwrap().shown = Some(shown);
            }
        }
        let state = self.state.lock().unwrap();
        if let Some(shown) = &state.shown {
            found.retain(|meta| shown.contains(&meta.location));
        }
        Ok(found)
    }
}

fn broken(why: &str) -> Error {
    Error::Generic {
        store: "faulty",
        source: why.to_owned().into(),
    }
}

/// The first half.
fn half(payload: &PutPayload) -> PutPayload {
    let bytes = Bytes::from(payload.clone());
    bytes.slice(..bytes.len() / 2).into()
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({})", self.shared.inner)
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let create = opts.mode == PutMode::Create;
        let kind = if create { Kind::Create } else { Kind::Put };
        let fault = self.shared.begin(kind, location).await?;
        let inner = &self.shared.inner;
        let path = location.to_string();
        match fault {
            None => inner.put_opts(location, payload, opts).await,
            Some(Fault::Torn) => {
                inner.put_opts(location, half(&payload), opts).await?;
                Err(broken("the process is gone"))
            }
            Some(Fault::LandsLate | Fault::LandsAfterDeath) => {
                self.shared.hold((location.clone(), payload, opts));
                Err(broken("operation timed out"))
            }
            Some(fault) => {
                inner.put_opts(location, payload, opts).await?;
                let source = "412".into();
                Err(match fault {
                    Fault::OwnExists => Error::AlreadyExists { path, source },
                    Fault::OwnPrecondition => Error::Precondition { path, source },
                    _ => broken("the connection broke"),
                })
            }
        }
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        // Nothing is visible before the upload is completed, so where in it it fails makes no difference to a reader.
        match self.shared.begin(Kind::Multipart, location).await? {
            None => self.shared.inner.put_multipart_opts(location, opts).await,
            Some(_) => Err(broken("the connection broke")),
        }
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let kind = if options.head { Kind::Head } else { Kind::Get };
        let fault = self.shared.begin(kind, location).await?;
        let mut result = self.shared.inner.get_opts(location, options).await?;
        if fault.is_some() {
            let cut = futures::stream::once(async { Err(broken("the connection broke in the middle")) });
            result.payload = GetResultPayload::Stream(cut.boxed());
        }
        Ok(result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.shared.begin(Kind::GetRanges, location).await?;
        self.shared.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let shared = self.shared.clone();
        // One by one, so that each can be the one that fails.
        let delete = move |location: Result<Path>| {
            let shared = shared.clone();
            async move {
                let location = location?;
                let fault = shared.begin(Kind::Delete, &location).await?;
                shared.inner.delete(&location).await?;
                match fault {
                    None => Ok(location),
                    Some(_) => Err(broken("the connection broke")),
                }
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (shared, prefix) = (self.shared.clone(), prefix.cloned());
        let listed = async move {
            let all = Path::default();
            let fault = shared.begin(Kind::List, prefix.as_ref().unwrap_or(&all)).await?;
            let found = shared.list(prefix.as_ref(), fault).await?;
            Ok::<_, Error>(futures::stream::iter(found.into_iter().map(Ok)))
        };
        futures::stream::once(listed).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let all = Path::default();
        self.shared
            .begin(Kind::ListWithDelimiter, prefix.unwrap_or(&all))
            .await?;
        self.shared.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let fault = self.shared.begin(Kind::Copy, to).await?;
        self.shared.inner.copy_opts(from, to, options).await?;
        match fault {
            None => Ok(()),
            Some(_) => Err(broken("the connection broke")),
        }
    }
}
