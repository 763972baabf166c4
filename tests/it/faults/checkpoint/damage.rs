//! Files that are not what was written.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use medallion::checkpoint::snapshot::FORMAT;
use medallion::run::restore::How;

use super::bed::{Bed, Files, STEP, contents, forge, open};
use crate::support::project::{NOW, block};
use crate::support::tier;

const NEWEST: i64 = 3 * STEP as i64;
const PREVIOUS: i64 = 2 * STEP as i64;

fn spoil(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Runs the cases on two threads.
fn each<T: Send>(cases: Vec<T>, check: impl Fn(T) + Sync) {
    let cases = Mutex::new(cases);
    let work = || {
        loop {
            let next = cases.lock().unwrap().pop();
            match next {
                Some(case) => check(case),
                None => return,
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
}

#[test]
fn a_sound_snapshot_is_used_and_a_wrong_one_would_show() {
    let bed = Bed::new();
    bed.expect(&bed.copy(), How::Snapshot, NEWEST, "sound");
    bed.expect(&Files::none(), How::Tables, 0, "none");
    // The same file without its keys, all sums right: were it not used, the rows would not differ.
    let files = bed.copy();
    assert!(!contents(&files.newest()).entries.is_empty());
    forge(&files.newest(), |snapshot| {
        snapshot.entries.clear();
        snapshot.header.keys = 0;
    });
    let continued = bed.go_on(&files);
    assert_eq!(continued.how, How::Snapshot);
    assert_ne!(continued.rows, bed.wanted, "without keys, rows are accepted twice");
}

#[test]
fn a_snapshot_cut_at_any_length_gives_way_to_the_one_before_it_or_to_the_tables() {
    let bed = Bed::new();
    let length = fs::metadata(bed.copy().newest()).unwrap().len() as usize;
    let stride = tier::pick(331, 31, 5);
    let began = Instant::now();
    let lengths: Vec<usize> = (0..length).rev().step_by(stride).chain([0]).collect();
    let count = lengths.len();
    each(lengths, |cut| {
        let files = bed.copy();
        spoil(&files.newest(), |bytes| bytes.truncate(cut));
        bed.expect(
            &files,
            How::Previous,
            PREVIOUS,
            &format!("newest cut to {cut} of {length}"),
        );
        spoil(&files.previous(), |bytes| bytes.truncate(cut.min(bytes.len() - 1)));
        bed.expect(&files, How::Tables, 0, &format!("both cut to {cut} of {length}"));
    });
    println!("cut snapshots: {} cases, {:?}", 2 * count, began.elapsed());
}

#[test]
fn a_snapshot_with_any_bit_flipped_gives_way_to_the_one_before_it_or_to_the_tables() {
    let bed = Bed::new();
    let length = fs::metadata(bed.copy().newest()).unwrap().len() as usize;
    let stride = tier::pick(331, 31, 5);
    let began = Instant::now();
    let flips: Vec<(usize, usize)> = (0..length).step_by(stride).map(|at| (at, at % 8)).collect();
    let count = flips.len();
    each(flips, |(at, bit)| {
        let files = bed.copy();
        spoil(&files.newest(), |bytes| bytes[at] ^= 1 << bit);
        bed.expect(
            &files,
            How::Previous,
            PREVIOUS,
            &format!("bit {bit} of byte {at} of the newest"),
        );
        fs::remove_file(files.previous()).unwrap();
        bed.expect(
            &files,
            How::Tables,
            0,
            &format!("bit {bit} of byte {at} of the only one"),
        );
    });
    println!("flipped snapshots: {} cases, {:?}", 2 * count, began.elapsed());
}

type Change = fn(&Path);

/// Files that are something else under a snapshot's name.
fn impostors() -> Vec<(&'static str, Change)> {
    vec![
        ("empty", |path| spoil(path, Vec::clear)),
        ("one byte more", |path| spoil(path, |bytes| bytes.push(0))),
        ("itself twice", |path| spoil(path, |bytes| bytes.extend(bytes.clone()))),
        ("zeros as long as it", |path| spoil(path, |bytes| bytes.fill(0))),
        ("a table's log", |path| {
            spoil(path, |bytes| *bytes = b"{\"commitInfo\":{}}".to_vec())
        }),
        ("of the next format", |path| {
            spoil(path, |bytes| bytes[8..12].copy_from_slice(&(FORMAT + 1).to_le_bytes()));
        }),
        ("of format 0", |path| spoil(path, |bytes| bytes[8] = 0)),
        ("of another lake", |path| {
            forge(path, |it| it.header.identity.lake.push('x'))
        }),
        ("of another pipeline", |path| {
            forge(path, |it| it.header.identity.pipeline.push('x'))
        }),
        ("of another replay", |path| {
            forge(path, |it| it.header.identity.generation.push('x'))
        }),
        ("of another definition", |path| {
            forge(path, |it| it.header.identity.definition.push('x'))
        }),
        ("of an adopted definition", |path| {
            forge(path, |it| it.header.identity.adopted_from = Some(1))
        }),
        ("of another commit", |path| {
            forge(path, |it| {
                it.header.mark = it.header.mark.replace(char::is_numeric, "x")
            })
        }),
        ("of a version to come", |path| {
            forge(path, |it| it.header.version += 100)
        }),
        ("of a table with more rows", |path| {
            forge(path, |it| it.header.rows += 1)
        }),
        ("of a table with fewer rows", |path| {
            forge(path, |it| it.header.rows -= 1)
        }),
        ("of another position than its name says", |path| {
            forge(path, |it| it.header.position += 1)
        }),
    ]
}

#[test]
fn what_is_no_snapshot_of_this_table_gives_way() {
    let changes = impostors();
    let bed = Bed::new();
    for (what, change) in &changes {
        let files = bed.copy();
        change(&files.newest());
        bed.expect(&files, How::Previous, PREVIOUS, &format!("newest {what}"));
        change(&files.previous());
        bed.expect(&files, How::Tables, 0, &format!("both {what}"));
    }
    let in_its_place: [(&str, Change); 2] = [
        ("a directory", |path| fs::create_dir(path).unwrap()),
        ("a link to nowhere", |path| symlink("/nowhere/at/all", path).unwrap()),
    ];
    for (what, make) in in_its_place {
        let files = bed.copy();
        for (path, how, from) in [
            (files.newest(), How::Previous, PREVIOUS),
            (files.previous(), How::Tables, 0),
        ] {
            fs::remove_file(&path).unwrap();
            make(&path);
            bed.expect(&files, how, from, what);
        }
    }
    println!("snapshots of something else: {} cases", 2 * changes.len() + 4);
}

#[test]
fn files_that_are_gone_or_changed_places_are_no_loss() {
    let bed = Bed::new();
    let files = bed.copy();
    fs::remove_file(files.newest()).unwrap();
    bed.expect(&files, How::Snapshot, PREVIOUS, "the newest gone");
    fs::remove_file(files.newest()).unwrap();
    bed.expect(&files, How::Tables, 0, "both gone");
    fs::remove_dir(files.folder().path()).unwrap();
    bed.expect(&files, How::Tables, 0, "the folder gone");
    fs::write(files.folder().path(), "a file where the folder should be").unwrap();
    bed.expect(&files, How::Tables, 0, "a file in the folder's place");

    let files = bed.copy();
    let (newest, previous) = (files.newest(), files.previous());
    let aside = newest.with_extension("aside");
    fs::rename(&newest, &aside).unwrap();
    fs::rename(&previous, &newest).unwrap();
    fs::rename(&aside, &previous).unwrap();
    bed.expect(&files, How::Tables, 0, "the two generations in each other's place");
}

#[test]
fn a_broken_generation_is_not_the_one_that_is_kept() {
    let bed = Bed::new();
    let files = bed.copy();
    spoil(&files.newest(), |bytes| bytes[1000] ^= 1);
    let mut layer = open(&bed.project, &bed.lake(), &files.checkpoints(), &bed.project.pipeline());
    assert_eq!(layer.keeper().how(), How::Previous);
    block(layer.save_state(true, NOW));
    assert_eq!(files.positions(), [4 * STEP as i64, PREVIOUS]);
    assert_eq!(contents(&files.previous()).header.position, PREVIOUS);
}

#[test]
fn a_process_that_dies_at_any_moment_of_writing_leaves_what_the_next_one_can_use() {
    let bed = Bed::new();
    let whole = fs::read(bed.copy().newest()).unwrap();
    let name = |files: &Files, name: &str| files.folder().path().join(name);
    let stride = tier::pick(499, 61, 7);
    let moments: Vec<usize> = (0..=whole.len()).rev().step_by(stride).chain([0]).collect();
    let count = moments.len();
    each(moments, |written| {
        // The third generation half written under its unfinished name, the two before it in place.
        let files = bed.copy();
        fs::remove_file(files.newest()).unwrap();
        let unfinished = name(&files, ".silver-00000000000000000075.4711.unfinished");
        fs::write(&unfinished, &whole[..written]).unwrap();
        bed.expect(&files, How::Snapshot, PREVIOUS, &format!("{written} bytes written"));
        let mut layer = open(&bed.project, &bed.lake(), &files.checkpoints(), &bed.project.pipeline());
        block(layer.save_state(true, NOW));
        assert!(
            !unfinished.exists(),
            "{written} bytes written: the next write cleans up"
        );
        assert_eq!(files.positions(), [4 * STEP as i64, PREVIOUS]);
    });
    // It has its name, the folder was not synced and the power went: it is there, or not, or empty.
    let files = bed.copy();
    bed.expect(&files, How::Snapshot, NEWEST, "named");
    spoil(&files.newest(), Vec::clear);
    bed.expect(&files, How::Previous, PREVIOUS, "named, and lost what was in it");
    // Read back, and what is older not yet deleted.
    let files = bed.copy();
    fs::copy(files.previous(), name(&files, "silver-00000000000000000025.snapshot")).unwrap();
    bed.expect(&files, How::Snapshot, NEWEST, "three generations");
    println!("deaths while writing: {} cases", count + 3);
}
