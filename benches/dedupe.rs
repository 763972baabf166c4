//! What a key costs silver's memory of keys, at so many keys: time, memory, and the restart.
//!
//! `MEDALLION_BENCH_KEYS` keys (1,000,000 where not told; several numbers with commas) come in batches of 100,000 with
//! 1 % duplicates from all of history, as steps of silver do. It tells nanoseconds of wall and of CPU per key (merging,
//! which has a thread of its own, included), over all keys and over the last million; growth of resident memory per key;
//! and how long it takes to save, and to be back at the first new batch. `MEDALLION_BENCH_SHAPE=lot,fan_out` changes the
//! shape, `MEDALLION_BENCH_MEMORY=1` keeps all keys in the hash table. The answers are counted: a wrong number is a panic.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a benchmark: a failure is its end"
)]

use std::fs;
use std::time::{Duration, Instant};

use medallion::checkpoint::snapshot::{Entry, Header, Identity};
use medallion::checkpoint::{Checkpoints, Folder, Shape, Volumes};
use medallion::layer::silver::{Dedupe, First, Horizon, Key};
use medallion::run::archive::VolumeArchive;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const BATCH: u64 = 100_000;
const LAST: u64 = 1_000_000;
/// One row in so many repeats an earlier key.
const DUPLICATE_EVERY: u64 = 100;

fn main() {
    // `cargo test --benches` runs it, too, and wants no benchmark.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let told = std::env::var("MEDALLION_BENCH_KEYS").unwrap_or_else(|_| "1000000".to_owned());
    for keys in told.split(',') {
        measure(keys.trim().replace('_', "").parse().unwrap());
    }
}

fn shape() -> Shape {
    let told = std::env::var("MEDALLION_BENCH_SHAPE").ok();
    told.map_or_else(Shape::default, |told| {
        let (lot, fan_out) = told.split_once(',').unwrap();
        Shape {
            lot: lot.parse().unwrap(),
            fan_out: fan_out.parse().unwrap(),
        }
    })
}

/// The key of a number, spread like a hash.
fn key(number: u64) -> Key {
    let mix = |seed: u64| {
        let mut mixed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    };
    Key::from(mix(2 * number + 1)) << 64 | Key::from(mix(2 * number + 2))
}

/// The numbers of a batch's keys: new ones from `next` on, and duplicates.
fn batch(next: u64) -> Vec<u64> {
    let row = |row: u64| match next > 0 && row.is_multiple_of(DUPLICATE_EVERY) {
        true => key(next + row) as u64 % next,
        false => next + row - row.div_ceil(DUPLICATE_EVERY) * u64::from(next > 0),
    };
    (0..BATCH).map(row).collect()
}

/// Puts a batch through; returns how many were duplicates.
fn step(dedupe: &mut Dedupe, numbers: &[u64], seq: &mut i64) -> usize {
    let keys: Vec<Key> = numbers.iter().map(|number| key(*number)).collect();
    let horizon = Horizon::default();
    dedupe.make_room(keys.len(), horizon);
    let mut archived = dedupe.look_up(&keys).unwrap().into_iter().peekable();
    let mut duplicates = 0;
    for (at, key) in keys.iter().enumerate() {
        let row = First {
            seq: *seq,
            event_time: *seq,
        };
        *seq += 1;
        let archived = archived.next_if(|(place, _)| *place == at).map(|(_, first)| first);
        duplicates += usize::from(dedupe.admit(*key, row, archived, horizon).is_err());
    }
    duplicates
}

fn measure(keys: u64) {
    let root = tempfile::tempdir_in(std::env::var("MEDALLION_BENCH_DIR").unwrap_or_else(|_| ".".to_owned())).unwrap();
    let folder = Checkpoints::at(root.path().to_owned()).of("views").unwrap();
    let archive = VolumeArchive::new("views", Volumes::new(&folder, shape()));
    let mut dedupe = match std::env::var_os("MEDALLION_BENCH_MEMORY") {
        Some(_) => Dedupe::default(),
        None => Dedupe::over(Box::new(archive.clone()), shape().lot),
    };
    let (before, mut seq, mut next) = (resident("VmRSS"), 0, 0);
    let mut since = (next, Instant::now(), cpu());
    let began = since;
    while next < keys {
        if next + LAST <= keys {
            since = (next, Instant::now(), cpu());
        }
        let numbers = batch(next);
        let wanted = if next == 0 { 0 } else { BATCH.div_ceil(DUPLICATE_EVERY) };
        let duplicates = step(&mut dedupe, &numbers, &mut seq);
        assert_eq!(duplicates as u64, wanted, "duplicates after {next} keys");
        next += BATCH - wanted;
    }
    let now = (next, Instant::now(), cpu());
    tell("all", began, now);
    tell("the last million", since, now);
    let grown = resident("VmRSS") - before;
    let waited = Instant::now();
    archive.volumes().rest();
    let (rested, volumes) = (resident("VmRSS") - before, archive.volumes().len());
    println!(
        "{keys} keys in {volumes} volumes: {:.2} bytes of memory a key ({:.2} by the gauge), {:.2} after {:?} of merging, {:.2} at its peak",
        grown / next as f64,
        dedupe.bytes() as f64 / next as f64,
        rested / next as f64,
        waited.elapsed(),
        (resident("VmHWM") - before) / next as f64,
    );
    let saving = Instant::now();
    save(&folder, &archive, &dedupe, seq);
    println!("{keys} keys: saved in {:?}", saving.elapsed());
    drop((dedupe, archive));
    let times = [(); 3].map(|()| restart(&folder, next, seq));
    println!(
        "{keys} keys: back at the first new batch after {:?} at best",
        times.iter().min().unwrap()
    );
}

fn tell(what: &str, from: (u64, Instant, f64), to: (u64, Instant, f64)) {
    let keys = (to.0 - from.0) as f64;
    let wall = (to.1 - from.1).as_secs_f64() * 1e9 / keys;
    println!(
        "{} keys, {what}: {wall:.0} ns of wall, {:.0} ns of CPU a key",
        to.0,
        (to.2 - from.2) * 1e9 / keys
    );
}

fn identity() -> Identity {
    Identity {
        lake: "memory:///".to_owned(),
        pipeline: "views".to_owned(),
        generation: String::new(),
        definition: String::new(),
        adopted_from: None,
    }
}

fn save(folder: &Folder, archive: &VolumeArchive, dedupe: &Dedupe, position: i64) {
    let header = Header {
        identity: identity(),
        position,
        version: 0,
        mark: String::new(),
        rows: 0,
        keys: dedupe.recent().len() as u64,
        volumes: archive.volumes().saved().unwrap(),
        written_at: String::new(),
    };
    let recent = dedupe
        .recent()
        .map(|(key, First { seq, event_time })| Entry { key, seq, event_time });
    folder.save(&header, recent, 0).unwrap();
}

/// From the files to the first new batch, which must find its duplicates.
fn restart(folder: &Folder, next: u64, mut seq: i64) -> Duration {
    let began = Instant::now();
    let found = folder.snapshots().remove(0);
    let header = folder.header(&found, &identity()).unwrap();
    let volumes = Volumes::open(folder, shape(), &header.volumes).unwrap();
    let mut dedupe = Dedupe::over(Box::new(VolumeArchive::new("views", volumes)), shape().lot);
    let put_back = |Entry { key, seq, event_time }| dedupe.restore(key, First { seq, event_time }, Horizon::default());
    folder.load(&found, &identity(), put_back).unwrap();
    let duplicates = step(&mut dedupe, &batch(next), &mut seq);
    let took = began.elapsed();
    assert_eq!(duplicates as u64, BATCH.div_ceil(DUPLICATE_EVERY));
    took
}

/// A size of this process in bytes.
fn resident(what: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    let kilobytes: f64 = line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
    kilobytes * 1024.0
}

/// Seconds of CPU that this process has had, user and system, all threads.
fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let after = stat.rsplit(')').next().unwrap();
    let ticks: f64 = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<f64>().unwrap())
        .sum();
    ticks / 100.0
}
