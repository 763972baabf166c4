//! A view from its JSON: serde into a struct of the known keys, which borrows what it can.

use std::borrow::Cow;
use std::error::Error;
use std::path::Path;

use chrono::NaiveDate;
use serde::Deserialize;
use serde_json::error::Category;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// How far an event may be ahead of its record, in microseconds.
const MAX_AHEAD: i64 = 3600 * SECOND;

/// Why a record is no row of silver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    Malformed,
    Schema,
    Lookup,
    Expectation,
    EventTime,
}

impl Flaw {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Schema => "schema",
            Self::Lookup => "lookup",
            Self::Expectation => "expectation",
            Self::EventTime => "event_time",
        }
    }
}

/// A valid view; instants in UTC microseconds.
#[derive(Debug)]
pub(crate) struct Event<'a> {
    pub(crate) view_id: Cow<'a, str>,
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) banner: i64,
    pub(crate) campaign: i32,
    pub(crate) network: i32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct View<'a> {
    #[serde(borrow)]
    view_id: Cow<'a, str>,
    #[serde(borrow)]
    start_timestamp: Cow<'a, str>,
    #[serde(borrow)]
    end_timestamp: Cow<'a, str>,
    banner_id: i64,
    campaign_id: i32,
}

impl<'a> Event<'a> {
    /// The view of a record that Kafka took in at `recorded`.
    pub(crate) fn parse(payload: Option<&'a [u8]>, recorded: i64, networks: &Networks) -> Result<Self, Flaw> {
        let payload = payload.ok_or(Flaw::Malformed)?;
        let view: View<'a> = serde_json::from_slice(payload).map_err(|error| match error.classify() {
            Category::Data => Flaw::Schema,
            Category::Io | Category::Syntax | Category::Eof => Flaw::Malformed,
        })?;
        let start = instant(view.start_timestamp.as_bytes()).ok_or(Flaw::Schema)?;
        let end = instant(view.end_timestamp.as_bytes()).ok_or(Flaw::Schema)?;
        if view.view_id.is_empty() || view.banner_id < 1 || view.campaign_id < 1 {
            return Err(Flaw::Schema);
        }
        let network = networks.of(view.campaign_id).ok_or(Flaw::Lookup)?;
        if end < start || end > start + DAY {
            return Err(Flaw::Expectation);
        }
        if end > recorded + MAX_AHEAD {
            return Err(Flaw::EventTime);
        }
        Ok(Self {
            view_id: view.view_id,
            start,
            end,
            banner: view.banner_id,
            campaign: view.campaign_id,
            network,
        })
    }
}

/// An instant in UTC microseconds from `YYYY-MM-DD`, `T` or a space, `HH:MM:SS.ffffff`, and `Z`, `±HH:MM` or nothing,
/// which is UTC: the producer's fixed layout.
fn instant(text: &[u8]) -> Option<i64> {
    let (fixed, zone) = text.split_at_checked(26)?;
    let signs = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':'), (19, b'.')];
    if signs.iter().any(|(at, sign)| fixed.get(*at) != Some(sign)) || !matches!(fixed.get(10), Some(b'T' | b' ')) {
        return None;
    }
    let part = |from, to| digits(fixed.get(from..to)?);
    let date = NaiveDate::from_ymd_opt(
        i32::try_from(part(0, 4)?).ok()?,
        u32::try_from(part(5, 7)?).ok()?,
        u32::try_from(part(8, 10)?).ok()?,
    )?;
    let days = i64::from(date.to_epoch_days());
    let (hour, minute, second) = (part(11, 13)?, part(14, 16)?, part(17, 19)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let local = days * DAY + (hour * 3600 + minute * 60 + second) * SECOND + part(20, 26)?;
    let ahead = match zone {
        b"" | b"Z" => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let minutes = digits(&[*h1, *h2])? * 60 + digits(&[*m1, *m2])?;
            minutes * if *sign == b'+' { 60 * SECOND } else { -60 * SECOND }
        }
        _ => return None,
    };
    Some(local - ahead)
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |number, byte| {
        byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0'))
    })
}

/// The network of each campaign, dense by campaign number.
pub(crate) struct Networks(Vec<Option<i32>>);

impl Networks {
    pub(crate) fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        let mut networks = Vec::new();
        for row in csv::Reader::from_path(path)?.deserialize() {
            let (network, campaign, _name): (i32, usize, String) = row?;
            networks.resize(networks.len().max(campaign + 1), None);
            if let Some(place) = networks.get_mut(campaign) {
                *place = Some(network);
            }
        }
        Ok(Self(networks))
    }

    pub(crate) fn of(&self, campaign: i32) -> Option<i32> {
        *self.0.get(usize::try_from(campaign).ok()?)?
    }
}
