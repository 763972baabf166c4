//! The real process, killed without warning again and again.

use std::path::Path;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};

use crate::support::command::{done, ended, start};
use crate::support::project::{PIPELINE, Project, memory_lake};
use crate::support::rows::{GOLD, assert_same, rows};

const KILLS: u64 = 12;

#[test]
fn a_process_killed_at_any_moment_is_finished_by_the_next() {
    let project = Project::new(25, 40);
    let mut dice = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let lake = project.lake_path().join(PIPELINE);
    let gold = lake.join("gold").join(GOLD);
    let tables = [lake.join("bronze"), lake.join("silver"), lake.join("rejects"), gold];
    for round in 0..KILLS {
        // Enough for more commits of each table than are waited for, so that every kill comes amid work.
        project.events("a.ndjson", round * 200..(round + 1) * 200);
        let table = &tables[dice.random_range(0..tables.len())];
        let target = commits(table) + dice.random_range(1..=3);
        let mut child = start(project.path(), &["run", "-p", PIPELINE, "--log", "warn"]);
        let begun = Instant::now();
        while commits(table) < target {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "no commits in {}",
                table.display()
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(dice.random_range(0..20_000)));
        child.kill().unwrap();
        let said = ended(child);
        assert_eq!(said.code, None, "it ended by itself: {}", said.err);
    }
    let (wanted, _) = memory_lake();
    project.run(&wanted).unwrap();
    done(project.path(), &["run", "-p", PIPELINE, "--once", "--close-windows"]);
    done(project.path(), &["audit", "-p", PIPELINE]);
    assert_same(&rows(&project.lake()), &rows(&wanted), "after the kills");
}

fn commits(table: &Path) -> usize {
    std::fs::read_dir(table.join("_delta_log")).map_or(0, |entries| entries.count())
}
