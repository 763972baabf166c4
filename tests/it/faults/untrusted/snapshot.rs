//! One snapshot of silver's keys of any bytes: what fuzzing and the tests call.

use medallion::checkpoint::snapshot::{FORMAT, Identity, Snapshot, decode, read_header, write_front};
use twox_hash::XxHash3_128;

/// Bytes of heap that reading may hold for each byte of the file, and on top of them.
pub const HEAP_PER_BYTE: usize = 8;
pub const HEAP_BASE: usize = 256 * 1024;

/// Whose snapshots the seeds are.
pub fn identity() -> Identity {
    Identity {
        lake: "file:///lake/".to_owned(),
        pipeline: "view_log".to_owned(),
        generation: "generation".to_owned(),
        definition: "definition".to_owned(),
        adopted_from: None,
    }
}

/// Reads a file: it is refused in words, or what comes out is what such a file is written from.
///
/// `0` in front of a case: its other bytes are the file. `1`: they are a header of JSON up to a zero byte and keys, and
/// the sums, which no mutation would hit, are made to fit.
pub fn check(case: &[u8], held: impl Fn(&mut dyn FnMut()) -> usize) {
    let Some((kind, bytes)) = case.split_first() else {
        return;
    };
    let file = if kind % 2 == 0 { bytes.to_vec() } else { summed(bytes) };
    let mut read = None;
    let bytes = held(&mut || read = Some(decode(&file, &identity())));
    assert!(
        bytes <= HEAP_BASE + HEAP_PER_BYTE * file.len(),
        "{} bytes held {bytes}",
        file.len()
    );
    let header = read_header(file.as_slice(), file.len() as u64);
    match read.unwrap() {
        Ok(snapshot) => {
            assert_eq!(header.unwrap(), snapshot.header);
            assert_eq!(snapshot.header.keys, snapshot.entries.len() as u64);
            assert!(
                snapshot
                    .entries
                    .iter()
                    .all(|entry| entry.seq < snapshot.header.position)
            );
            let again = decode(&written(&snapshot), &identity()).unwrap();
            assert_eq!(again, snapshot);
        }
        Err(refused) => assert!(refused.to_string().len() < 4096 + 8 * file.len()),
    }
}

/// A file with these bytes as header and keys, all else as it must be.
fn summed(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (header, keys) = bytes.split_at(end);
    let mut file = b"mdlnsnap".to_vec();
    file.extend_from_slice(&FORMAT.to_le_bytes());
    file.extend_from_slice(&u32::try_from(header.len()).unwrap().to_le_bytes());
    file.extend_from_slice(header);
    file.extend_from_slice(&XxHash3_128::oneshot(&file).to_le_bytes());
    file.extend_from_slice(keys.get(1..).unwrap_or_default());
    file.extend_from_slice(&XxHash3_128::oneshot(&file).to_le_bytes());
    file
}

/// The snapshot as medallion writes it.
fn written(snapshot: &Snapshot) -> Vec<u8> {
    let entries = snapshot.entries.iter().copied();
    write_front(Vec::new(), &snapshot.header)
        .unwrap()
        .finish(entries)
        .unwrap()
}
