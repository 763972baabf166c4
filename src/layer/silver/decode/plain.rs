//! The short way for messages as most producers write them: one flat object of the contract's members, texts without
//! escapes, whole numbers.
//!
//! It says yes or nothing. Whatever is written otherwise, and whatever the contract has something against, is for
//! the parser behind it ([`super::event`]), whose answer this one must never differ from; so a bad message is read
//! twice, and nobody else pays for it.

use std::collections::HashMap;

use super::column::Column;
use super::datum::{Datum, put};
use crate::definition::{Contract, Field};

/// The contract, ready to compare messages with.
#[derive(Debug)]
pub(super) struct Plain {
    members: Vec<Member>,
    places: HashMap<String, usize>,
}

#[derive(Debug)]
struct Member {
    field: Field,
    /// The name in its quotes; none where it cannot be written without escapes.
    quoted: Option<String>,
}

impl Plain {
    pub(super) fn new(contract: &Contract) -> Self {
        let member = |field: &Field| Member {
            field: field.clone(),
            quoted: (plain_length(field.name.as_bytes()) == field.name.len()).then(|| format!("\"{}\"", field.name)),
        };
        Self {
            members: contract.fields.iter().map(member).collect(),
            places: contract
                .fields
                .iter()
                .map(|field| field.name.clone())
                .zip(0..)
                .collect(),
        }
    }

    /// Adds the message's values to the columns, which have `rows` values each. None where it is not for this way; the
    /// columns may then have values of it, which the caller takes back.
    pub(super) fn read(&self, text: &str, columns: &mut [Column], rows: usize) -> Option<()> {
        let mut scan = Scan { text, at: 0 };
        scan.mark(b'{')?;
        let mut guess = 0;
        loop {
            let place = self.place(&mut scan, guess)?;
            let (member, column) = (self.members.get(place)?, columns.get_mut(place)?);
            if column.len() > rows {
                return None;
            }
            scan.mark(b':')?;
            put(&member.field, column, scan.datum()?).ok()?;
            guess = place + 1;
            match scan.next()? {
                b',' => scan.blanks(),
                b'}' => break,
                _ => return None,
            }
        }
        scan.blanks();
        (scan.at == text.len()).then_some(())?;
        self.complete(columns, rows)
    }

    /// The member whose name comes next: producers write members in one order.
    fn place(&self, scan: &mut Scan<'_>, guess: usize) -> Option<usize> {
        let guessed = self.members.get(guess).and_then(|member| member.quoted.as_deref());
        match guessed {
            Some(name) if scan.rest().starts_with(name) => {
                scan.at += name.len();
                Some(guess)
            }
            _ => self.places.get(scan.text()?).copied(),
        }
    }

    /// Fills in the members that are not there, if they may be missing.
    fn complete(&self, columns: &mut [Column], rows: usize) -> Option<()> {
        for (member, column) in self.members.iter().zip(columns) {
            if column.len() == rows {
                (!member.field.required).then_some(())?;
                column.push_null();
            }
        }
        Some(())
    }
}

/// A place in a message.
struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// The next character that is no blank.
    fn next(&mut self) -> Option<u8> {
        self.blanks();
        let found = self.peek()?;
        self.at += 1;
        Some(found)
    }

    /// Passes `mark` and the blanks around it.
    fn mark(&mut self, mark: u8) -> Option<()> {
        (self.next()? == mark).then_some(())?;
        self.blanks();
        Some(())
    }

    /// A text without escapes, its quotes passed.
    fn text(&mut self) -> Option<&'a str> {
        let inside = self.rest().strip_prefix('"')?;
        let length = plain_length(inside.as_bytes());
        // What ended it may also be a backslash or a control character.
        (inside.as_bytes().get(length) == Some(&b'"')).then_some(())?;
        self.at += length + 2;
        inside.get(..length)
    }

    fn datum(&mut self) -> Option<Datum<'a>> {
        let rest = self.rest();
        let (datum, length) = match self.peek()? {
            b'"' => return self.text().map(Datum::Text),
            b'-' | b'0'..=b'9' => whole(rest.as_bytes())?,
            b't' => (Datum::Boolean(true), rest.starts_with("true").then_some(4)?),
            b'f' => (Datum::Boolean(false), rest.starts_with("false").then_some(5)?),
            b'n' => (Datum::Null, rest.starts_with("null").then_some(4)?),
            _ => return None,
        };
        self.at += length;
        Some(datum)
    }
}

/// A number without fraction and exponent that surely fits 64 bits, and its length.
fn whole<'a>(bytes: &[u8]) -> Option<(Datum<'a>, usize)> {
    let negative = bytes.first() == Some(&b'-');
    let digits = bytes.get(usize::from(negative)..)?;
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, after) = digits.split_at_checked(count)?;
    // A number may not begin with a zero unless it is one, and minus zero is no integer.
    let written_so = match digits {
        [] => false,
        [b'0'] => !negative,
        [b'0', ..] => false,
        _ => count <= 18,
    };
    if !written_so || matches!(after.first(), Some(b'.' | b'e' | b'E')) {
        return None;
    }
    let value = digits
        .iter()
        .fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
    Some((
        Datum::Integer(if negative { -value } else { value }),
        count + usize::from(negative),
    ))
}

/// How many bytes come before the first quote, backslash or control character, eight at a time. The test for a byte
/// below a bound is that of "Bit Twiddling Hacks" (S. E. Anderson); it may err only above the first one it finds.
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    let below = |word: u64, bound: u8| word.wrapping_sub(ONES * u64::from(bound)) & !word & TOPS;
    let (words, rest) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        let found = below(word, b' ') | quote | backslash;
        if found != 0 {
            return number * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let plain = |byte: &&u8| **byte >= b' ' && **byte != b'"' && **byte != b'\\';
    words.len() * 8 + rest.iter().take_while(plain).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn eight_at_a_time_is_one_at_a_time(bytes in prop::collection::vec(prop_oneof![
            8 => any::<u8>(), 1 => Just(b'"'), 1 => Just(b'\\'), 1 => 0..33_u8, 20 => 32..128_u8,
        ], 0..60)) {
            let slow = bytes.iter().take_while(|byte| **byte >= b' ' && !b"\"\\".contains(byte)).count();
            prop_assert_eq!(plain_length(&bytes), slow);
        }
    }
}
