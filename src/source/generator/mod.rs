//! View events for the demo, the benchmarks and the tests: the only code here that knows `view_log`.
//!
//! Event `index` is a pure function of (config, index): any slice can be made again, in any order, by anyone, and each
//! event says what is to become of it, so that tables can be compared with what was sent. Send events by their key
//! (the view id): then a repetition follows its original in the same partition.

mod dice;
mod flaw;
mod render;

use dice::Dice;
use render::{Notation, View};

pub use flaw::Flaw;

const SECOND: i64 = 1_000_000;
/// Most repetitions come within this many events of the original.
const RECENT: u64 = 10_000;

/// What is generated. Shares are in 0..1; what they leave of 1 is in order.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratorConfig {
    /// Another seed, other events.
    pub seed: u64,
    /// Event time of the first event, UTC microseconds.
    pub start_time_us: i64,
    /// Events per second of event time, at least 1.
    pub events_per_second: u64,
    /// Share of events that repeat an earlier one: 80 % a recent one, 20 % any.
    pub duplicates: f64,
    /// Share of events that end 2 to 30 minutes behind.
    pub late: f64,
    /// Share of events that end up to 8 seconds behind.
    pub out_of_order: f64,
    /// Share of events with a [`Flaw`].
    pub invalid: f64,
    /// The flaws that occur, at least one; each is as frequent as the others.
    pub flaws: Vec<Flaw>,
    /// Campaigns are numbered 10, 20, 30, ... and this many, at least 1; `data/campaigns.csv` knows 14.
    pub campaigns: u32,
}

impl Default for GeneratorConfig {
    /// A lively mix: 5 % duplicates, 1 % late, 10 % out of order, 1 % invalid, 1,000 events/s from 2024-01-01 on.
    fn default() -> Self {
        Self {
            seed: 1,
            start_time_us: 1_704_067_200 * SECOND,
            events_per_second: 1_000,
            duplicates: 0.05,
            late: 0.01,
            out_of_order: 0.10,
            invalid: 0.01,
            flaws: Flaw::ALL.to_vec(),
            campaigns: 14,
        }
    }
}

/// What is to become of an event in silver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedFate {
    /// It is accepted.
    Accepted(Arrival),
    /// It is a duplicate of event `of`, whose payload it repeats.
    Duplicate {
        /// Index of the original, which is accepted.
        of: u64,
    },
    /// It is rejected for this reason.
    Rejected(Flaw),
}

impl ExpectedFate {
    /// The fate in a word: `accepted`, `duplicate`, or the name of the flaw.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted(_) => "accepted",
            Self::Duplicate { .. } => "duplicate",
            Self::Rejected(flaw) => flaw.name(),
        }
    }
}

/// How the event time of an accepted event relates to its neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It follows the event before.
    InOrder,
    /// It is up to 8 seconds behind.
    OutOfOrder,
    /// It is 2 to 30 minutes behind.
    Late,
}

/// One event as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The view id; none for some of the invalid ones.
    pub key: Option<Vec<u8>>,
    /// The payload; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// The record's timestamp, UTC milliseconds: shortly after the event, ascending but for that delay.
    pub timestamp_ms: i64,
    /// What is to become of it.
    pub fate: ExpectedFate,
}

/// Generates events.
#[derive(Debug, Clone)]
pub struct Generator {
    config: GeneratorConfig,
}

/// What an event is before anyone looks for the original of a repetition.
enum Draft {
    Fresh(Arrival),
    Repetition,
    Flawed(Flaw),
}

impl Generator {
    /// A generator of the events of `config`.
    pub fn new(config: GeneratorConfig) -> Self {
        Self { config }
    }

    /// Event `index`, from 0.
    pub fn event(&self, index: u64) -> Event {
        let mut dice = Dice::new(self.config.seed, index);
        let draft = self.draft(&mut dice);
        let now = self.time(index);
        let timestamp_ms = (now + dice.between(SECOND / 200, SECOND / 5)).div_euclid(1000);
        match draft {
            Draft::Fresh(arrival) => self.fresh(arrival, now, timestamp_ms, &mut dice),
            Draft::Repetition => match self.original(index, &mut dice) {
                Some(of) => Event {
                    timestamp_ms,
                    fate: ExpectedFate::Duplicate { of },
                    ..self.event(of)
                },
                None => self.fresh(Arrival::InOrder, now, timestamp_ms, &mut dice),
            },
            Draft::Flawed(flaw) => {
                let view = self.view(Arrival::InOrder, now, &mut dice);
                let keyed = dice.below(2) == 0;
                let campaigns = 10 * u64::from(self.config.campaigns.max(1));
                Event {
                    key: keyed.then(|| view.id.to_vec()),
                    value: flaw.payload(view, timestamp_ms * 1000, campaigns, &mut dice),
                    timestamp_ms,
                    fate: ExpectedFate::Rejected(flaw),
                }
            }
        }
    }

    fn draft(&self, dice: &mut Dice) -> Draft {
        let mut rest = dice.share();
        let mut within = |share: f64| {
            let hit = rest < share;
            rest -= share.max(0.0);
            hit
        };
        if within(self.config.invalid) {
            Draft::Flawed(Flaw::pick(&self.config.flaws, dice))
        } else if within(self.config.duplicates) {
            Draft::Repetition
        } else if within(self.config.late) {
            Draft::Fresh(Arrival::Late)
        } else if within(self.config.out_of_order) {
            Draft::Fresh(Arrival::OutOfOrder)
        } else {
            Draft::Fresh(Arrival::InOrder)
        }
    }

    /// An earlier event that is accepted; none where a few tries find none, as at the very beginning.
    fn original(&self, index: u64, dice: &mut Dice) -> Option<u64> {
        (0..16).find_map(|_| {
            let reach = if dice.below(100) < 80 { index.min(RECENT) } else { index };
            let of = index.checked_sub(1 + dice.below(reach))?;
            let draft = self.draft(&mut Dice::new(self.config.seed, of));
            matches!(draft, Draft::Fresh(_)).then_some(of)
        })
    }

    /// Event time of an event in order.
    fn time(&self, index: u64) -> i64 {
        let rate = i128::from(self.config.events_per_second.max(1));
        let passed = i128::from(index) * i128::from(SECOND) / rate;
        self.config
            .start_time_us
            .saturating_add(i64::try_from(passed).unwrap_or(i64::MAX / 2))
    }

    fn fresh(&self, arrival: Arrival, now: i64, timestamp_ms: i64, dice: &mut Dice) -> Event {
        let view = self.view(arrival, now, dice);
        Event {
            key: Some(view.id.to_vec()),
            value: Some(render::object(&render::members(&view))),
            timestamp_ms,
            fate: ExpectedFate::Accepted(arrival),
        }
    }

    fn view(&self, arrival: Arrival, now: i64, dice: &mut Dice) -> View {
        let behind = match arrival {
            Arrival::InOrder => 0,
            Arrival::OutOfOrder => dice.between(SECOND / 10, 8 * SECOND),
            Arrival::Late => dice.between(120 * SECOND, 1800 * SECOND),
        };
        let end = now - behind;
        // Short views are many: the square of an even share, up to five minutes. (`powi` may differ between machines.)
        let share = dice.share();
        let length = share * share * 300.0 * SECOND as f64;
        let id = render::uuid(dice);
        // A few campaigns have most of the views.
        let campaigns = f64::from(self.config.campaigns.max(1));
        let share = dice.share();
        let campaign = 10 * (1 + (share * share * campaigns) as u64);
        View {
            id,
            start: end - length as i64,
            end,
            banner: 1 + dice.below(100_000),
            campaign,
            notation: Notation::pick(dice),
        }
    }
}

#[cfg(test)]
mod tests;
