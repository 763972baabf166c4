//! Seeds of the fuzz targets and random mutations of them, the same for the same `MEDALLION_SEED`.

use std::fs;
use std::path::Path;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::tier::seed;

/// The committed inputs of a target by name.
pub fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut found: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (
                path.file_name().unwrap().to_str().unwrap().to_owned(),
                fs::read(&path).unwrap(),
            )
        })
        .collect();
    found.sort();
    assert!(found.len() > 30, "{} has few seeds", folder.display());
    found
}

/// Says which input it was, if the check of it panics.
pub struct Told<'a> {
    name: &'a str,
    bytes: &'a [u8],
}

impl<'a> Told<'a> {
    pub fn new(name: &'a str, bytes: &'a [u8]) -> Self {
        Self { name, bytes }
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let start = &self.bytes[..self.bytes.len().min(2000)];
            eprintln!(
                "MEDALLION_SEED={}, input {}, {} bytes: {}",
                seed(),
                self.name,
                self.bytes.len(),
                start.escape_ascii()
            );
        }
    }
}

/// Changes seeds: bits, bytes, pieces cut out, doubled, and taken from another seed.
pub struct Mutator<'a> {
    seeds: &'a [(String, Vec<u8>)],
    dice: ChaCha8Rng,
    count: usize,
}

impl<'a> Mutator<'a> {
    pub fn new(seeds: &'a [(String, Vec<u8>)]) -> Self {
        Self {
            seeds,
            dice: ChaCha8Rng::seed_from_u64(seed()),
            count: 0,
        }
    }

    /// The next input, and what it was made from.
    pub fn next(&mut self) -> (String, Vec<u8>) {
        let (name, bytes) = &self.seeds[self.dice.random_range(0..self.seeds.len())];
        let mut bytes = bytes.clone();
        for _ in 0..self.dice.random_range(1..=4) {
            self.change(&mut bytes);
        }
        self.count += 1;
        (format!("mutation {} of {name}", self.count), bytes)
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.dice.random_range(0..=bytes.len());
        let end = (at + self.dice.random_range(1..=20)).min(bytes.len());
        match self.dice.random_range(0..6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.dice.random_range(0..8),
            1 if at < bytes.len() => bytes[at] = self.dice.random(),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece = bytes[at..end].to_vec();
                let again = self.dice.random_range(1..40);
                drop(bytes.splice(at..at, piece.repeat(again)));
            }
            4 => {
                let other = &self.seeds[self.dice.random_range(0..self.seeds.len())].1;
                let from = self.dice.random_range(0..=other.len());
                let to = (from + self.dice.random_range(1..=30)).min(other.len());
                drop(bytes.splice(at..end, other[from..to].iter().copied()));
            }
            _ => {
                let letters = b"{}[]\":,\\0129eE-+.$'=\n ";
                bytes.insert(at, letters[self.dice.random_range(0..letters.len())]);
            }
        }
    }
}
