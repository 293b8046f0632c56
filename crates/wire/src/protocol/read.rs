//! Values of a request by their shapes: types, and nothing but types.

use serde_json::{Map, Number, Value};

use super::{DEPTH_MAX, time};
use crate::ServiceError;
use crate::table::{Kind, Member, Shape, Structure};

/// AWS's refusal of a value of the wrong type.
pub(super) fn serialization(message: impl Into<String>) -> ServiceError {
    ServiceError::new("SerializationException", 400, message)
}

/// Parses a JSON body; an empty one is an empty object.
pub(super) fn document(body: &[u8]) -> Result<Value, ServiceError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Object(Map::new()));
    }
    // serde_json refuses nesting beyond 128 levels by itself.
    serde_json::from_slice(body).map_err(|error| {
        serialization("The request body is not valid JSON.").with_cause(format!("request body: {error}"))
    })
}

/// Reads one JSON value as `shape`.
pub(super) fn value(shape: &'static Shape, value: Value, depth: usize) -> Result<Value, ServiceError> {
    if depth > DEPTH_MAX {
        return Err(serialization("The request is nested too deeply."));
    }
    match (&shape.kind, value) {
        (Kind::Structure(structure), Value::Object(map)) => members(structure, map, depth),
        (Kind::List { member, .. }, Value::Array(elements)) => {
            let read = elements.into_iter().filter(|element| !element.is_null());
            Ok(Value::Array(read.map(|element| self::value(member, element, depth + 1)).collect::<Result<_, _>>()?))
        }
        (Kind::Map { value: shape, .. }, Value::Object(map)) => entries(shape, map, false, depth),
        (_, scalar) => self::scalar(shape, scalar),
    }
}

fn members(structure: &Structure, mut map: Map<String, Value>, depth: usize) -> Result<Value, ServiceError> {
    let mut read = Map::new();
    for member in structure.members {
        if let Some(found) = map.swap_remove(member.wire)
            && let Some(found) = self::member(member, found, depth)?
        {
            read.insert(member.name.to_owned(), found);
        }
    }
    Ok(Value::Object(read))
}

/// Reads the value of one member; `null` is absence.
pub(super) fn member(member: &'static Member, found: Value, depth: usize) -> Result<Option<Value>, ServiceError> {
    match (found, &member.shape.kind) {
        (Value::Null, _) => Ok(None),
        (Value::Object(map), Kind::Map { value: shape, .. }) => entries(shape, map, member.sparse, depth + 1).map(Some),
        (found, _) => value(member.shape, found, depth + 1).map(Some),
    }
}

fn entries(shape: &'static Shape, map: Map<String, Value>, sparse: bool, depth: usize) -> Result<Value, ServiceError> {
    let mut read = Map::new();
    for (key, found) in map {
        match found {
            Value::Null if sparse => {
                read.insert(key, Value::Null);
            }
            Value::Null => {}
            found => {
                read.insert(key, value(shape, found, depth + 1)?);
            }
        }
    }
    Ok(Value::Object(read))
}

fn scalar(shape: &'static Shape, value: Value) -> Result<Value, ServiceError> {
    let expected = match (&shape.kind, &value) {
        (Kind::String { .. }, Value::String(_)) | (Kind::Boolean, Value::Bool(_)) => return Ok(value),
        (Kind::Integer { .. }, Value::Number(number)) => match whole(number) {
            Some(whole) if i32::try_from(whole).is_ok() => return Ok(Value::from(whole)),
            _ => "Integer",
        },
        (Kind::Long { .. }, Value::Number(number)) => match whole(number) {
            Some(whole) => return Ok(Value::from(whole)),
            None => "Long",
        },
        (Kind::Double { .. }, Value::Number(number)) if number.as_f64().is_some_and(f64::is_finite) => {
            return Ok(value);
        }
        (Kind::Blob { .. }, Value::String(text)) if is_base64(text) => return Ok(value),
        (Kind::Timestamp { .. }, Value::Number(number)) => match time::epoch(number) {
            Some(instant) => return Ok(instant),
            None => "Date",
        },
        (Kind::Timestamp { .. }, Value::String(text)) => match time::parse_iso8601(text) {
            Some(instant) => return Ok(instant),
            None => "Date",
        },
        (kind, _) => name_of(kind),
    };
    Err(mismatch(&value, expected))
}

/// The Java name that AWS prints for a type.
fn name_of(kind: &Kind) -> &'static str {
    match kind {
        Kind::String { .. } => "String",
        Kind::Integer { .. } => "Integer",
        Kind::Long { .. } => "Long",
        Kind::Double { .. } => "Double",
        Kind::Boolean => "Boolean",
        Kind::Blob { .. } => "Blob",
        Kind::Timestamp { .. } => "Date",
        Kind::Structure(_) | Kind::List { .. } | Kind::Map { .. } => "",
    }
}

/// AWS's text for a value of the wrong type; `expected` is empty for lists, maps and structures.
///
/// The texts for booleans and numbers are recorded from AWS, those for lists and structures known from DynamoDB's
/// answers; that API Gateway prints the same is likely but unconfirmed [U].
fn mismatch(found: &Value, expected: &str) -> ServiceError {
    let class = match found {
        Value::Array(_) => return serialization("Start of list found where not expected"),
        Value::Object(_) => return serialization("Start of structure or map found where not expected."),
        _ if expected.is_empty() => return serialization("Unexpected field type"),
        Value::Bool(_) => "class java.lang.Boolean",
        Value::Number(_) => "class com.amazon.coral.value.json.numbers.TruncatingBigNumber",
        Value::String(_) | Value::Null => "class java.lang.String",
    };
    serialization(format!("{class} can not be converted to an {expected}"))
}

/// A whole number, also if written `3.0`.
fn whole(number: &Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 9e15)?;
        Some(float as i64)
    })
}

/// Whether text is padded base64, without decoding it: function code is tens of megabytes.
fn is_base64(text: &str) -> bool {
    let bytes = text.as_bytes();
    let data = bytes.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let alphabet = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    bytes.len().is_multiple_of(4) && bytes.len() - data <= 2 && bytes.iter().take(data).all(alphabet)
}

/// Bytes that padded base64 stands for.
pub(super) fn base64_bytes(text: &str) -> usize {
    let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}

/// Reads a scalar that is spelled as text: a label, a query or form value, a header. `None` if it cannot be read.
pub(super) fn text(shape: &'static Shape, text: &str) -> Option<Value> {
    match &shape.kind {
        Kind::String { .. } => Some(Value::from(text)),
        Kind::Integer { .. } => text.parse::<i32>().ok().map(Value::from),
        Kind::Long { .. } => text.parse::<i64>().ok().map(Value::from),
        Kind::Double { .. } => text.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number),
        Kind::Boolean => match text {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ if text.eq_ignore_ascii_case("true") => Some(Value::Bool(true)),
            _ if text.eq_ignore_ascii_case("false") => Some(Value::Bool(false)),
            _ => None,
        },
        Kind::Blob { .. } => is_base64(text).then(|| Value::from(text)),
        Kind::Timestamp { .. } => {
            time::parse_iso8601(text).or_else(|| text.parse::<Number>().ok().and_then(|number| time::epoch(&number)))
        }
        Kind::Structure(_) | Kind::List { .. } | Kind::Map { .. } => None,
    }
}

/// The refusal of text that [`text`] cannot read.
pub(super) fn unreadable(shape: &'static Shape) -> ServiceError {
    serialization(format!("class java.lang.String can not be converted to an {}", name_of(&shape.kind)))
}
