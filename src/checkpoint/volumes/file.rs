//! A volume: accepted keys in the order of the keys, in a file that is written once.
//!
//! | bytes | what |
//! |---|---|
//! | 4096 a page | XXH3-128 of the rest of the page; the stamp; the page's number; 127 keys of 32 bytes, as in a snapshot, zeros behind the last |
//! | 2 a key | its print |
//! | 4 a bucket, and 4 | at which key it begins; the number of keys |
//! | 8 | `mdlnkeys` |
//! | 4 | the format's version |
//! | 4 | buckets |
//! | 8 | the stamp: a random number, which is the file's name, too |
//! | 8 | keys |
//! | 8 | the newest event time among them, UTC microseconds |
//! | 16 | XXH3-128 of everything behind the pages |
//!
//! Numbers are little-endian. A file counts only under the name, the length and the last sum that a sound snapshot
//! tells; opening it reads what is behind the pages. A page is judged whenever it is read.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use twox_hash::xxhash3_128::Hasher;
use uuid::Uuid;

use super::super::files::{open_plain, private_file};
use super::super::snapshot::{ENTRY_BYTES, Entry, Refused, entry, put_entry};
use super::prints::{Builder, Prints, Probe, WINDOW};

/// Keys of one volume at most: positions have 32 bits.
pub const FILE_KEYS_MAX: u64 = u32::MAX as u64;

const MAGIC: [u8; 8] = *b"mdlnkeys";
const FORMAT: u32 = 1;
const PAGE_BYTES: usize = 4096;
/// Sum, stamp, number.
const HEAD_BYTES: usize = 32;
const PAGE_KEYS: usize = (PAGE_BYTES - HEAD_BYTES) / ENTRY_BYTES as usize;
const FOOTER_BYTES: usize = 40;
const SUM_BYTES: u64 = 16;
const WRITE_BYTES: usize = 1 << 18;
const READ_BYTES: usize = 1 << 16;

/// How a snapshot names a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// The file, in the folder of the snapshot.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// Its last sum, in hexadecimal.
    pub sum: String,
}

/// A volume that can be read.
#[derive(Debug)]
pub struct Volume {
    path: PathBuf,
    file: File,
    stamp: u64,
    keys: u64,
    newest: i64,
    bytes: u64,
    sum: [u8; 16],
    prints: Prints,
    synced: AtomicBool,
}

/// The file of a stamp.
fn name(stamp: u64) -> String {
    format!("silver-{stamp:016x}.volume")
}

/// The stamp in a file's name.
pub fn stamp_in(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("silver-")?.strip_suffix(".volume")?;
    u64::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 16)
}

impl Volume {
    /// Opens what a snapshot in the same folder names.
    ///
    /// # Errors
    /// Why it is not that.
    pub fn open(folder: &Path, named: &Named) -> Result<Self, Refused> {
        // The name is a stamp and no path: what a snapshot says is not followed out of the folder.
        let stamp = stamp_in(&named.file).ok_or(Refused::Damaged("it is no name of a volume"))?;
        let path = folder.join(name(stamp));
        let (file, bytes) = open_plain(&path)?;
        if bytes != named.bytes {
            return Err(Refused::Damaged("its length is not the one that was written"));
        }
        let footer = Footer::read(&file, bytes, stamp)?;
        let mut tail = Tail {
            file: &file,
            at: footer.pages() * PAGE_BYTES as u64,
            hasher: Hasher::new(),
        };
        let prints = tail.numbers(footer.keys, u16::from_le_bytes)?;
        let starts = tail.numbers(u64::from(footer.buckets) + 1, u32::from_le_bytes)?;
        tail.hasher.write(&footer.encode());
        let (sum, mut stored) = (tail.hasher.finish_128().to_le_bytes(), [0; 16]);
        file.read_exact_at(&mut stored, bytes - SUM_BYTES)?;
        if hex(sum) != named.sum || stored != sum {
            return Err(Refused::Damaged("its sum does not fit"));
        }
        let prints = Prints::from_parts(prints, starts).ok_or(Refused::Damaged("its buckets are in no order"))?;
        Ok(Self {
            path,
            file,
            stamp,
            keys: footer.keys,
            newest: footer.newest,
            bytes,
            sum,
            prints,
            synced: AtomicBool::new(true),
        })
    }

    /// How a snapshot names it.
    pub fn named(&self) -> Named {
        Named {
            file: name(self.stamp),
            bytes: self.bytes,
            sum: hex(self.sum),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number that is its name.
    pub fn stamp(&self) -> u64 {
        self.stamp
    }

    /// Its keys.
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// The newest event time among its rows, UTC microseconds.
    pub fn newest(&self) -> i64 {
        self.newest
    }

    /// What of it is in memory.
    pub fn prints(&self) -> &Prints {
        &self.prints
    }

    /// Brings it to the disk, once.
    ///
    /// # Errors
    /// Those of the file.
    pub fn sync(&self) -> io::Result<()> {
        if !self.synced.load(Ordering::Acquire) {
            self.file.sync_all()?;
            self.synced.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// The row of a key, if the key is there; `page` is the last page that was read, of whichever volume.
    ///
    /// # Errors
    /// Where a page is not what was written.
    pub fn find(&self, key: u128, page: &mut Page) -> Result<Option<Entry>, Refused> {
        for position in self.prints.positions(&Probe::new(key, 0)) {
            self.read(position / PAGE_KEYS, page)?;
            let found = page.entry(position % PAGE_KEYS);
            if let Some(entry) = found.filter(|entry| entry.key == key) {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// All its rows in the order of their keys.
    pub fn cursor(&self) -> Cursor<'_> {
        Cursor {
            volume: self,
            page: Page::default(),
            position: 0,
        }
    }

    fn read(&self, number: usize, page: &mut Page) -> Result<(), Refused> {
        let wanted = Some((self.stamp, number as u64));
        if page.of == wanted {
            return Ok(());
        }
        page.of = None;
        page.bytes.resize(PAGE_BYTES, 0);
        let at = (number * PAGE_BYTES) as u64;
        self.file.read_exact_at(&mut page.bytes, at)?;
        if page.judged() != wanted {
            return Err(Refused::Damaged("a page of it is not what was written"));
        }
        page.of = wanted;
        Ok(())
    }
}

/// A page of a volume.
#[derive(Debug, Default)]
pub struct Page {
    bytes: Vec<u8>,
    /// Stamp and number, where the bytes are sound.
    of: Option<(u64, u64)>,
}

impl Page {
    /// Which page the bytes are, if they are sound.
    fn judged(&self) -> Option<(u64, u64)> {
        let (sum, rest) = self.bytes.split_first_chunk::<16>()?;
        let (stamp, entries) = rest.split_first_chunk()?;
        let of = (u64::from_le_bytes(*stamp), u64::from_le_bytes(*entries.first_chunk()?));
        let mut hasher = Hasher::new();
        hasher.write(rest);
        (hasher.finish_128().to_le_bytes() == *sum).then_some(of)
    }

    fn entry(&self, slot: usize) -> Option<Entry> {
        entry(self.bytes.get(HEAD_BYTES + slot * ENTRY_BYTES as usize..)?)
    }
}

/// A walk over a volume.
#[derive(Debug)]
pub struct Cursor<'a> {
    volume: &'a Volume,
    page: Page,
    position: usize,
}

impl Cursor<'_> {
    /// The next row, none behind the last.
    ///
    /// # Errors
    /// Where a page is not what was written.
    pub fn next(&mut self) -> Result<Option<Entry>, Refused> {
        if self.position as u64 >= self.volume.keys {
            return Ok(None);
        }
        self.volume.read(self.position / PAGE_KEYS, &mut self.page)?;
        let entry = self.page.entry(self.position % PAGE_KEYS);
        self.position += 1;
        Ok(entry)
    }
}

/// A volume while it is written.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    sink: BufWriter<File>,
    stamp: u64,
    page: Vec<u8>,
    pages: u64,
    keys: u64,
    newest: i64,
    prints: Builder,
}

impl Writer {
    /// Begins a file of at most `keys` keys under a stamp that nobody has. It is nothing before a snapshot names it, so
    /// it has its own name from the start.
    ///
    /// # Errors
    /// Those of the file system, and too many keys.
    pub fn create(folder: &Path, stamp: u64, keys: u64) -> io::Result<Self> {
        let fits = usize::try_from(keys).ok().filter(|_| keys <= FILE_KEYS_MAX);
        let keys = fits.ok_or_else(|| io::Error::other("too many keys for one volume"))?;
        let path = folder.join(name(stamp));
        Ok(Self {
            sink: BufWriter::with_capacity(WRITE_BYTES, private_file(&path)?),
            path,
            stamp,
            page: Vec::with_capacity(PAGE_BYTES),
            pages: 0,
            keys: 0,
            newest: i64::MIN,
            prints: Prints::of(keys),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A stamp for a new file.
    pub fn stamp() -> u64 {
        Uuid::new_v4().as_u64_pair().1
    }

    /// Takes the next row; its key is above that of the row before.
    ///
    /// # Errors
    /// Those of the file.
    pub fn push(&mut self, entry: &Entry) -> io::Result<()> {
        if self.page.is_empty() {
            self.page.extend([0; 16]);
            self.page.extend(self.stamp.to_le_bytes());
            self.page.extend(self.pages.to_le_bytes());
        }
        put_entry(&mut self.page, entry);
        self.prints.push(entry.key);
        self.keys += 1;
        self.newest = self.newest.max(entry.event_time);
        if self.page.len() >= HEAD_BYTES + PAGE_KEYS * ENTRY_BYTES as usize {
            self.end_page()?;
        }
        Ok(())
    }

    /// Ends the file; it is not synced yet.
    ///
    /// # Errors
    /// Those of the file.
    pub fn finish(mut self) -> io::Result<Volume> {
        if !self.page.is_empty() {
            self.end_page()?;
        }
        let prints = self.prints.finish();
        let (codes, starts) = prints.parts();
        let footer = Footer {
            stamp: self.stamp,
            keys: self.keys,
            newest: self.newest,
            buckets: u32::try_from(starts.len() - 1).unwrap_or(u32::MAX),
        };
        let mut hasher = Hasher::new();
        let mut put = |bytes: &[u8]| {
            hasher.write(bytes);
            self.sink.write_all(bytes)
        };
        put_numbers(codes, |code| code.to_le_bytes(), &mut put)?;
        put_numbers(starts, |start| start.to_le_bytes(), &mut put)?;
        put(&footer.encode())?;
        let sum = hasher.finish_128().to_le_bytes();
        self.sink.write_all(&sum)?;
        let file = self.sink.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Volume {
            bytes: file.metadata()?.len(),
            path: self.path,
            file,
            stamp: self.stamp,
            keys: self.keys,
            newest: self.newest,
            sum,
            prints,
            synced: AtomicBool::new(false),
        })
    }

    fn end_page(&mut self) -> io::Result<()> {
        self.page.resize(PAGE_BYTES, 0);
        let mut hasher = Hasher::new();
        if let Some((sum, rest)) = self.page.split_first_chunk_mut::<16>() {
            hasher.write(rest);
            *sum = hasher.finish_128().to_le_bytes();
        }
        self.sink.write_all(&self.page)?;
        self.page.clear();
        self.pages += 1;
        Ok(())
    }
}

/// What is at the end of the file, but for the sum.
#[derive(Debug)]
struct Footer {
    stamp: u64,
    keys: u64,
    newest: i64,
    buckets: u32,
}

impl Footer {
    fn encode(&self) -> [u8; FOOTER_BYTES] {
        let mut bytes = [0; FOOTER_BYTES];
        let parts = MAGIC
            .into_iter()
            .chain(FORMAT.to_le_bytes())
            .chain(self.buckets.to_le_bytes())
            .chain(self.stamp.to_le_bytes())
            .chain(self.keys.to_le_bytes())
            .chain(self.newest.to_le_bytes());
        bytes.iter_mut().zip(parts).for_each(|(place, byte)| *place = byte);
        bytes
    }

    /// Reads it, and refuses what does not fit the length of the file.
    fn read(file: &File, length: u64, stamp: u64) -> Result<Self, Refused> {
        let short = || Refused::Damaged("it is too short for a volume");
        let at = length.checked_sub(FOOTER_BYTES as u64 + SUM_BYTES).ok_or_else(short)?;
        let mut bytes = [0; FOOTER_BYTES];
        file.read_exact_at(&mut bytes, at)?;
        let [
            buckets,
            stamp_low,
            stamp_high,
            keys_low,
            keys_high,
            newest_low,
            newest_high,
        ] = std::array::from_fn(|word| word_at(&bytes, 12 + 4 * word));
        let long = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let footer = Self {
            stamp: long(stamp_low, stamp_high),
            keys: long(keys_low, keys_high),
            newest: long(newest_low, newest_high).cast_signed(),
            buckets,
        };
        if footer.encode() != bytes || footer.stamp != stamp {
            return Err(Refused::Damaged("it is no volume of this format and name"));
        }
        let tail = 2 * u128::from(footer.keys) + 4 * (u128::from(buckets) + 1);
        let whole = u128::from(footer.pages()) * PAGE_BYTES as u128 + tail + FOOTER_BYTES as u128 + 16;
        if whole != u128::from(length) || footer.keys > FILE_KEYS_MAX {
            return Err(Refused::Damaged("its length is not what it says"));
        }
        Ok(footer)
    }

    fn pages(&self) -> u64 {
        self.keys.div_ceil(PAGE_KEYS as u64)
    }
}

fn word_at(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    word.map_or(0, |word| u32::from_le_bytes(*word))
}

/// What is behind the pages, read in order and summed.
struct Tail<'a> {
    file: &'a File,
    at: u64,
    hasher: Hasher,
}

impl Tail<'_> {
    /// Reads `count` numbers, which the file is known to be long enough for.
    fn numbers<T, const N: usize>(&mut self, count: u64, number: impl Fn([u8; N]) -> T) -> Result<Vec<T>, Refused> {
        let mut numbers = Vec::new();
        // Prints have a window behind them.
        numbers.reserve_exact(usize::try_from(count).unwrap_or(0) + WINDOW);
        let mut left = count * N as u64;
        let mut buffer = vec![0; READ_BYTES];
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(READ_BYTES).min(READ_BYTES);
            let part = buffer.get_mut(..wanted).unwrap_or_default();
            self.file.read_exact_at(part, self.at)?;
            self.hasher.write(part);
            let (whole, _) = part.as_chunks::<N>();
            numbers.extend(whole.iter().map(|bytes| number(*bytes)));
            self.at += wanted as u64;
            left -= wanted as u64;
        }
        Ok(numbers)
    }
}

fn put_numbers<T: Copy, const N: usize>(
    numbers: &[T],
    bytes: impl Fn(T) -> [u8; N],
    put: &mut impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(READ_BYTES);
    for chunk in numbers.chunks(READ_BYTES / N) {
        buffer.clear();
        buffer.extend(chunk.iter().flat_map(|number| bytes(*number)));
        put(&buffer)?;
    }
    Ok(())
}

fn hex(sum: [u8; 16]) -> String {
    format!("{:032x}", u128::from_le_bytes(sum))
}
