//! Reading JSON without the two liberties of the usual readers: no member twice, no bottomless nesting.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::error::Detail;
use crate::{NESTING_MAX, ParseError};

/// Reads one JSON value, refusing a member that appears twice and nesting deeper than [`NESTING_MAX`].
///
/// A caller that digs a policy out of a larger answer reads the whole answer with this and passes the part to
/// [`crate::Policy::from_value`], which can no longer see what a lenient reader dropped.
///
/// # Errors
/// [`ParseError::InvalidJson`], [`ParseError::DuplicateMember`], [`ParseError::TooDeep`].
pub fn parse_json(text: &str) -> Result<Value, ParseError> {
    let fault = Cell::new(None);
    let mut reader = serde_json::Deserializer::from_str(text);
    let outcome = Node { depth_left: NESTING_MAX, fault: &fault }.deserialize(&mut reader);
    outcome
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| fault.take().unwrap_or_else(|| ParseError::InvalidJson(Detail::new(&error.to_string()))))
}

/// Whether a value read by someone else keeps to [`NESTING_MAX`].
pub(crate) fn is_shallow(value: &Value, depth_left: usize) -> bool {
    let inner = depth_left.checked_sub(1);
    match (value, inner) {
        (Value::Object(members), Some(left)) => members.values().all(|value| is_shallow(value, left)),
        (Value::Array(values), Some(left)) => values.iter().all(|value| is_shallow(value, left)),
        (Value::Object(_) | Value::Array(_), None) => false,
        _ => true,
    }
}

#[derive(Clone, Copy)]
struct Node<'f> {
    depth_left: usize,
    fault: &'f Cell<Option<ParseError>>,
}

impl<'f> Node<'f> {
    fn inner<E: serde::de::Error>(self) -> Result<Node<'f>, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Node { depth_left, ..self }),
            None => Err(self.fail(ParseError::TooDeep)),
        }
    }

    fn fail<E: serde::de::Error>(self, fault: ParseError) -> E {
        let error = E::custom(&fault);
        self.fault.set(Some(fault));
        error
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
        Number::from_f64(number).map(Value::Number).ok_or_else(|| E::custom("a number out of range"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(inner)?;
            if members.contains_key(&name) {
                return Err(self.fail(ParseError::DuplicateMember(Detail::new(&name))));
            }
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

/// The length of the compact JSON text, unless it is above `max`.
pub(crate) fn compact_bytes(value: &Value, max: usize) -> Option<usize> {
    let mut counter = Counter { left: max };
    serde_json::to_writer(&mut counter, value).ok()?;
    max.checked_sub(counter.left)
}

struct Counter {
    left: usize,
}

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::FileTooLarge)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
