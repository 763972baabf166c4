//! Volumes that are not what was written: found when silver opens, or when it reads them, and never believed.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use medallion::checkpoint::Shape;
use medallion::checkpoint::snapshot::{Header, read_header};
use medallion::checkpoint::volumes::stamp_in;
use medallion::error::Kind;
use medallion::run::restore::How;

use super::bed::{Bed, Files, STEP, contents, forge, go_on, in_steps_of, open};
use crate::support::project::{NOW, block};
use crate::support::tier;

const NEWEST: i64 = 3 * STEP as i64;
const PREVIOUS: i64 = 2 * STEP as i64;
const PAGE: usize = 4096;

fn bed() -> Bed {
    let bed = Bed::shaped(Shape { lot: 12, fan_out: 100 });
    let files = bed.copy();
    assert!(named(&files, 0).len() > named(&files, 1).len() && !named(&files, 1).is_empty());
    bed
}

/// The volumes that a snapshot names, the newest snapshot being the first.
fn named(files: &Files, snapshot: usize) -> Vec<String> {
    let found = files.folder().snapshots().remove(snapshot);
    let bytes = fs::read(found.path).unwrap();
    let Header { volumes, .. } = read_header(&bytes[..], bytes.len() as u64).unwrap();
    volumes.into_iter().map(|volume| volume.file).collect()
}

/// The files of volumes that are there.
fn there(files: &Files) -> BTreeSet<String> {
    let names = fs::read_dir(files.folder().path()).unwrap();
    let names = names.map(|found| found.unwrap().file_name().into_string().unwrap());
    names.filter(|name| stamp_in(name).is_some()).collect()
}

fn path(files: &Files, volume: &str) -> PathBuf {
    files.folder().path().join(volume)
}

/// Which way is left where a volume is of no use.
fn left(files: &Files, volume: &str) -> (How, i64) {
    match named(files, 1).iter().any(|named| named == volume) {
        true => (How::Tables, 0),
        false => (How::Previous, PREVIOUS),
    }
}

/// Spoils each volume of the newest snapshot and goes on.
fn each(bed: &Bed, what: &str, spoil: impl Fn(&Files, &str)) -> usize {
    let volumes = named(&bed.copy(), 0);
    for volume in &volumes {
        let files = bed.copy();
        let (how, from) = left(&files, volume);
        spoil(&files, volume);
        bed.expect(&files, how, from, &format!("{volume} {what}"));
    }
    volumes.len()
}

#[test]
fn volumes_are_used_and_wrong_ones_would_show() {
    let bed = bed();
    bed.expect(&bed.copy(), How::Snapshot, NEWEST, "sound");
    let files = bed.copy();
    forge(&files.newest(), |snapshot| snapshot.header.volumes.clear());
    let continued = bed.go_on(&files);
    assert_eq!(continued.how, How::Snapshot);
    assert_ne!(continued.rows, bed.wanted, "without volumes, rows are accepted twice");
    // The newest snapshot has few keys of its own.
    assert!(contents(&bed.copy().newest()).entries.len() < 24);
}

#[test]
fn a_volume_that_is_gone_cut_longer_or_another_one_gives_way() {
    let bed = bed();
    let mut cases = each(&bed, "gone", |files, volume| {
        fs::remove_file(path(files, volume)).unwrap()
    });
    let length = fs::metadata(path(&bed.copy(), &named(&bed.copy(), 0)[0]))
        .unwrap()
        .len() as usize;
    for cut in (0..length).step_by(tier::pick(1500, 150, 10)).chain([length - 1]) {
        cases += each(&bed, &format!("cut to {cut}"), |files, volume| {
            let bytes = fs::read(path(files, volume)).unwrap();
            fs::write(path(files, volume), &bytes[..cut.min(bytes.len() - 1)]).unwrap();
        });
    }
    cases += each(&bed, "with a byte more", |files, volume| {
        let bytes = fs::read(path(files, volume)).unwrap();
        fs::write(path(files, volume), [&bytes[..], b"\0"].concat()).unwrap();
    });
    cases += each(&bed, "another one", |files, volume| {
        let other = named(files, 0).into_iter().find(|other| other != volume).unwrap();
        fs::copy(path(files, &other), path(files, volume)).unwrap();
    });
    let others = Bed::shaped(Shape { lot: 12, fan_out: 100 }).copy();
    let other = path(&others, &named(&others, 0)[0]);
    cases += each(&bed, "of another state", |files, volume| {
        fs::copy(&other, path(files, volume)).unwrap();
    });
    println!("volumes that are not what was written: {cases} cases");
}

#[test]
fn a_flipped_bit_behind_the_pages_gives_way() {
    let bed = bed();
    let mut cases = 0;
    for at in (0..100).step_by(tier::pick(33, 7, 1)) {
        cases += each(
            &bed,
            &format!("with byte {at} behind its page flipped"),
            |files, volume| {
                let mut bytes = fs::read(path(files, volume)).unwrap();
                let at = PAGE + at % (bytes.len() - PAGE);
                bytes[at] ^= 1 << (at % 8);
                fs::write(path(files, volume), bytes).unwrap();
            },
        );
    }
    println!("flipped volumes: {cases} cases");
}

#[test]
fn a_flipped_bit_in_a_page_stops_the_step_that_reads_it_and_the_layer_that_is_opened_anew_goes_on_without_it() {
    let bed = bed();
    let (mut stopped, mut cases) = (0, 0);
    for at in (0..PAGE).step_by(tier::pick(1300, 300, 20)) {
        for volume in named(&bed.copy(), 0) {
            let files = bed.copy();
            let mut bytes = fs::read(path(&files, &volume)).unwrap();
            bytes[at] ^= 1 << (at % 8);
            fs::write(path(&files, &volume), bytes).unwrap();
            let lake = bed.lake();
            let mut layer = open(&bed.project, &lake, &files.checkpoints(), &bed.project.pipeline());
            assert_eq!(
                layer.keeper().how(),
                How::Snapshot,
                "pages are not read before they are needed"
            );
            let wanted = left(&files, &volume);
            let error = loop {
                match block(layer.step(&in_steps_of(STEP))) {
                    Ok(Some(_)) => {}
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            };
            let continued = go_on(&bed.project, &lake, &files.checkpoints(), STEP);
            if let Some(error) = error {
                assert_eq!(error.kind(), Kind::Unavailable, "{error}");
                assert!(error.to_string().contains(&volume), "{error}");
                assert!(!path(&files, &volume).exists());
                assert_eq!((continued.how, continued.from), wanted, "{volume}, byte {at}");
                stopped += 1;
            }
            assert_eq!(continued.rows, bed.wanted, "{volume}, byte {at}");
            cases += 1;
        }
    }
    println!("flipped pages: {cases} cases, {stopped} were read");
    assert!(stopped > cases / 2);
}

#[test]
fn what_a_process_that_died_left_is_deleted_and_what_a_snapshot_names_is_not() {
    let bed = bed();
    let files = bed.copy();
    let before: BTreeSet<String> = named(&files, 0).into_iter().chain(named(&files, 1)).collect();
    // Silver went on after its last snapshot, and what it wrote then is of no use to anyone.
    let unnamed: Vec<String> = there(&files).difference(&before).cloned().collect();
    assert!(!unnamed.is_empty());
    let orphan = path(&files, "silver-00000000000000ab.volume");
    fs::write(&orphan, "half of a volume").unwrap();
    fs::write(path(&files, "silver-notes.volume"), "someone's").unwrap();
    let lake = bed.lake();
    let mut layer = open(&bed.project, &lake, &files.checkpoints(), &bed.project.pipeline());
    assert!(!orphan.exists() && unnamed.iter().all(|volume| !path(&files, volume).exists()));
    assert!(path(&files, "silver-notes.volume").exists(), "it is not ours to delete");
    assert!(there(&files).is_superset(&before));
    while block(layer.step(&in_steps_of(STEP))).unwrap().is_some() {
        block(layer.save_state(true, NOW));
    }
    assert!(
        there(&files).is_superset(&before),
        "nothing was merged, and all is needed"
    );
    drop(layer);
    // A replay's state is another: its first snapshot leaves nothing of the one before.
    fs::remove_file(files.newest()).unwrap();
    fs::remove_file(files.newest()).unwrap();
    let layer = open(&bed.project, &lake, &files.checkpoints(), &bed.project.pipeline());
    assert_eq!(layer.keeper().how(), How::Tables);
    assert!(there(&files).is_disjoint(&before));
}

#[test]
fn merged_volumes_take_the_place_of_those_they_were_made_of() {
    let bed = Bed::shaped(Shape { lot: 4, fan_out: 2 });
    let files = bed.copy();
    bed.expect(&files, How::Snapshot, NEWEST, "merged");
    let continued = go_on(&bed.project, &bed.lake(), &files.checkpoints(), 3);
    assert_eq!(continued.rows, bed.wanted);
}
