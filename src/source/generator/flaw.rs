//! The ways in which a generated event is wrong, one flaw each.

use super::dice::Dice;
use super::render::{View, members, object};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// What is wrong with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flaw {
    /// JSON that breaks off.
    Malformed,
    /// A valid object and something after it.
    TrailingBytes,
    /// A string where a number belongs, or the other way round.
    WrongType,
    /// A required member is not there.
    MissingField,
    /// A whole number beyond 64 bits, or a campaign beyond 32.
    IntegerOverflow,
    /// A member twice.
    DuplicateKey,
    /// A campaign that the reference data does not have.
    UnknownCampaign,
    /// The view ends before it started.
    EndBeforeStart,
    /// The view took longer than a day.
    LongerThanADay,
    /// The end is more than an hour after the record's own timestamp.
    FarAhead,
    /// No bytes at all, and yet a payload.
    EmptyPayload,
    /// No payload.
    Tombstone,
    /// Bytes that are not UTF-8, in an otherwise valid object.
    InvalidUtf8,
}

impl Flaw {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Malformed,
        Self::TrailingBytes,
        Self::WrongType,
        Self::MissingField,
        Self::IntegerOverflow,
        Self::DuplicateKey,
        Self::UnknownCampaign,
        Self::EndBeforeStart,
        Self::LongerThanADay,
        Self::FarAhead,
        Self::EmptyPayload,
        Self::Tombstone,
        Self::InvalidUtf8,
    ];

    /// Its name, as it is typed and printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TrailingBytes => "trailing_bytes",
            Self::WrongType => "wrong_type",
            Self::MissingField => "missing_field",
            Self::IntegerOverflow => "integer_overflow",
            Self::DuplicateKey => "duplicate_key",
            Self::UnknownCampaign => "unknown_campaign",
            Self::EndBeforeStart => "end_before_start",
            Self::LongerThanADay => "longer_than_a_day",
            Self::FarAhead => "far_ahead",
            Self::EmptyPayload => "empty_payload",
            Self::Tombstone => "tombstone",
            Self::InvalidUtf8 => "invalid_utf8",
        }
    }

    /// The flaw of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|flaw| flaw.name() == name)
    }

    /// One of `flaws`.
    pub(super) fn pick(flaws: &[Self], dice: &mut Dice) -> Self {
        let index = dice.below(flaws.len() as u64) as usize;
        flaws.get(index).copied().unwrap_or(Self::Malformed)
    }

    /// The payload of `view` with this flaw. `ahead_of` is the record's timestamp in UTC microseconds, `campaigns` the
    /// largest campaign number in use.
    pub(super) fn payload(self, mut view: View, ahead_of: i64, campaigns: u64, dice: &mut Dice) -> Option<Vec<u8>> {
        let duration = view.end - view.start;
        match self {
            Self::Tombstone => return None,
            Self::EmptyPayload => return Some(Vec::new()),
            Self::UnknownCampaign => view.campaign = campaigns + 1 + dice.below(1000),
            Self::EndBeforeStart => view.start = view.end + dice.between(SECOND, 3600 * SECOND),
            Self::LongerThanADay => view.start = view.end - DAY - dice.between(SECOND, DAY),
            Self::FarAhead => {
                view.end = ahead_of + 3600 * SECOND + dice.between(60 * SECOND, 86_400 * SECOND);
                view.start = view.end - duration;
            }
            _ => {}
        }
        let mut members = members(&view).to_vec();
        match self {
            Self::WrongType => {
                let wrong: (usize, &[u8]) = if dice.below(2) == 0 {
                    (4, b"\"twelve\"")
                } else {
                    (0, b"12")
                };
                set(&mut members, wrong.0, wrong.1);
            }
            Self::IntegerOverflow => {
                let large: (usize, &[u8]) = if dice.below(2) == 0 {
                    (3, b"9223372036854775808")
                } else {
                    (4, b"2147483648")
                };
                set(&mut members, large.0, large.1);
            }
            Self::MissingField => {
                members.remove(if dice.below(2) == 0 { 2 } else { 4 });
            }
            Self::DuplicateKey => members.extend(members.last().cloned()),
            Self::InvalidUtf8 => set(&mut members, 0, b"\"view-\xff\xfe\""),
            _ => {}
        }
        let mut json = object(&members);
        match self {
            // Any beginning of an object that lacks its last brace.
            Self::Malformed => json.truncate(1 + dice.below(json.len() as u64 - 1) as usize),
            Self::TrailingBytes => {
                let tails: [&[u8]; 3] = [b"}", b" {\"more\":1}", b"\nx"];
                let tail = tails.get(dice.below(3) as usize).copied().unwrap_or(b"}");
                json.extend_from_slice(tail);
            }
            _ => {}
        }
        Some(json)
    }
}

fn set(members: &mut [(&'static str, Vec<u8>)], index: usize, value: &[u8]) {
    if let Some((_, old)) = members.get_mut(index) {
        *old = value.to_vec();
    }
}
