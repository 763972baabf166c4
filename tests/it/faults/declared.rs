//! Declarations and reference data that break under a running program.

use std::time::Duration;

use crate::support::command::done;
use crate::support::live::Live;
use crate::support::project::{PIPELINE, Project, memory_lake};
use crate::support::rows::{assert_same, rows};

/// Events of one round.
const ROUND: u64 = 60;

/// A live run, fed round by round.
struct Bed {
    project: Project,
    live: Live,
    rounds: u64,
}

impl Bed {
    fn start() -> Self {
        let project = Project::new(60, 70);
        project.commits_after("200ms");
        project.events("a.ndjson", 0..ROUND);
        let live = Live::start(&project);
        let mut bed = Self {
            project,
            live,
            rounds: 0,
        };
        bed.pass();
        bed
    }

    /// Feeds a round and waits until every layer has it.
    fn pass(&mut self) {
        let before = self.live.sample("medallion_position_seq", &["layer=\"bronze\""]);
        self.rounds += 1;
        self.project
            .events("a.ndjson", self.rounds * ROUND..(self.rounds + 1) * ROUND);
        // A few lines of a round are no events of files, most are.
        self.live
            .wait_until_all_reach(before.unwrap_or_default() + ROUND as f64 / 2.0);
    }

    /// Ends the run and compares its tables with those of a run that nothing disturbed. Returns its log.
    fn end(self, good: &[(&str, String)]) -> String {
        for (file, text) in good {
            assert_eq!(self.project.read(file), *text, "{file} is as it was");
        }
        let said = self.live.end();
        assert_eq!(said.code, Some(0), "{}", said.err);
        let (wanted, _) = memory_lake();
        self.project.run(&wanted).unwrap();
        done(
            self.project.path(),
            &["run", "-p", PIPELINE, "--once", "--close-windows"],
        );
        done(self.project.path(), &["audit", "-p", PIPELINE]);
        assert_same(&rows(&self.project.lake()), &rows(&wanted), "whatever was in the files");
        said.err
    }
}

#[test]
fn a_declaration_that_breaks_while_running_leaves_the_last_good_one_in_force_and_is_told() {
    const BROKEN: &str = "medallion_definition_broken";
    let mut bed = Bed::start();
    let files = ["silver.toml", "gold.toml", "bronze.toml"].map(|file| format!("layers/{PIPELINE}/{file}"));
    let schema = "schemas/view_log.json".to_owned();
    let good: Vec<_> = files
        .iter()
        .chain([&schema])
        .map(|file| (file.as_str(), bed.project.read(file)))
        .collect();
    let half = |text: &str| text[..text.len() / 2].to_owned();
    let breaks: [(&str, Option<Vec<u8>>); 5] = [
        (&files[0], Some(half(&good[0].1).into_bytes())),
        (&files[1], None),
        (&files[2], Some(b"\xff\xfe\x00s\x00o".to_vec())),
        (&schema, Some(half(&good[3].1).into_bytes())),
        (&files[0], Some(Vec::new())),
    ];
    for (file, bytes) in &breaks {
        let path = bed.project.path().join(file);
        match bytes {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        bed.live.wait_for(BROKEN, &[], |value| value == 1.0);
        bed.pass();
        let (_, text) = good.iter().find(|(name, _)| name == file).unwrap();
        bed.project.write(file, text);
        bed.live.wait_for(BROKEN, &[], |value| value == 0.0);
    }
    // Another valid declaration is told, too, and not applied.
    bed.project.append(
        &files[0],
        "\n[[expect]]\nname = \"never\"\ncheck = \"banner_id < 0\"\non_fail = \"reject\"\n",
    );
    bed.live
        .wait_for("medallion_definition_changed", &[], |value| value == 1.0);
    bed.pass();
    bed.project.write(&files[0], &good[0].1);
    bed.live
        .wait_for("medallion_definition_changed", &[], |value| value == 0.0);
    let log = bed.end(&good);
    let told = |words: &str| log.lines().filter(|line| line.contains(words)).count();
    assert!(told("the declaration on disk is broken") >= breaks.len(), "{log}");
    assert!(told("the declaration on disk has changed") >= 1, "{log}");
    println!("declarations: {} ways to break them", breaks.len() + 1);
}

#[test]
fn reference_data_that_breaks_while_running_leaves_the_last_good_version_in_force_and_is_told() {
    const BROKEN: &str = "medallion_reference_broken";
    const FILE: &str = "data/campaigns.csv";
    let mut bed = Bed::start();
    let good = bed.project.read(FILE);
    let path = bed.project.path().join(FILE);
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let breaks: [(&str, Option<Vec<u8>>); 5] = [
        ("deleted", None),
        ("UTF-16", Some(utf16)),
        ("empty", Some(Vec::new())),
        (
            "a key twice",
            Some(format!("{good}{}\n", good.lines().nth(1).unwrap()).into_bytes()),
        ),
        ("no number", Some(good.replacen(",1", ",one", 1).into_bytes())),
    ];
    for (what, bytes) in &breaks {
        match bytes {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let told = bed.live.wait_for(BROKEN, &[], |value| value == 1.0);
        println!("reference data, {what}: told after {told:?}");
        bed.pass();
        bed.project.write(FILE, &good);
        bed.live.wait_for(BROKEN, &[], |value| value == 0.0);
    }
    let log = bed.end(&[(FILE, good)]);
    let told = log
        .lines()
        .filter(|line| line.contains("reference data is broken"))
        .count();
    assert_eq!(told, breaks.len(), "once per breakage: {log}");
}

#[test]
fn reference_data_that_is_rewritten_in_place_is_not_read_half_way() {
    const FILE: &str = "data/campaigns.csv";
    let mut bed = Bed::start();
    let good = bed.project.read(FILE);
    let lines: Vec<&str> = good.lines().collect();
    for round in 1..=4 {
        // Each part is a valid file that lacks campaigns, and lies there for less than it takes to count as settled.
        for part in 0..4 {
            let kept = &lines[..1 + (lines.len() - 1) * part / 4];
            bed.project.write(FILE, &format!("{}\n", kept.join("\n")));
            std::thread::sleep(Duration::from_millis(200));
            if part == round % 4 {
                bed.project
                    .events("a.ndjson", (bed.rounds + 1) * ROUND..(bed.rounds + 2) * ROUND);
                bed.rounds += 1;
            }
        }
        bed.project.write(FILE, &good);
        bed.pass();
    }
    bed.end(&[(FILE, good)]);
}
