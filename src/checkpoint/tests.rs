//! The format and the folder: whatever is done to the bytes, nothing of them is taken for what it is not.

use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use super::snapshot::{Entry, FORMAT, Header, Identity, Refused, Snapshot, decode, write_front};
use super::{Checkpoints, Folder};

fn identity() -> Identity {
    Identity {
        lake: "file:///lake/".to_owned(),
        pipeline: "views".to_owned(),
        generation: "g1".to_owned(),
        definition: "d1".to_owned(),
        adopted_from: None,
    }
}

fn entries(keys: u64) -> Vec<Entry> {
    let entry = |at: u64| Entry {
        key: (u128::from(at) << 70) | (u128::from(at) * 0x9E37_79B9),
        seq: at as i64,
        event_time: -1_000_000 + at as i64 * 7,
    };
    (0..keys).map(entry).collect()
}

fn snapshot(position: i64, keys: u64) -> Snapshot {
    Snapshot {
        header: Header {
            identity: identity(),
            position,
            version: 3,
            mark: "0123".to_owned(),
            rows: keys,
            keys,
            volumes: Vec::new(),
            written_at: "2026-01-01T00:00:00.000000Z".to_owned(),
        },
        entries: entries(keys),
    }
}

fn encoded(snapshot: &Snapshot) -> Vec<u8> {
    let writer = write_front(Vec::new(), &snapshot.header).unwrap();
    writer.finish(snapshot.entries.iter().copied()).unwrap()
}

fn folder() -> (TempDir, Folder) {
    let root = tempfile::tempdir().unwrap();
    let folder = Checkpoints::at(root.path().join("checkpoints")).of("views").unwrap();
    (root, folder)
}

fn save(folder: &Folder, snapshot: &Snapshot, previous: i64) {
    let entries = snapshot.entries.iter().copied();
    folder.save(&snapshot.header, entries, previous).unwrap();
}

fn positions(folder: &Folder) -> Vec<i64> {
    folder.snapshots().into_iter().map(|found| found.position).collect()
}

#[test]
fn what_is_written_is_read_whatever_the_number_of_keys() {
    for keys in [0, 1, 2047, 2048, 2049, 5000] {
        let written = snapshot(5000, keys);
        assert_eq!(decode(&encoded(&written), &identity()).unwrap(), written);
    }
}

#[test]
fn a_snapshot_cut_at_any_length_or_with_anything_behind_it_is_refused() {
    let bytes = encoded(&snapshot(100, 5));
    for length in 0..bytes.len() {
        let refused = decode(&bytes[..length], &identity()).unwrap_err();
        assert!(matches!(refused, Refused::Damaged(_)), "{length}: {refused}");
    }
    for more in [&b"\0"[..], b"x", &bytes, &bytes[..32]] {
        let longer = [&bytes[..], more].concat();
        assert!(matches!(decode(&longer, &identity()), Err(Refused::Damaged(_))));
    }
    println!("cut snapshots: {} cases", bytes.len() + 4);
}

#[test]
fn every_flipped_bit_is_noticed() {
    let bytes = encoded(&snapshot(100, 5));
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            assert!(decode(&flipped, &identity()).is_err(), "bit {bit} of byte {at}");
        }
    }
    println!("flipped snapshots: {} cases", bytes.len() * 8);
}

#[test]
fn lengths_and_counts_that_lie_are_refused_before_anything_is_allocated_for_them() {
    let mut header = snapshot(100, 0).header;
    for keys in [1, u64::MAX / 32, u64::MAX / 32 + 1, u64::MAX] {
        header.keys = keys;
        let mut lying = Vec::new();
        // The sums are right: only the count is not.
        let _too_few = write_front(&mut lying, &header)
            .unwrap()
            .finish(std::iter::empty())
            .unwrap_err();
        lying.extend([0; 16]);
        let refused = decode(&lying, &identity()).unwrap_err();
        assert!(
            matches!(refused, Refused::Damaged("its length is not what its header says")),
            "{refused}"
        );
    }
    let mut long = encoded(&snapshot(100, 5));
    long[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    let refused = decode(&long, &identity()).unwrap_err();
    assert!(
        matches!(refused, Refused::Damaged("its header is longer than it")),
        "{refused}"
    );
}

#[test]
fn a_row_at_or_past_the_position_is_refused_though_the_sums_are_right() {
    for seq in [-1, 100, i64::MAX] {
        let mut wrong = snapshot(100, 5);
        wrong.entries[3].seq = seq;
        let refused = decode(&encoded(&wrong), &identity()).unwrap_err();
        assert!(
            matches!(refused, Refused::Damaged("a key's row is not below its position")),
            "{refused}"
        );
    }
}

#[test]
fn another_format_and_another_identity_are_named() {
    let bytes = encoded(&snapshot(100, 5));
    let mut newer = bytes.clone();
    newer[8..12].copy_from_slice(&(FORMAT + 1).to_le_bytes());
    assert_eq!(
        decode(&newer, &identity()).unwrap_err().to_string(),
        "it is of format 3; this medallion reads format 2"
    );
    let other = |change: fn(&mut Identity)| {
        let mut wanted = identity();
        change(&mut wanted);
        decode(&bytes, &wanted).unwrap_err().to_string()
    };
    let told = [
        (
            other(|it| it.lake = "s3://b/".to_owned()),
            "another lake: file:///lake/, not s3://b/",
        ),
        (
            other(|it| it.pipeline = "clicks".to_owned()),
            "another pipeline: views, not clicks",
        ),
        (
            other(|it| it.generation = "g2".to_owned()),
            "another replay of silver: g1, not g2",
        ),
        (
            other(|it| it.definition = "d2".to_owned()),
            "another definition: d1, not d2",
        ),
        (
            other(|it| it.adopted_from = Some(7)),
            "adoption of the definition: the start, not seq 7",
        ),
    ];
    for (told, wanted) in told {
        assert!(told.ends_with(wanted), "{told}");
    }
}

#[test]
fn any_bytes_are_refused_and_none_is_a_panic() {
    use proptest::prelude::*;
    let config = ProptestConfig::with_cases(2000);
    let good = encoded(&snapshot(100, 5));
    let spliced = (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..64));
    proptest!(config, |(noise in prop::collection::vec(any::<u8>(), 0..600), (at, splice) in spliced)| {
        prop_assert!(decode(&noise, &identity()).is_err());
        let mut spoilt = good.clone();
        let at = at.index(spoilt.len());
        let end = spoilt.len().min(at + splice.len());
        spoilt.splice(at..end, splice);
        prop_assert!(spoilt == good || decode(&spoilt, &identity()).is_err());
    });
}

#[test]
fn two_generations_are_kept_and_what_is_of_no_use_goes() {
    let (_root, folder) = folder();
    for (position, previous) in [(10, 0), (20, 10), (30, 20)] {
        save(&folder, &snapshot(position, 3), previous);
    }
    assert_eq!(positions(&folder), [30, 20]);

    // Of another replay, of a history that was left, torn, and half written by a process that died.
    let mut foreign = snapshot(25, 3);
    foreign.header.identity.generation = "g0".to_owned();
    let name = |position: i64| folder.path().join(format!("silver-{position:020}.snapshot"));
    fs::write(name(25), encoded(&foreign)).unwrap();
    fs::write(name(99), encoded(&snapshot(99, 3))).unwrap();
    fs::write(name(27), b"mdln").unwrap();
    fs::write(folder.path().join(".silver-00000000000000000040.1.unfinished"), b"md").unwrap();
    fs::create_dir(name(5)).unwrap();
    save(&folder, &snapshot(40, 3), 30);
    assert_eq!(positions(&folder), [40, 30, 5], "a directory is not ours to delete");
    let names = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().all(|name| !name.to_string_lossy().starts_with('.')));
}

#[test]
fn a_snapshot_under_another_name_is_refused() {
    let (_root, folder) = folder();
    save(&folder, &snapshot(10, 3), 0);
    let found = folder.snapshots().remove(0);
    let renamed = folder.path().join("silver-00000000000000000011.snapshot");
    fs::rename(&found.path, &renamed).unwrap();
    let found = folder.snapshots().remove(0);
    let refused = folder.load(&found, &identity(), |_| {}).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "it is damaged: its position is not the one in its name"
    );
}

#[test]
fn a_failure_to_write_leaves_the_snapshots_that_are_there() {
    let (_root, folder) = folder();
    save(&folder, &snapshot(10, 3), 0);
    fs::create_dir(folder.path().join("silver-00000000000000000020.snapshot")).unwrap();
    let failed = folder
        .save(&snapshot(20, 3).header, entries(3).into_iter(), 10)
        .unwrap_err();
    assert!(failed.to_string().contains("snapshot of silver's state"), "{failed}");
    // A count that does not hold is noticed before the file gets its name.
    folder
        .save(&snapshot(30, 3).header, entries(2).into_iter(), 10)
        .unwrap_err();
    assert_eq!(positions(&folder), [20, 10]);
    let sound = folder.snapshots().remove(1);
    assert_eq!(
        folder.load(&sound, &identity(), |_| {}).unwrap(),
        snapshot(10, 3).header
    );
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        2,
        "nothing half written stays"
    );
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_look() {
    use std::os::unix::fs::PermissionsExt;
    let (root, folder) = folder();
    save(&folder, &snapshot(10, 3), 0);
    folder.write_positions("views", "silver", &[], 0).unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&root.path().join("checkpoints")), 0o700);
    assert_eq!(mode(folder.path()), 0o700);
    assert_eq!(mode(&folder.snapshots().remove(0).path), 0o600);
    assert_eq!(mode(&folder.path().join("positions-silver.json")), 0o600);
}

#[cfg(unix)]
#[test]
fn what_is_no_plain_file_is_refused_without_being_opened() {
    let (_root, folder) = folder();
    fs::create_dir_all(folder.path()).unwrap();
    let path = folder.path().join("silver-00000000000000000010.snapshot");
    std::os::unix::fs::symlink("/nowhere/at/all", &path).unwrap();
    let found = folder.snapshots().remove(0);
    assert!(matches!(
        folder.load(&found, &identity(), |_| {}),
        Err(Refused::NoSnapshot)
    ));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(
        folder.load(&found, &identity(), |_| {}),
        Err(Refused::NoSnapshot)
    ));
    fs::remove_dir(&path).unwrap();
    assert!(matches!(
        folder.load(&found, &identity(), |_| {}),
        Err(Refused::Unreadable(_))
    ));
}

#[test]
fn writing_is_due_by_rows_by_keys_and_by_time() {
    let checkpoints = Checkpoints::off().every(1000);
    let (soon, late) = (Duration::ZERO, Duration::from_secs(601));
    let due = |rows, keys, elapsed| checkpoints.due(rows, keys, elapsed);
    assert!(!due(999, 0, soon) && due(1000, 2000, soon));
    assert!(!due(1000, 2002, soon) && due(1001, 2002, soon), "half of the keys");
    assert!(!due(99, 0, late) && due(100, 1000, late) && !due(100, 1010, late));
    assert!(!checkpoints.worth(99) && checkpoints.worth(100));
    assert!(!Checkpoints::off().every(1).due(0, 0, late) && !Checkpoints::off().every(1).worth(0));
    assert!(checkpoints.of("views").is_none());
}
