//! One payload of any bytes among good ones, through the whole of silver: what fuzzing and the tests call.

use std::cell::RefCell;

use arrow::array::RecordBatch;
use medallion::layer::silver::{Plan, Reference, State, Step};

use crate::model::generate::{BASE, payload};
use crate::model::silver::silver;
use crate::model::view_log::{self, Settings};
use crate::model::{BronzeRow, Record, SECOND, tables};

/// Bytes of heap that a step may hold for each byte of payload, and on top of them.
///
/// The worst payloads are undeclared members with the shortest names: each name is remembered to find its repetition.
pub const HEAP_PER_BYTE: usize = 24;
pub const HEAP_BASE: usize = 1 << 20;
/// Bytes of words about one rejected record, whatever is in it.
const DETAIL: usize = 16 * 1024;

/// The payload in the middle of good rows.
pub struct Case {
    settings: Settings,
    rows: Vec<BronzeRow>,
    bronze: RecordBatch,
}

impl Case {
    /// Around it are views of their own and one that it may repeat; `closed` refuses undeclared members.
    pub fn new(value: &[u8], closed: bool) -> Self {
        let good = |id: u32, second: i64| payload(id, BASE, BASE + second * SECOND, 1, 1).into_bytes();
        let values = [good(1, 1), good(90, 2), value.to_vec(), good(91, 3), good(1, 1)];
        let rows: Vec<BronzeRow> = (0..).zip(values).map(|(offset, value)| row(offset, value)).collect();
        Self {
            settings: Settings {
                closed,
                ..Settings::default()
            },
            bronze: tables::bronze(&rows),
            rows,
        }
    }

    /// What silver makes of it. To be measured: nothing else is done here.
    pub fn process(&self) -> Step {
        PLANS.with_borrow_mut(|plans| {
            let (plan, references) = &mut plans[usize::from(self.settings.closed)];
            let mut state = State::default();
            plan.process(&self.bronze, references, &mut state).unwrap()
        })
    }

    /// Asserts that every row has the one fate that the model gives it, and that the words about it have an end.
    pub fn judge(&self, step: &Step) {
        let wanted = silver(&self.rows, &self.settings);
        assert_eq!(tables::silver_rows(&step.silver), wanted.silver);
        assert_eq!(tables::reject_rows(&step.rejects), wanted.rejects);
        assert_eq!(wanted.silver.len() + wanted.rejects.len(), self.rows.len());
        let details = step.rejects.column_by_name("detail").unwrap();
        let details = arrow::array::AsArray::as_string::<i32>(details);
        assert!(details.iter().flatten().all(|detail| detail.len() <= DETAIL));
    }
}

fn row(offset: i64, value: Vec<u8>) -> BronzeRow {
    BronzeRow::Record(Record {
        topic: "view_log".to_owned(),
        partition: 0,
        offset,
        timestamp: Some(BASE),
        value: Some(value),
        ingested_at: BASE,
    })
}

thread_local! {
    /// Compiled once: for contracts that are open and closed.
    static PLANS: RefCell<[(Plan, Vec<Reference>); 2]> = RefCell::new([false, true].map(|closed| {
        let definition = view_log::silver(&Settings { closed, ..Settings::default() });
        (Plan::compile(&definition).unwrap(), view_log::references(&definition))
    }));
}

/// Does all of it with one payload: fates, and heap by `held`, which runs the work and tells what it held.
pub fn check(value: &[u8], held: impl Fn(&mut dyn FnMut()) -> usize) {
    for closed in [false, true] {
        let case = Case::new(value, closed);
        let mut step = None;
        let bytes = held(&mut || step = Some(case.process()));
        let most = HEAP_BASE + HEAP_PER_BYTE * value.len();
        assert!(bytes <= most, "{} bytes of payload held {bytes} bytes", value.len());
        case.judge(&step.unwrap());
    }
}
