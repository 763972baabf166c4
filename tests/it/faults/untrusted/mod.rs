//! What others send, declare and ask: no input of theirs stops, fills, leaves or gives away anything.
//!
//! [`payload`], [`declared`], [`snapshot`] and [`log`] are the bodies of the fuzz targets in `fuzz/fuzz_targets`. Here they run on the
//! targets' seeds and on seeded mutations of them, within `cargo test`; `scripts/fuzz.sh` lets coverage guide them.

mod bounds;
mod declared;
mod exposure;
mod log;
mod mutate;
mod paths;
mod payload;
mod query;
mod secrets;
mod snapshot;

use crate::support::heap::most_held;
use crate::support::tier;
use mutate::{Mutator, seeds};

/// Runs every seed of the target and so many mutations of them.
fn survive(target: &str, mutations: usize, check: impl Fn(&[u8])) {
    let seeds = seeds(target);
    let mut mutator = Mutator::new(&seeds);
    for (name, bytes) in &seeds {
        let _told = mutate::Told::new(name, bytes);
        check(bytes);
    }
    for _ in 0..mutations {
        let (name, bytes) = mutator.next();
        let _told = mutate::Told::new(&name, &bytes);
        check(&bytes);
    }
    println!("untrusted {target}: {} seeds, {mutations} mutations", seeds.len());
}

#[test]
fn any_payload_has_one_fate_within_a_multiple_of_its_length() {
    survive("decode", tier::pick(2_000, 20_000, 400_000), |payload| {
        payload::check(payload, |work| most_held(work).1);
    });
}

#[test]
fn any_declaration_is_accepted_or_refused_in_words() {
    survive("definition", tier::pick(250, 3_000, 60_000), declared::check);
}

#[test]
fn any_snapshot_is_refused_or_is_what_was_written_within_a_multiple_of_its_length() {
    survive("checkpoint", tier::pick(2_000, 20_000, 400_000), |case| {
        snapshot::check(case, |work| most_held(work).1);
    });
}

#[test]
fn any_entry_of_a_log_is_read_or_refused() {
    survive("log", tier::pick(200, 3_000, 60_000), log::check);
}
