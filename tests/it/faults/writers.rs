//! Several writers of one role: one goes on, the others are told who, and the tables are those of a single writer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use medallion::error::Kind;
use medallion::layer::bronze::BronzeBuilder;
use medallion::run::{names, tables};
use medallion::source::{Record, TimestampType};
use medallion::table::{Append, Lake, Table};
use object_store::memory::InMemory;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::processes::{Program, finished_as_by_one};
use crate::support::command::ended;
use crate::support::faulty::Faulty;
use crate::support::plain::Plain;
use crate::support::project::{PIPELINE, Project, block, lake_over};
use crate::support::s3::{ConditionalPut, Server};
use crate::support::stopped::{PATIENCE, signal, until};
use crate::support::tier::{pick, seed};

/// Commits that each writer tries per round.
const TRIES: usize = 6;

/// A commit that a writer was told to have made: its version, the first seq and the number of its rows.
type Made = (u64, i64, i64);

#[test]
fn however_many_writers_contend_the_log_is_one_chain_and_no_seq_comes_twice() {
    let (writers, rounds) = pick((4, 20), (6, 120), (8, 500));
    let (mut commits, mut fenced) = (0, 0);
    for round in 0..rounds {
        let (made, lost) = contend(seed().wrapping_add(round), writers);
        commits += made;
        fenced += lost;
    }
    println!("contention: {rounds} rounds of {writers} writers, {commits} commits, {fenced} times fenced");
    assert!(fenced > 0, "nobody ever lost: there was no contention");
}

/// One round; returns the number of commits and of lost tries.
fn contend(seed: u64, writers: usize) -> (usize, usize) {
    let store = Arc::new(InMemory::new());
    let results: Vec<(Vec<Made>, usize)> = std::thread::scope(|scope| {
        let one = |writer: usize| {
            let seed = seed.wrapping_mul(31).wrapping_add(writer as u64);
            // Each on a connection of its own, whose calls take their time.
            let lake = lake_over(Faulty::dawdling(store.clone(), seed, None));
            move || write(&lake, seed)
        };
        let running: Vec<_> = (0..writers).map(|writer| scope.spawn(one(writer))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let when = format!("MEDALLION_SEED={seed}");
    let table = block(Plain::read(store.as_ref(), &names::bronze_path(PIPELINE), false));
    let table = table.unwrap_or_else(|why| panic!("{when}: {why}")).unwrap();

    let mut chain: BTreeMap<u64, (usize, i64, i64)> = BTreeMap::new();
    for (writer, (made, _)) in results.iter().enumerate() {
        for (version, from, rows) in made {
            let other = chain.insert(*version, (writer, *from, *rows));
            assert!(other.is_none(), "{when}: version {version} was given to two writers");
        }
    }
    let versions: Vec<u64> = chain.keys().copied().collect();
    assert_eq!(
        versions,
        (1..=table.head).collect::<Vec<_>>(),
        "{when}: commits nobody made or nobody kept"
    );
    let mut next = 0;
    let mut writer_of: BTreeMap<&str, usize> = BTreeMap::new();
    for (version, (writer, from, rows)) in &chain {
        assert_eq!(
            *from, next,
            "{when}: version {version} does not begin where the one before ends"
        );
        next = from + rows;
        let named = writer_of.entry(&table.writers[version]).or_insert(*writer);
        assert_eq!(named, writer, "{when}: version {version} names another writer");
    }
    let seqs: BTreeSet<i64> = table.rows.iter().map(|row| row["seq"].parse().unwrap()).collect();
    assert_eq!(table.rows.len(), seqs.len(), "{when}: a seq comes twice");
    assert!(seqs.into_iter().eq(0..next), "{when}: seqs have holes");
    assert_eq!(table.position(&names::bronze_seq(PIPELINE)), next, "{when}");
    (chain.len(), results.iter().map(|(_, fenced)| fenced).sum())
}

/// Tries some commits of random size, opening the table anew whenever another writer was faster.
fn write(lake: &Lake, seed: u64) -> (Vec<Made>, usize) {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let open = || block(Table::open_or_create(lake, tables::bronze(PIPELINE))).unwrap();
    let (mut made, mut fenced) = (Vec::new(), 0);
    let mut table = open();
    for _ in 0..TRIES {
        let app = names::bronze_seq(PIPELINE);
        let from = table.txn(&app).unwrap_or(0);
        let rows = dice.random_range(1..=3);
        let mut builder = BronzeBuilder::new(from);
        for offset in from..from + rows {
            let record = Record {
                topic: "t",
                partition: 0,
                offset,
                timestamp: None,
                timestamp_type: TimestampType::None,
                key: None,
                value: Some(b"{}"),
                headers: &[],
            };
            builder.record(&record, 0);
        }
        let batch = builder.finish().unwrap();
        let append = table.append(Append {
            rows: batch.as_ref(),
            txns: vec![(app, from + rows)],
            info: json!({"position": from + rows}),
        });
        match block(append) {
            Ok(version) => made.push((version, from, rows)),
            Err(error) => {
                assert_eq!(error.kind(), Kind::Fenced, "MEDALLION_SEED={seed}: {error}");
                assert!(error.to_string().contains("view_log/bronze: pid "), "{error}");
                fenced += 1;
                table = open();
            }
        }
    }
    (made, fenced)
}

#[test]
fn of_two_processes_on_one_s3_lake_one_at_least_stops_and_says_who_holds_the_table() {
    let rounds = pick(1, 4, 16);
    let server = Server::start(ConditionalPut::Kept);
    for round in 0..rounds {
        let project = Project::new(15, 20);
        project.grow("a.ndjson", 60);
        let program = Program::on_s3(&project, &server, &format!("two/{round}"));
        let mut running = [program.start(&["run"]), program.start(&["run"])];
        let pids = running.each_ref().map(std::process::Child::id);
        let mut lines = 60;
        // New records keep both committing until one of them has met the other.
        until("one of the two stops", || {
            lines += 5;
            project.grow("a.ndjson", lines);
            std::thread::sleep(Duration::from_millis(100));
            running.iter_mut().any(|child| child.try_wait().unwrap().is_some())
        });
        let begun = std::time::Instant::now();
        let mut lost = 0;
        for (place, mut child) in running.into_iter().enumerate() {
            // The other may have lost another table at the same time; else it is asked to end, and does so in peace.
            if child.try_wait().unwrap().is_none() {
                signal("-TERM", child.id());
            }
            let said = ended(child);
            assert!(begun.elapsed() < PATIENCE, "it does not end");
            if said.code == Some(0) {
                continue;
            }
            lost += 1;
            let holder = format!("pid {} run", pids[1 - place]);
            assert_eq!(said.code, Some(1), "round {round}: {}", said.err);
            assert!(
                said.err.contains("another writer holds view_log/") && said.err.contains(&holder),
                "round {round}, {holder}: {}",
                said.err
            );
        }
        assert!(lost > 0, "round {round}: nobody lost");
        println!("two processes on S3, round {round}: {lost} lost after {lines} events");
        finished_as_by_one(&program, &project, &format!("round {round}"));
    }
}
