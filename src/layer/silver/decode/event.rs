//! One message: a JSON object, nothing behind it, each member once.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

use super::column::Column;
use super::datum::{Datum, put, shorten};
use super::{Defect, MAX_DEPTH};
use crate::definition::{Contract, Field};
use crate::layer::silver::reject::Reason;

/// More undeclared member names than this, and their set is given back to the allocator after the message.
const STRANGERS_KEPT: usize = 1024;

/// Defects of one message that are told in words; the rest are counted. A payload must not decide how long its row of
/// rejects is.
const DEFECTS_TOLD: usize = 20;

/// The contract, ready to read messages by.
#[derive(Debug)]
pub(super) struct Event {
    fields: Vec<Field>,
    places: HashMap<String, usize>,
    closed: bool,
    /// Undeclared members of the current message.
    strangers: HashSet<String>,
}

impl Event {
    pub(super) fn new(contract: &Contract) -> Self {
        let names = contract.fields.iter().map(|field| field.name.clone());
        Self {
            fields: contract.fields.clone(),
            places: names.zip(0..).collect(),
            closed: contract.closed,
            strangers: HashSet::new(),
        }
    }

    /// Adds the message's values to the columns, which have `rows` values each.
    ///
    /// # Errors
    /// The message's defect; the columns may have values of it, which the caller takes back.
    pub(super) fn read(&mut self, text: &str, columns: &mut [Column], rows: usize) -> Result<(), Defect> {
        self.strangers.clear();
        if self.strangers.capacity() > STRANGERS_KEPT {
            self.strangers.shrink_to(STRANGERS_KEPT);
        }
        let mut message = Message {
            event: self,
            columns,
            rows,
            guess: 0,
            repeated: None,
            defects: Defects::default(),
        };
        let mut json = serde_json::Deserializer::from_str(text);
        let parsed = json.deserialize_any(&mut message).and_then(|()| json.end());
        let (repeated, defects) = (message.repeated, message.defects);
        let malformed = match (parsed, repeated) {
            (Err(error), _) => Some(error.to_string()),
            (Ok(()), Some(name)) => Some(format!("member {:?} is there twice", shorten(&name))),
            (Ok(()), None) => None,
        };
        if let Some(detail) = malformed {
            let reason = Reason::Malformed;
            return Err(Defect { reason, detail });
        }
        if defects.is_empty() {
            return Ok(());
        }
        Err(Defect {
            reason: Reason::Schema,
            detail: defects.words(),
        })
    }
}

/// The message being read. What the contract has against it is noted, not raised: the rest must still be JSON.
struct Message<'a> {
    event: &'a mut Event,
    columns: &'a mut [Column],
    rows: usize,
    /// The field the next member probably is: producers write members in one order.
    guess: usize,
    repeated: Option<String>,
    defects: Defects,
}

/// What the contract has against a message.
#[derive(Debug, Default)]
struct Defects {
    told: Vec<String>,
    untold: usize,
}

impl Defects {
    fn add(&mut self, words: impl FnOnce() -> String) {
        if self.told.len() < DEFECTS_TOLD {
            self.told.push(words());
        } else {
            self.untold += 1;
        }
    }

    fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    fn words(self) -> String {
        let mut words = self.told.join("; ");
        if self.untold > 0 {
            words.push_str(&format!("; and {} more", self.untold));
        }
        words
    }
}

enum Name {
    Field(usize),
    Stranger,
}

impl Message<'_> {
    fn place(&self, name: &str) -> Option<usize> {
        match self.event.fields.get(self.guess) {
            Some(field) if field.name == name => Some(self.guess),
            _ => self.event.places.get(name).copied(),
        }
    }

    /// Finds the member's field and whether it is there for the first time.
    fn name(&mut self, name: &str) -> Name {
        let Some(place) = self.place(name) else {
            if !self.event.strangers.insert(name.to_owned()) {
                self.repeated.get_or_insert_with(|| name.to_owned());
            } else if self.event.closed {
                self.defects
                    .add(|| format!("{:?} is not a member of the contract", shorten(name)));
            }
            return Name::Stranger;
        };
        self.guess = place + 1;
        if self.columns.get(place).is_some_and(|column| column.len() > self.rows) {
            self.repeated.get_or_insert_with(|| name.to_owned());
            return Name::Stranger;
        }
        Name::Field(place)
    }

    /// Fills in the members that are not there.
    fn complete(&mut self) {
        for (field, column) in self.event.fields.iter().zip(self.columns.iter_mut()) {
            if column.len() > self.rows {
                continue;
            }
            column.push_null();
            if field.required {
                self.defects.add(|| format!("{} is missing", field.name));
            }
        }
    }

    fn no_object<E>(&mut self, datum: Datum<'_>) -> Result<(), E> {
        self.defects.add(|| format!("the event is {datum}, not an object"));
        Ok(())
    }
}

impl<'de> Visitor<'de> for &mut Message<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(MemberName(&mut *self))? {
            match name {
                Name::Stranger => map.next_value_seed(Skip { depth: 1 })?,
                Name::Field(place) => {
                    let (Some(field), Some(column)) = (self.event.fields.get(place), self.columns.get_mut(place))
                    else {
                        return Err(A::Error::custom("no such field"));
                    };
                    if let Err(defect) = map.next_value_seed(Member { field, column })? {
                        self.defects.add(|| defect);
                    }
                }
            }
        }
        self.complete();
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Skip { depth: 1 })?.is_some() {}
        self.no_object(Datum::Array)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.no_object(Datum::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.no_object(Datum::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.no_object(Datum::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.no_object(Datum::Large(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.no_object(Datum::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.no_object(Datum::Text(value))
    }
}

/// Reads a member's name without keeping it.
struct MemberName<'a, 'm>(&'a mut Message<'m>);

impl<'de> DeserializeSeed<'de> for MemberName<'_, '_> {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for MemberName<'_, '_> {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Name, E> {
        Ok(self.0.name(name))
    }
}

/// Reads a declared member into its column; the inner error is what the contract has against it.
struct Member<'a> {
    field: &'a Field,
    column: &'a mut Column,
}

impl Member<'_> {
    fn put<E>(self, datum: Datum<'_>) -> Result<Result<(), String>, E> {
        Ok(put(self.field, self.column, datum))
    }
}

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = Result<(), String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Result<(), String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        self.put(Datum::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        self.put(Datum::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        self.put(Datum::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        self.put(i64::try_from(value).map_or(Datum::Large(value), Datum::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        self.put(Datum::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        self.put(Datum::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        Skip { depth: 1 }.visit_seq(seq)?;
        self.put(Datum::Array)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Skip { depth: 1 }.visit_map(map)?;
        self.put(Datum::Object)
    }
}

/// Reads a value and forgets it, as strictly as if it were kept.
#[derive(Clone, Copy)]
struct Skip {
    /// Levels around the value.
    depth: usize,
}

impl Skip {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Skip {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Skip {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while seq.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while map.next_key_seed(inner)?.is_some() {
            map.next_value_seed(inner)?;
        }
        Ok(())
    }
}
