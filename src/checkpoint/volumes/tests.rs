//! Volumes: what was put in is found or missed loudly, whatever is done to the files.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Named, Shape, Volumes, due};
use crate::checkpoint::snapshot::{Entry, Refused};
use crate::checkpoint::{Checkpoints, Folder};
use crate::error::Kind;

const PAGE: usize = 4096;
const PAGE_KEYS: u64 = 127;

fn folder() -> (TempDir, Folder) {
    let root = tempfile::tempdir().unwrap();
    let folder = Checkpoints::at(root.path().join("checkpoints")).of("views").unwrap();
    (root, folder)
}

/// Never merged, unless a test wants it.
fn shape(fan_out: usize) -> Shape {
    Shape { lot: 100, fan_out }
}

fn entry(number: u64) -> Entry {
    let spread = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    Entry {
        key: u128::from(spread) << 64 | u128::from(spread.rotate_left(17)),
        seq: number as i64,
        event_time: 1000 - number as i64,
    }
}

fn keys(numbers: std::ops::Range<u64>) -> Vec<u128> {
    numbers.map(|number| entry(number).key).collect()
}

/// One volume of so many keys, and what a snapshot says of it.
fn written(folder: &Folder, count: u64) -> (PathBuf, Named) {
    let mut volumes = Volumes::new(folder, shape(100));
    volumes.add((0..count).map(entry).collect()).unwrap();
    let named = volumes.saved().unwrap().remove(0);
    (folder.path().join(&named.file), named)
}

fn opened(folder: &Folder, named: &Named) -> Result<Volumes, Refused> {
    Volumes::open(folder, shape(100), std::slice::from_ref(named))
}

#[test]
fn what_was_added_is_found_and_nothing_else() {
    let (_root, folder) = folder();
    let mut volumes = Volumes::new(&folder, shape(100));
    let mut count = 0;
    for lot in [1, 15, PAGE_KEYS - 1, PAGE_KEYS, PAGE_KEYS + 1, 5000] {
        volumes.add((count..count + lot).map(entry).collect()).unwrap();
        count += lot;
    }
    let again = Volumes::open(&folder, shape(100), &volumes.saved().unwrap()).unwrap();
    for volumes in [volumes, again] {
        assert_eq!((volumes.keys(), volumes.len()), (count, 6));
        assert!(
            volumes.bytes() as u64 <= 3 * count + 6 * 256,
            "{} bytes",
            volumes.bytes()
        );
        let mut asked = keys(0..2 * count);
        asked.reverse();
        let found = volumes.look_up(&asked).unwrap();
        let wanted: Vec<_> = (0..count).rev().map(entry).zip(count as usize..).collect();
        assert!(found.iter().map(|(at, entry)| (*entry, *at)).eq(wanted));
        assert!(volumes.look_up(&[]).unwrap().is_empty());
    }
}

#[test]
fn keys_that_are_no_hashes_are_found_too() {
    let (_root, folder) = folder();
    let mut volumes = Volumes::new(&folder, shape(100));
    // All in one bucket, and all prints alike.
    let entry = |number: u64| Entry {
        key: u128::from(number) << 16,
        ..entry(number)
    };
    volumes.add((0..500).map(entry).collect()).unwrap();
    let asked: Vec<u128> = (0..600).map(|number| entry(number).key).collect();
    assert!(
        volumes
            .look_up(&asked)
            .unwrap()
            .into_iter()
            .eq((0..).zip((0..500).map(entry)))
    );
}

#[test]
fn a_volume_cut_at_any_length_or_with_anything_behind_it_is_refused() {
    let (_root, folder) = folder();
    let (path, named) = written(&folder, 40);
    let bytes = fs::read(&path).unwrap();
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        assert!(
            matches!(opened(&folder, &named), Err(Refused::Volume { .. })),
            "{length}"
        );
        // Also where the snapshot would say so.
        let shorter = Named {
            bytes: length as u64,
            ..named.clone()
        };
        assert!(
            matches!(opened(&folder, &shorter), Err(Refused::Volume { .. })),
            "{length}"
        );
    }
    fs::write(&path, [&bytes[..], b"\0"].concat()).unwrap();
    assert!(opened(&folder, &named).is_err());
    fs::write(&path, &bytes).unwrap();
    assert!(opened(&folder, &named).is_ok());
}

#[test]
fn a_flipped_bit_is_noticed_when_the_volume_is_opened_or_when_the_page_is_read() {
    let (_root, folder) = folder();
    let (path, named) = written(&folder, 40);
    let bytes = fs::read(&path).unwrap();
    let (mut when_opened, mut when_read) = (0, 0);
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&path, &flipped).unwrap();
        match opened(&folder, &named) {
            Err(_) => when_opened += 1,
            Ok(volumes) => {
                let error = volumes.look_up(&keys(0..40)).unwrap_err();
                assert_eq!(error.kind(), Kind::Unavailable, "byte {at}: {error}");
                assert!(!path.exists(), "byte {at}: no snapshot may name it again");
                when_read += 1;
            }
        }
    }
    assert_eq!((when_read, when_opened), (PAGE, bytes.len() - PAGE));
    println!("flipped volumes: {} cases", bytes.len());
}

#[test]
fn a_sound_page_in_anothers_place_is_refused() {
    let (_root, folder) = folder();
    let (path, named) = written(&folder, 3 * PAGE_KEYS);
    let (other, _) = written(&folder, 3 * PAGE_KEYS);
    let (bytes, other) = (fs::read(&path).unwrap(), fs::read(other).unwrap());
    let check = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = bytes.clone();
        change(&mut changed);
        fs::write(&path, changed).unwrap();
        let volumes = opened(&folder, &named).unwrap();
        let error = volumes.look_up(&keys(0..3 * PAGE_KEYS)).unwrap_err().to_string();
        assert!(error.contains("a page of it is not what was written"), "{error}");
    };
    check(&|bytes| bytes.copy_within(..PAGE, PAGE));
    check(&|bytes| bytes[..PAGE].copy_from_slice(&other[..PAGE]));
}

#[test]
fn another_file_under_the_name_and_another_name_are_refused() {
    let (_root, folder) = folder();
    let (path, named) = written(&folder, 40);
    let (other, of_other) = written(&folder, 40);
    assert_eq!(named.bytes, of_other.bytes);
    fs::copy(&other, &path).unwrap();
    assert!(opened(&folder, &named).is_err(), "the stamp is another");
    let renamed = Named {
        file: of_other.file,
        ..named.clone()
    };
    assert!(opened(&folder, &renamed).is_err(), "the sum is another");
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&other, &path).unwrap();
    assert!(opened(&folder, &named).is_err(), "a link is no volume");
    fs::remove_file(&path).unwrap();
    let gone = opened(&folder, &named).unwrap_err();
    assert!(
        gone.to_string()
            .starts_with(&format!("its volume {}: it cannot be read", named.file)),
        "{gone}"
    );
    for file in [
        "",
        "/etc/passwd",
        "../silver-0000000000000000.volume",
        "silver-0.volume",
        "silver-é.volume",
    ] {
        let named = Named {
            file: file.to_owned(),
            ..named.clone()
        };
        let refused = opened(&folder, &named).unwrap_err();
        assert!(refused.to_string().ends_with("it is no name of a volume"), "{refused}");
    }
}

fn spoil(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[PAGE / 2] ^= 1;
    // In place: it is open.
    fs::write(path, bytes).unwrap();
}

#[test]
fn merging_keeps_the_latest_row_of_a_key_and_the_files_that_are_needed() {
    let (_root, folder) = folder();
    let mut volumes = Volumes::new(&folder, shape(3));
    let later = |number: u64, by: i64| Entry {
        seq: entry(number).seq + by,
        ..entry(number)
    };
    volumes.add((0..150).map(entry).collect()).unwrap();
    let first = volumes.saved().unwrap();
    volumes
        .add((50..200).map(|number| later(number, 1000)).collect())
        .unwrap();
    volumes
        .add((100..250).map(|number| later(number, 2000)).collect())
        .unwrap();
    volumes.rest();
    assert_eq!((volumes.len(), volumes.keys()), (1, 250));
    let found = volumes.look_up(&keys(0..300)).unwrap();
    let wanted = (0..250).map(|number| match number {
        0..50 => entry(number),
        50..100 => later(number, 1000),
        _ => later(number, 2000),
    });
    assert!(found.into_iter().eq((0..).zip(wanted)));
    // No snapshot names the three that it was made of.
    volumes.sweep(&folder);
    assert!(!folder.path().join(&first[0].file).exists());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_merge_that_meets_a_bad_page_ends_the_state_and_one_that_cannot_write_does_not() {
    let (_root, folder) = folder();
    let mut volumes = Volumes::new(&folder, shape(3));
    volumes.add((0..100).map(entry).collect()).unwrap();
    volumes.add((100..200).map(entry).collect()).unwrap();
    let bad = folder.path().join(&volumes.saved().unwrap()[0].file);
    spoil(&bad);
    volumes.add((200..300).map(entry).collect()).unwrap();
    volumes.rest();
    let error = volumes.look_up(&keys(250..251)).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(!bad.exists());

    let mut volumes = Volumes::new(&folder, shape(3));
    for lot in 0..2 {
        volumes.add((100 * lot..100 * lot + 100).map(entry).collect()).unwrap();
    }
    fs::remove_dir_all(folder.path()).unwrap();
    fs::write(folder.path(), "a file where the folder should be").unwrap();
    let failed = volumes.add((200..300).map(entry).collect()).unwrap_err();
    assert_eq!((failed.kind(), volumes.len()), (Kind::Unavailable, 2), "{failed}");
    assert_eq!(
        volumes.look_up(&keys(0..300)).unwrap().len(),
        200,
        "they are open still"
    );
}

#[test]
fn volumes_stay_few_and_each_key_is_rewritten_once_for_each_power_of_the_fan_out() {
    let shape = Shape { lot: 100, fan_out: 16 };
    let (mut sizes, mut rewritten, mut most) = (Vec::new(), 0, 0);
    let lots = 3000;
    for lot in 0..lots {
        // Lots are not alike.
        sizes.push(60 + lot * 7 % 41);
        while let Some(inputs) = due(&sizes, shape) {
            let merged: u64 = sizes[inputs.clone()].iter().sum();
            rewritten += merged;
            sizes.splice(inputs, [merged]);
        }
        most = most.max(sizes.len());
    }
    let keys: u64 = sizes.iter().sum();
    assert!(most <= 3 * 15, "{most} volumes");
    assert!(rewritten <= 2 * keys, "{rewritten} of {keys} keys");
    assert_eq!(due(&[], shape), None);
    // Small ones between large ones are taken along.
    assert_eq!(due(&[100, 2000, 100, 2000], Shape { lot: 100, fan_out: 2 }), Some(1..4));
}
