//! Memory under a backlog: bounded in bytes, whatever waits upstream and however slow the disk is.
//!
//! The store is slowed inside a process of its own, a copy of this test binary, and that process' peak is what counts.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use medallion::clock::Clock;
use medallion::definition::memory;
use medallion::run::{Options, run};
use medallion::source::files::FileSource;
use medallion::source::{POLL_BYTES, Positions, Record};
use medallion::table::Lake;
use object_store::local::LocalFileSystem;

use crate::support::alone::alone;
use crate::support::interposed::Interposed;
use crate::support::project::{Project, block};
use crate::support::tier;

/// What a process may take by the default of the setting `memory`, in bytes, less what dedupe keeps: one entry a key.
const BUDGET: u64 = memory::DEFAULT;
/// Puts wait this long, so that every layer has a backlog.
const SLOW_PUT: Duration = Duration::from_millis(100);
const CHILD: &str = "MEDALLION_BACKLOG_PROJECT";

/// Writes events of about `width` bytes until there are `bytes` of them. Returns how many.
fn backlog(file: &Path, bytes: u64, width: usize) -> u64 {
    let mut out = BufWriter::new(fs::File::create(file).unwrap());
    let filling = "x".repeat(width);
    let (mut written, mut events) = (0, 0_u64);
    while written < bytes {
        let second = events / 1_000;
        let (hour, minute, second) = (second / 3600 % 24, second / 60 % 60, second % 60);
        let at = format!("2024-01-01T{hour:02}:{minute:02}:{second:02}.{:03}Z", events % 1_000);
        // The key is as wide as the row, and of every third row it is a campaign that nobody knows.
        let campaign = if events % 3 == 2 { 999_999 } else { 10 };
        let line = format!(
            "{{\"view_id\":\"{events}-{filling}\",\"start_timestamp\":\"{at}\",\"end_timestamp\":\"{at}\",\
             \"banner_id\":1,\"campaign_id\":{campaign}}}\n"
        );
        out.write_all(line.as_bytes()).unwrap();
        written += line.len() as u64;
        events += 1;
    }
    out.flush().unwrap();
    events
}

/// The default policies, and no dedupe: its memory is one entry a key, which is promised to grow.
fn project() -> Project {
    let project = Project::new(500_000, 1_000_000);
    let silver = project.read("layers/view_log/silver.toml");
    let dedupe = silver.find("[dedupe]").unwrap();
    let lookup = silver.find("# Which network").unwrap();
    let silver = format!("{}{}", &silver[..dedupe], &silver[lookup..]);
    project.write("layers/view_log/silver.toml", &silver);
    // One gold file a commit: files by the hundred would wait for the slow store and take no memory.
    let gold = project.read("layers/view_log/gold.toml");
    let gold = gold.replace(
        "partition_by = [\"network_id\", \"minute_timestamp\"]",
        "partition_by = []",
    );
    project.write("layers/view_log/gold.toml", &gold);
    fs::create_dir(project.path().join("input")).unwrap();
    project
}

/// Peak memory of a run over a backlog of events of this width, in a process of its own.
fn peak(bytes: u64, width: usize) -> u64 {
    let project = project();
    let events = backlog(&project.path().join("input/a.ndjson"), bytes, width);
    let child = "faults::host::memory::runs_over_a_backlog_for_its_parent";
    let said = alone(child, &[(CHILD, project.path().as_os_str())]);
    let number = |what: &str| -> u64 {
        let found = said.lines().find_map(|line| line.strip_prefix(what));
        found
            .unwrap_or_else(|| panic!("no {what}: {said}"))
            .trim()
            .parse()
            .unwrap()
    };
    assert_eq!(number("records="), events, "nothing lost under the backlog");
    assert!(
        number("steps=") > bytes >> 27,
        "a backlog in few steps proves nothing: {said}"
    );
    number("peak=")
}

/// What [`peak`] starts: one run of the project named by its parent over a throttled store.
#[test]
#[ignore = "started by the backlog tests in a process of its own"]
fn runs_over_a_backlog_for_its_parent() {
    let path = std::env::var(CHILD).expect("only the backlog tests start this");
    let project = Project::at(Path::new(&path));
    let lake = project.lake_path();
    fs::create_dir_all(&lake).unwrap();
    let url = url::Url::from_directory_path(lake).unwrap();
    let store = Interposed::slow(Arc::new(LocalFileSystem::new()), SLOW_PUT);
    let share = memory::Share::of(BUDGET, 1);
    let lake = Lake::with_store(url, store, Clock::system()).handing_on(share.handed_on());
    let mut pipeline = project.pipeline();
    share.fit(&mut pipeline);
    let options = Options {
        layer: None,
        once: true,
        close_windows: true,
        adopt: false,
    };
    let summaries = run(&project.components(&lake), &[pipeline], &options).unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").trim().parse().unwrap();
    let fates = summaries[0].layers[1].fates.as_ref().unwrap();
    let silver = medallion::run::tables::all(&project.pipeline()).unwrap().remove(1);
    let table = block(medallion::table::Table::open(&lake, silver)).unwrap().unwrap();
    println!("\nrecords={}", fates.records());
    println!("steps={}", table.version());
    println!("peak={}", kib << 10);
}

fn assert_bounded(what: &str, bytes: u64, width: usize) {
    let peak = peak(bytes, width);
    assert!(
        peak <= BUDGET,
        "{what}: {} MiB at the peak, {} MiB allowed, backlog of {} MiB",
        peak >> 20,
        BUDGET >> 20,
        bytes >> 20
    );
    println!(
        "backlog of {} MiB of {what}: {} MiB at the peak",
        bytes >> 20,
        peak >> 20
    );
}

#[test]
fn a_backlog_of_wide_events_over_a_slow_store_stays_within_the_budget() {
    let bytes = tier::pick(300 << 20, 1 << 30, 10 << 30);
    let bytes = std::env::var("MEDALLION_BACKLOG_BYTES").map_or(bytes, |text| text.parse().expect("a number of bytes"));
    assert_bounded("events of 100 KiB", bytes, 100 << 10);
}

#[test]
fn a_backlog_of_narrow_events_over_a_slow_store_stays_within_the_budget() {
    let bytes = tier::pick(20 << 20, 300 << 20, 10 << 30);
    assert_bounded("events of 200 bytes", bytes, 60);
}

#[test]
fn a_poll_of_files_hands_out_no_more_than_its_bytes_however_many_records_are_asked_for() {
    let project = project();
    let events = backlog(&project.path().join("input/a.ndjson"), 40 << 20, 1 << 20);
    let files = medallion::definition::FileSource {
        paths: vec!["input/*".to_owned()],
    };
    let mut source = FileSource::open("p", project.path(), &files, &Positions::new()).unwrap();
    let (mut polls, mut records) = (0, 0);
    while records < events {
        let mut bytes = 0;
        let mut take = |record: Record<'_>| bytes += record.value.unwrap().len();
        records += source.poll(Duration::ZERO, 20_000, &mut take).unwrap() as u64;
        // The last record may go over.
        assert!(bytes <= POLL_BYTES + (2 << 20), "{bytes} bytes in one poll");
        polls += 1;
    }
    assert!(polls >= 5, "{polls}");
}
