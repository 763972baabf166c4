//! The format of a snapshot of silver's accepted keys: the recent ones, and which volumes hold the older ones.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `mdlnsnap` |
//! | 4 | the format's version, [`FORMAT`] |
//! | 4 | length of the header |
//! | n | the header, JSON: [`Header`] |
//! | 16 | XXH3-128 of everything before |
//! | 32 per recent key | the key, its row's seq, its row's event time in UTC microseconds |
//! | 16 | XXH3-128 of everything before |
//!
//! Numbers are little-endian. The sums detect accidents: torn writes, bad disks, wrong tools. They are no signature:
//! whoever can write the file can write a sum that fits, and can write the tables, too.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};
use twox_hash::xxhash3_128::Hasher;

use super::volumes::Named;

/// The version that this program reads and writes. Another layout, or another encoding of keys, needs another.
pub const FORMAT: u32 = 2;

const MAGIC: [u8; 8] = *b"mdlnsnap";
/// Before the header: magic, version, length.
const FRONT_BYTES: u64 = 16;
const SUM_BYTES: u64 = 16;
pub(super) const ENTRY_BYTES: u64 = 32;
/// Far above any header: the definition is in it by fingerprint only.
const HEADER_BYTES_MAX: u32 = 64 << 10;
/// Keys written or read at once.
const CHUNK_KEYS: u64 = 2048;

/// Whose state it is. A snapshot of any other identity is foreign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The lake's URL.
    pub lake: String,
    /// The pipeline.
    pub pipeline: String,
    /// The generation of silver's content, new with each replay.
    pub generation: String,
    /// Fingerprint of silver's definition.
    pub definition: String,
    /// Bronze seq from which that definition applies, where silver kept an earlier one's rows.
    pub adopted_from: Option<i64>,
}

/// What a snapshot says of itself before its keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Whose state it is.
    pub identity: Identity,
    /// The next bronze seq: the state is that after all rows below.
    pub position: i64,
    /// The version of the silver table that it was taken at.
    pub version: u64,
    /// What that version's log entry hashes to: a table that went back and came another way has another entry there.
    pub mark: String,
    /// Rows of the silver table at that version.
    pub rows: u64,
    /// Keys that follow: the recent ones.
    pub keys: u64,
    /// Where the older keys are, from the oldest volume to the newest.
    pub volumes: Vec<Named>,
    /// When it was written, RFC 3339, for people.
    pub written_at: String,
}

/// The accepted row that stands for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Hash of the key's columns.
    pub key: u128,
    /// The row's seq.
    pub seq: i64,
    /// The row's event time in UTC microseconds.
    pub event_time: i64,
}

/// A snapshot held in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// What it says of itself.
    pub header: Header,
    /// Its keys, each once, in no order.
    pub entries: Vec<Entry>,
}

/// Why a snapshot is not used.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Something else, or its first bytes are gone.
    #[error("it is no snapshot")]
    NoSnapshot,
    /// Written by another medallion.
    #[error("it is of format {0}; this medallion reads format {FORMAT}")]
    Format(u32),
    /// Torn, flipped, or with something behind its end.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// Sound, and someone else's.
    #[error("it is of another {what}: {found}, not {wanted}")]
    Foreign {
        /// Which part of the identity differs.
        what: &'static str,
        /// What the file says.
        found: String,
        /// What is wanted.
        wanted: String,
    },
    /// Sound and ours, but the table has another history.
    #[error("{0}")]
    Stale(String),
    /// Sound and ours, but a volume that it names is not what it says.
    #[error("its volume {file}: {why}")]
    Volume {
        /// The file.
        file: String,
        /// What is wrong with it.
        why: Box<Refused>,
    },
    /// The file system does not give it.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
}

impl Identity {
    /// Refuses an identity other than `wanted`, naming the part that differs.
    ///
    /// # Errors
    /// [`Refused::Foreign`].
    pub fn require(&self, wanted: &Self) -> Result<(), Refused> {
        let from = |adopted: Option<i64>| adopted.map_or_else(|| "the start".to_owned(), |seq| format!("seq {seq}"));
        let parts = [
            ("pipeline", self.pipeline.clone(), wanted.pipeline.clone()),
            ("lake", self.lake.clone(), wanted.lake.clone()),
            ("replay of silver", self.generation.clone(), wanted.generation.clone()),
            ("definition", self.definition.clone(), wanted.definition.clone()),
            (
                "adoption of the definition",
                from(self.adopted_from),
                from(wanted.adopted_from),
            ),
        ];
        match parts.into_iter().find(|(_, found, wanted)| found != wanted) {
            Some((what, found, wanted)) => Err(Refused::Foreign { what, found, wanted }),
            None => Ok(()),
        }
    }
}

/// The snapshot in `bytes`, where it is sound and of `identity`.
///
/// Never panics, and allocates at most a small multiple of `bytes`.
///
/// # Errors
/// Why it is not to be used; nothing of it is.
pub fn decode(bytes: &[u8], identity: &Identity) -> Result<Snapshot, Refused> {
    let mut entries = Vec::new();
    let header = read(bytes, bytes.len() as u64, identity, |entry| entries.push(entry))?;
    Ok(Snapshot { header, entries })
}

/// As [`decode`], from a source of `length` bytes, giving key after key to `take` without holding them.
///
/// # Errors
/// Why it is not to be used. What was taken by then is void: the last bytes say whether the first were right.
pub fn read(
    source: impl Read,
    length: u64,
    identity: &Identity,
    mut take: impl FnMut(Entry),
) -> Result<Header, Refused> {
    let mut source = Summed::new(source);
    let header = read_front(&mut source, length)?;
    header.identity.require(identity)?;
    let mut left = header.keys;
    let mut buffer = Vec::new();
    while left > 0 {
        let keys = left.min(CHUNK_KEYS);
        buffer.resize(usize::try_from(keys * ENTRY_BYTES).unwrap_or(0), 0);
        source.fill(&mut buffer)?;
        for bytes in buffer.chunks_exact(ENTRY_BYTES as usize) {
            let entry = entry(bytes).ok_or(Refused::Damaged("a key is cut short"))?;
            if !(0..header.position).contains(&entry.seq) {
                return Err(Refused::Damaged("a key's row is not below its position"));
            }
            take(entry);
        }
        left -= keys;
    }
    source.check("its keys are not what was written")?;
    Ok(header)
}

/// The header of a snapshot of `length` bytes; its keys are not looked at.
///
/// # Errors
/// Why it is not to be used.
pub fn read_header(source: impl Read, length: u64) -> Result<Header, Refused> {
    read_front(&mut Summed::new(source), length)
}

fn read_front(source: &mut Summed<impl Read>, length: u64) -> Result<Header, Refused> {
    if source.array::<8>()? != MAGIC {
        return Err(Refused::NoSnapshot);
    }
    let format = u32::from_le_bytes(source.array()?);
    if format != FORMAT {
        return Err(Refused::Format(format));
    }
    let header_bytes = u32::from_le_bytes(source.array()?);
    let around = FRONT_BYTES + u64::from(header_bytes) + 2 * SUM_BYTES;
    // Nothing is allocated before it is known that so many bytes are there.
    if header_bytes > HEADER_BYTES_MAX || around > length {
        return Err(Refused::Damaged("its header is longer than it"));
    }
    let mut header = vec![0; usize::try_from(header_bytes).unwrap_or(0)];
    source.fill(&mut header)?;
    source.check("its header is not what was written")?;
    let header: Header = serde_json::from_slice(&header).map_err(|_| Refused::Damaged("its header is no header"))?;
    let whole = header
        .keys
        .checked_mul(ENTRY_BYTES)
        .and_then(|keys| keys.checked_add(around));
    if whole != Some(length) {
        return Err(Refused::Damaged("its length is not what its header says"));
    }
    Ok(header)
}

/// Writes the part before the keys. Returns the writer of the rest.
///
/// # Errors
/// Those of `sink`.
pub fn write_front<W: Write>(sink: W, header: &Header) -> io::Result<KeysWriter<W>> {
    let json = serde_json::to_vec(header)?;
    let length = u32::try_from(json.len())
        .ok()
        .filter(|length| *length <= HEADER_BYTES_MAX);
    let length = length.ok_or_else(|| io::Error::other("the header of the snapshot is too long"))?;
    let front = [&MAGIC[..], &FORMAT.to_le_bytes(), &length.to_le_bytes(), &json].concat();
    let mut writer = KeysWriter {
        sink,
        hasher: Hasher::new(),
        keys: header.keys,
    };
    writer.put(&front)?;
    writer.put_sum()?;
    Ok(writer)
}

/// Writes the keys after the front of a snapshot.
pub struct KeysWriter<W> {
    sink: W,
    hasher: Hasher,
    keys: u64,
}

impl<W: Write> KeysWriter<W> {
    /// Writes the keys, as many as the header says, and the sum over everything; gives the sink back.
    ///
    /// # Errors
    /// Those of the sink, and another number of keys.
    pub fn finish(mut self, entries: impl Iterator<Item = Entry>) -> io::Result<W> {
        let chunk = usize::try_from(CHUNK_KEYS * ENTRY_BYTES).unwrap_or(0);
        let mut buffer = Vec::with_capacity(chunk);
        let mut count = 0;
        for entry in entries {
            put_entry(&mut buffer, &entry);
            count += 1;
            if buffer.len() >= chunk {
                self.put(&buffer)?;
                buffer.clear();
            }
        }
        self.put(&buffer)?;
        if count != self.keys {
            return Err(io::Error::other(format!(
                "{count} keys came where {} were told",
                self.keys
            )));
        }
        self.put_sum()?;
        Ok(self.sink)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.write(bytes);
        self.sink.write_all(bytes)
    }

    fn put_sum(&mut self) -> io::Result<()> {
        let sum = self.hasher.finish_128().to_le_bytes();
        self.put(&sum)
    }
}

/// A source and the sum of what was read of it.
struct Summed<R> {
    source: R,
    hasher: Hasher,
}

impl<R: Read> Summed<R> {
    fn new(source: R) -> Self {
        Self {
            source,
            hasher: Hasher::new(),
        }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Refused> {
        match self.source.read_exact(buffer) {
            Ok(()) => self.hasher.write(buffer),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(Refused::Damaged("it ends too early"));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refused> {
        let mut array = [0; N];
        self.fill(&mut array)?;
        Ok(array)
    }

    /// Reads the sum of everything before.
    fn check(&mut self, why: &'static str) -> Result<(), Refused> {
        let wanted = self.hasher.finish_128().to_le_bytes();
        if self.array::<16>()? == wanted {
            Ok(())
        } else {
            Err(Refused::Damaged(why))
        }
    }
}

/// Appends the bytes of an entry.
pub(super) fn put_entry(buffer: &mut Vec<u8>, entry: &Entry) {
    buffer.extend_from_slice(&entry.key.to_le_bytes());
    buffer.extend_from_slice(&entry.seq.to_le_bytes());
    buffer.extend_from_slice(&entry.event_time.to_le_bytes());
}

/// The entry that `bytes` begin with.
pub(super) fn entry(bytes: &[u8]) -> Option<Entry> {
    let (key, rest) = bytes.split_first_chunk()?;
    let (seq, rest) = rest.split_first_chunk()?;
    Some(Entry {
        key: u128::from_le_bytes(*key),
        seq: i64::from_le_bytes(*seq),
        event_time: i64::from_le_bytes(*rest.first_chunk()?),
    })
}
