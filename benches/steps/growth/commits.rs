//! Commits and opening, at version 10 and at 10,000, with 10 files and with 100,000, ours and stock deltalake's.

use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use deltalake::DeltaTable;
use deltalake::writer::{DeltaWriter, RecordBatchWriter};
use medallion::run::tables;
use medallion::table::Table;

use super::history::{Aged, url};
use super::report;
use crate::ratio::Ratio;

const ROUNDS: usize = 101;
/// Stock commits take longer, and their ratio needs no third digit.
const STOCK_ROUNDS: usize = 31;
const OPENINGS: usize = 7;

/// Measures and reports. All commits survive the process, not a power cut: the stock ones know no more.
pub fn run() {
    let [mut young, mut old, mut wide] = [Aged::new(10, 1), Aged::new(10_000, 1), Aged::new(2, 99_999)];
    let mut times = [const { Vec::new() }; 3];
    for round in 0..ROUNDS {
        // In turns, so that a noisy moment hits all of them.
        for place in 0..3 {
            let which = (round + place) % 3;
            let table = [&mut young, &mut old, &mut wide][which].commit();
            times[which].push(table);
        }
    }
    let [first, aged, many] = &times;
    let by_version = Ratio::of(aged, first);
    report("commit p50 at version 10,000 over 10", "1.2 (1.05)", &by_version);
    report(
        "commit p50 at 100,000 files over 10",
        "1.2 (1.05)",
        Ratio::of(many, first),
    );
    println!(
        "  p50 at version 10: {:?}, at version 10,000: {:?}",
        by_version.medians[1], by_version.medians[0]
    );

    let beside = Aged::new(10_000, 1);
    let mut stock = Stock::of(&beside);
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..STOCK_ROUNDS {
        theirs.push(stock.commit());
        ours.push(old.commit());
    }
    let against = Ratio::of(&theirs, &ours);
    report(
        "stock deltalake commit over ours, version 10,000",
        "at least 5 (20)",
        &against,
    );
    println!("  p50 stock: {:?}, ours: {:?}", against.medians[0], against.medians[1]);

    let open = |aged: &Aged| (0..OPENINGS).map(|_| aged.open()).collect::<Vec<_>>();
    let [first, aged, many] = [open(&young), open(&old), open(&wide)];
    for (what, times) in [("version 10,000", &aged), ("100,000 files", &many)] {
        let ratio = Ratio::of(times, &first);
        report(&format!("opening at {what} over version 10"), "", &ratio);
        println!("  p50: {:?} over {:?}", ratio.medians[0], ratio.medians[1]);
    }
}

impl Aged {
    /// The time of one append of one row.
    fn commit(&mut self) -> Duration {
        let began = Instant::now();
        self.place.append(&mut self.table, Some(&self.row));
        began.elapsed()
    }

    /// The time until the table is open, as at a restart.
    fn open(&self) -> Duration {
        let began = Instant::now();
        let table = Table::open(&self.place.lake, tables::bronze("view_log"));
        let table = self.place.runtime.block_on(table).unwrap().unwrap();
        assert_eq!(table.version(), self.table.version());
        began.elapsed()
    }
}

/// The same kind of table as deltalake's own writer appends to it, with its defaults.
struct Stock<'a> {
    runtime: &'a tokio::runtime::Runtime,
    table: DeltaTable,
    writer: RecordBatchWriter,
    row: RecordBatch,
}

impl<'a> Stock<'a> {
    fn of(aged: &'a Aged) -> Self {
        let table = aged
            .place
            .runtime
            .block_on(deltalake::open_table(url(&aged.place)))
            .unwrap();
        Self {
            runtime: &aged.place.runtime,
            writer: RecordBatchWriter::for_table(&table).unwrap(),
            table,
            row: aged.row.clone(),
        }
    }

    fn commit(&mut self) -> Duration {
        let began = Instant::now();
        let before = self.table.version().unwrap();
        let commit = async {
            self.writer.write(self.row.clone()).await.unwrap();
            self.writer.flush_and_commit(&mut self.table).await.unwrap()
        };
        assert_eq!(self.runtime.block_on(commit), before + 1);
        began.elapsed()
    }
}
