//! What bronze notes about time and partitions, over a scripted source and a clock that stands still.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::AsArray;
use medallion::clock::Clock;
use medallion::definition::CommitPolicy;
use medallion::error::{Error, Kind, Result};
use medallion::layer::bronze::{Reason, Tick, schema};
use medallion::run::bronze::{BronzeLayer, Silence, open_table, positions};
use medallion::run::names;
use medallion::source::{PartitionId, Positions, Record, Source, TimestampType};
use medallion::table::{Lake, Reader};

const SECOND: i64 = 1_000_000;
const BEGIN: i64 = 1_704_110_400 * SECOND;

/// What the source will say, changed by the test between steps.
#[derive(Default)]
struct Script {
    at: BTreeMap<i32, i64>,
    ends: BTreeMap<i32, i64>,
    /// Partitions of the records of each poll to come.
    polls: VecDeque<Vec<i32>>,
    /// Bytes of every record.
    size: usize,
    appears: Option<i32>,
    /// Where the partitions end by what the source has heard; none: it never hears.
    told: Option<BTreeMap<i32, i64>>,
    ends_asked: usize,
    broken: bool,
}

struct Scripted(Arc<Mutex<Script>>);

fn ids(offsets: &BTreeMap<i32, i64>) -> Positions {
    offsets
        .iter()
        .map(|(&p, &offset)| (PartitionId::new("t", p), offset))
        .collect()
}

impl Source for Scripted {
    fn poll(&mut self, _wait: Duration, _max: usize, take: &mut dyn FnMut(Record<'_>)) -> Result<usize> {
        let mut script = self.0.lock().unwrap();
        let records = script.polls.pop_front().unwrap_or_default();
        let value = vec![b'x'; script.size];
        for &partition in &records {
            let offset = script.at[&partition];
            take(Record {
                topic: "t",
                partition,
                offset,
                // An old event, as a backfill has: it says nothing about when it came.
                timestamp: Some(1_000_000),
                timestamp_type: TimestampType::Create,
                key: None,
                value: Some(&value),
                headers: &[],
            });
            script.at.insert(partition, offset + 1);
            let end = script.ends[&partition];
            script.ends.insert(partition, end.max(offset + 1));
        }
        Ok(records.len())
    }

    fn positions(&self) -> Positions {
        ids(&self.0.lock().unwrap().at)
    }

    fn ends(&mut self) -> Result<Positions> {
        let mut script = self.0.lock().unwrap();
        script.ends_asked += 1;
        if script.broken {
            return Err(Error::new(Kind::Unavailable, "no broker"));
        }
        Ok(ids(&script.ends))
    }

    fn told_ends(&self) -> Option<Positions> {
        self.0.lock().unwrap().told.as_ref().map(ids)
    }

    fn discover(&mut self) -> Result<Vec<PartitionId>> {
        let mut script = self.0.lock().unwrap();
        let Some(new) = script.appears.take() else {
            return Ok(Vec::new());
        };
        script.at.insert(new, 0);
        script.ends.insert(new, 0);
        Ok(vec![PartitionId::new("t", new)])
    }

    fn report_committed(&mut self, _positions: &Positions) {}
}

/// A bronze layer over partitions 0 and 1, with what moves it.
struct Stage {
    layer: BronzeLayer,
    script: Arc<Mutex<Script>>,
    clock: Clock,
    now: i64,
    lake: Lake,
    runtime: tokio::runtime::Runtime,
    _dir: tempfile::TempDir,
}

/// Idle after 10 s, stalled after 40 s, quiet after a minute; a commit at 5 rows, 1,000 bytes or after an hour.
fn stage() -> Stage {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::fixed(BEGIN);
    let lake = runtime
        .block_on(Lake::open(dir.path().to_str().unwrap(), clock.clone()))
        .unwrap();
    let table = runtime.block_on(open_table(&lake, "p")).unwrap();
    let both = BTreeMap::from([(0, 0), (1, 0)]);
    let script = Arc::new(Mutex::new(Script {
        at: both.clone(),
        ends: both,
        ..Script::default()
    }));
    let policy = CommitPolicy {
        max_rows: 5,
        max_bytes: 1_000,
        max_delay: Duration::from_secs(3600),
    };
    let silence = Silence {
        idle_after: Duration::from_secs(10),
        quiet_after: Some(Duration::from_secs(60)),
    };
    let source = Box::new(Scripted(script.clone()));
    let handle = runtime.handle().clone();
    let layer = BronzeLayer::new("p", table, source, policy, silence, clock.clone(), handle);
    let layer = layer.watching(Duration::from_secs(40));
    Stage {
        layer,
        script,
        clock,
        now: BEGIN,
        lake,
        runtime,
        _dir: dir,
    }
}

impl Stage {
    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    /// Lets `seconds` pass, one step each, in each of which `records` come.
    fn pass(&mut self, seconds: i64, records: &[i32]) {
        for _ in 0..seconds {
            self.now += SECOND;
            self.clock.set(self.now);
            self.script().polls.push_back(records.to_vec());
            self.layer.step().unwrap();
        }
    }

    /// All ticks so far.
    fn ticks(&mut self) -> Vec<Tick> {
        self.layer.commit().unwrap();
        let path = names::bronze_path("p");
        let reader = Reader::open(&self.lake, &path, schema(), "seq");
        let reader = self.runtime.block_on(reader).unwrap().unwrap();
        let columns = ["kind", "value"].map(str::to_owned);
        let rows = self
            .runtime
            .block_on(reader.read(0, self.layer.position(), &columns))
            .unwrap();
        let column = |name: &str| rows.column_by_name(name).unwrap();
        let (kinds, values) = (column("kind").as_string::<i32>(), column("value").as_binary::<i32>());
        (0..rows.num_rows())
            .filter(|row| kinds.value(*row) == "tick")
            .map(|row| serde_json::from_slice(values.value(row)).unwrap())
            .collect()
    }

    /// All ticks so far: reason, active and idle partitions, seconds of quiet.
    fn told(&mut self) -> Vec<(Reason, String, String, u64)> {
        let ticks = self.ticks().into_iter();
        ticks
            .map(|tick| {
                (
                    tick.reason,
                    tick.active.join(" "),
                    tick.idle.join(" "),
                    tick.quiet_ms / 1000,
                )
            })
            .collect()
    }
}

fn tick(reason: Reason, active: &str, idle: &str, quiet: u64) -> (Reason, String, String, u64) {
    (reason, active.to_owned(), idle.to_owned(), quiet)
}

#[test]
fn a_partition_is_told_idle_once_while_another_is_busy_all_the_time() {
    let mut stage = stage();
    stage.pass(9, &[0]);
    assert_eq!(stage.told(), [tick(Reason::Start, "t/0 t/1", "", 0)]);
    stage.pass(30, &[0]);
    let idle = tick(Reason::Idle, "t/0", "t/1", 0);
    assert_eq!(stage.told()[1..], *std::slice::from_ref(&idle));
    // Its next record makes it active without a tick; silent again it is told again.
    stage.pass(1, &[1, 0]);
    stage.pass(9, &[0]);
    assert_eq!(stage.told().len(), 2);
    stage.pass(5, &[0]);
    assert_eq!(stage.told()[2..], [idle]);
}

#[test]
fn busy_traffic_has_one_tick_and_asks_the_broker_nothing() {
    let mut stage = stage();
    stage.pass(100, &[0, 1]);
    assert_eq!(stage.told().len(), 1);
    assert_eq!(stage.script().ends_asked, 0);
}

#[test]
fn a_partition_behind_its_end_is_not_idle_and_its_topic_not_quiet() {
    let mut stage = stage();
    stage.script().ends.insert(1, 7);
    stage.pass(200, &[]);
    assert_eq!(
        stage.told(),
        [
            tick(Reason::Start, "t/0 t/1", "", 0),
            tick(Reason::Idle, "t/1", "t/0", 0)
        ]
    );
}

#[test]
fn a_partition_that_has_more_and_gives_none_of_it_makes_the_source_one_to_be_opened_anew() {
    let mut stage = stage();
    stage.script().ends.insert(1, 7);
    stage.pass(40, &[0]);
    assert_eq!(stage.layer.anew(), None, "it may still come");
    stage.pass(30, &[0]);
    let why = format!("{:?}", stage.layer.anew().expect("a stall"));
    assert!(why.contains("partition: 1 }, position: 0, end: 7"), "{why}");
    assert!(!why.contains("partition: 0"), "{why}");
    // It gives something after all.
    stage.pass(20, &[0, 1]);
    assert_eq!(stage.layer.anew(), None);
}

#[test]
fn quiet_is_told_each_time_it_has_doubled_and_begins_anew_with_a_record() {
    let mut stage = stage();
    stage.pass(250, &[]);
    let quiet = |seconds| tick(Reason::Quiet, "", "t/0 t/1", seconds);
    assert_eq!(stage.told()[2..], [quiet(60), quiet(120), quiet(240)]);
    stage.pass(1, &[0]);
    stage.pass(70, &[]);
    let told = stage.told();
    assert_eq!(told[5..], [tick(Reason::Idle, "", "t/0 t/1", 0), quiet(60)]);
}

#[test]
fn a_new_partition_is_told_and_has_a_position_before_its_first_record() {
    let mut stage = stage();
    stage.script().appears = Some(2);
    stage.pass(6, &[0, 1]);
    assert_eq!(stage.told()[1..], [tick(Reason::Start, "t/0 t/1 t/2", "", 0)]);
    let table = stage.runtime.block_on(open_table(&stage.lake, "p")).unwrap();
    assert_eq!(positions(&table, "p"), ids(&BTreeMap::from([(0, 6), (1, 6), (2, 0)])));
}

#[test]
fn the_end_closes_windows_only_where_asked_and_old_records_make_partitions_idle() {
    for close in [false, true] {
        let mut stage = stage();
        stage.pass(2, &[0, 1]);
        stage.layer.end(close).unwrap();
        let mut expected = vec![tick(Reason::Idle, "", "t/0 t/1", 0)];
        expected.extend(close.then(|| tick(Reason::End, "", "t/0 t/1", 0)));
        assert_eq!(stage.told()[1..], expected);
    }
}

#[test]
fn what_was_taken_in_before_a_failure_is_committed_and_the_failure_told_next() {
    let mut stage = stage();
    stage.pass(1, &[0, 1]);
    stage.script().broken = true;
    stage.now += 20 * SECOND;
    stage.clock.set(stage.now);
    let done = stage.layer.step().unwrap().expect("two records and a tick");
    assert_eq!((done.rows, done.position), (3, 3));
    assert_eq!(stage.layer.step().err().unwrap().kind(), Kind::Unavailable);
    let table = stage.runtime.block_on(open_table(&stage.lake, "p")).unwrap();
    assert_eq!(positions(&table, "p"), ids(&BTreeMap::from([(0, 1), (1, 1)])));
}

#[test]
fn rows_bytes_or_time_make_a_commit_due() {
    let mut stage = stage();
    stage.script().polls = [vec![0, 0], vec![0, 1]].into();
    assert!(stage.layer.step().unwrap().is_none(), "a tick and two records");
    assert_eq!(stage.layer.step().unwrap().map(|done| done.rows), Some(5));
    stage.script().polls.push_back(vec![0]);
    assert!(stage.layer.step().unwrap().is_none());
    stage.clock.set(BEGIN + 3600 * SECOND);
    assert_eq!(
        stage.layer.step().unwrap().map(|done| done.position),
        Some(8),
        "a record and two ticks of silence"
    );
    stage.script().polls.push_back(vec![0]);
    stage.script().size = 1_000;
    assert_eq!(stage.layer.step().unwrap().map(|done| done.rows), Some(1));
}

#[test]
fn a_wall_clock_that_is_set_ahead_or_back_makes_no_silence_and_delays_no_commit() {
    let hour = 3_600 * SECOND;
    for jump in [hour, -hour, 8_760 * hour, -8_760 * hour] {
        let mut stage = stage();
        stage.pass(2, &[0, 1]);
        stage.clock.jump(jump);
        stage.pass(5, &[]);
        assert_eq!(stage.told().len(), 1, "set by {jump}: a start and no silence");
        stage.script().polls.push_back(vec![0]);
        assert!(stage.layer.step().unwrap().is_none(), "set by {jump}: not due");
        let later = stage.now + hour;
        stage.clock.set(later);
        assert!(stage.layer.step().unwrap().is_some(), "set by {jump}: due");
    }
}

#[test]
fn a_layer_just_opened_is_abreast_of_its_source_once_that_has_heard_of_every_partition() {
    let mut stage = stage();
    for (told, abreast) in [
        (vec![], false),
        (vec![(0, 0)], false),
        (vec![(0, 0), (1, 3)], false),
        (vec![(0, 0), (1, 0)], true),
    ] {
        stage.script().told = Some(told.iter().copied().collect());
        stage.pass(1, &[]);
        stage.layer.commit().unwrap();
        let caught_up = stage.layer.caught_up();
        assert_eq!(caught_up, abreast.then_some(stage.now), "{told:?}");
    }
    // What it has heard since makes it no staler than it is.
    let at = stage.now;
    stage.script().told = Some(BTreeMap::from([(0, 7), (1, 0)]));
    stage.pass(5, &[]);
    assert_eq!(stage.layer.caught_up(), Some(at));
}

#[test]
fn a_layer_over_a_source_that_hears_nothing_is_abreast_when_a_poll_was_not_full() {
    let mut stage = stage();
    assert_eq!(stage.layer.caught_up(), None, "nothing was asked yet");
    stage.pass(1, &[0, 1]);
    assert_eq!(stage.layer.caught_up(), None, "what it gave is not committed");
    stage.layer.commit().unwrap();
    assert_eq!(stage.layer.caught_up(), Some(stage.now));
}
