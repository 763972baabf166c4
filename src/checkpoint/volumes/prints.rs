//! What of a volume is in memory: two bytes of every key, in the order of the keys, and where each bucket begins.
//!
//! Keys are hashes, so their upper halves are spread evenly: cut into equal ranges, the *buckets*, they have about
//! [`BUCKET_KEYS`] each, at `starts[bucket]..starts[bucket + 1]`. A *print* is the lowest 16 bits of a key, which say
//! nothing about its bucket. A print that is equal tells at which position of the file the key would be: filter and
//! index are one, built in one pass over sorted keys. Of absent keys about one in 65,536 / [`BUCKET_KEYS`] is looked
//! for in vain, far fewer than there are duplicates to be found.

use std::ops::Range;

/// Keys of a bucket on average: 2 + 4 / 8 bytes of memory a key.
const BUCKET_KEYS: usize = 8;
/// Prints compared at once, whatever the bucket holds: no branch depends on what is compared. One bucket in three
/// hundred has more.
pub(super) const WINDOW: usize = 16;

/// A key as far as prints go.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    /// The upper half of the key.
    pub upper: u64,
    /// Its lowest 16 bits.
    pub print: u16,
    /// The caller's number of the key.
    pub at: u32,
}

impl Probe {
    /// The probe for the caller's `at`-th key.
    pub fn new(key: u128, at: u32) -> Self {
        Self {
            upper: (key >> 64) as u64,
            print: key as u16,
            at,
        }
    }
}

/// The prints of one volume.
#[derive(Debug)]
pub struct Prints {
    /// One a key, and a window of zeros behind them.
    prints: Vec<u16>,
    /// One a bucket, and the number of keys.
    starts: Vec<u32>,
}

impl Prints {
    /// Of keys that will be pushed, `keys` at most.
    pub fn of(keys: usize) -> Builder {
        let buckets = keys.div_ceil(BUCKET_KEYS).max(1);
        Builder {
            prints: Vec::with_capacity(keys + WINDOW),
            starts: Vec::with_capacity(buckets + 1),
            buckets,
        }
    }

    /// From what [`Prints::parts`] gave; none where that cannot be.
    pub fn from_parts(mut prints: Vec<u16>, starts: Vec<u32>) -> Option<Self> {
        let sorted = starts.is_sorted() && starts.first() == Some(&0);
        if !sorted || starts.last().copied() != u32::try_from(prints.len()).ok() || starts.len() < 2 {
            return None;
        }
        prints.extend([0; WINDOW]);
        Some(Self { prints, starts })
    }

    /// Prints and starts.
    pub fn parts(&self) -> (&[u16], &[u32]) {
        let keys = self.prints.len() - WINDOW;
        (self.prints.get(..keys).unwrap_or_default(), &self.starts)
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.prints.capacity() * size_of::<u16>() + self.starts.capacity() * size_of::<u32>()
    }

    /// Whether the key may be there; where not, it is not.
    #[inline]
    pub fn may_hold(&self, probe: &Probe) -> bool {
        let range = self.bucket(probe.upper);
        if range.len() > WINDOW {
            return true;
        }
        let window = self.prints.get(range.start..range.start + WINDOW).unwrap_or_default();
        window.iter().fold(false, |any, print| any | (*print == probe.print))
    }

    /// The positions at which the key may be.
    pub fn positions(&self, probe: &Probe) -> impl Iterator<Item = usize> + '_ {
        let (range, wanted) = (self.bucket(probe.upper), probe.print);
        range.filter(move |at| self.prints.get(*at) == Some(&wanted))
    }

    #[inline]
    fn bucket(&self, upper: u64) -> Range<usize> {
        let bucket = bucket(upper, self.starts.len() - 1);
        match self.starts.get(bucket..).and_then(|starts| starts.first_chunk()) {
            Some([start, end]) => *start as usize..*end as usize,
            None => 0..0,
        }
    }
}

/// Prints while their keys come.
#[derive(Debug)]
pub struct Builder {
    prints: Vec<u16>,
    starts: Vec<u32>,
    buckets: usize,
}

impl Builder {
    /// Takes the next key, not below the one before.
    pub fn push(&mut self, key: u128) {
        let probe = Probe::new(key, 0);
        self.begin(bucket(probe.upper, self.buckets));
        self.prints.push(probe.print);
    }

    /// The prints of what was pushed.
    pub fn finish(mut self) -> Prints {
        self.begin(self.buckets);
        self.prints.extend([0; WINDOW]);
        Prints {
            prints: self.prints,
            starts: self.starts,
        }
    }

    /// Notes where all buckets up to this one begin.
    fn begin(&mut self, bucket: usize) {
        // A volume of more keys than that is not made: see `FILE_KEYS_MAX`.
        let start = u32::try_from(self.prints.len()).unwrap_or(u32::MAX);
        while self.starts.len() <= bucket {
            self.starts.push(start);
        }
    }
}

#[inline]
fn bucket(upper: u64, buckets: usize) -> usize {
    ((u128::from(upper) * buckets as u128) >> 64) as usize
}
