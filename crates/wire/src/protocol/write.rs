//! Values of an answer as JSON.

use serde_json::Value;

use super::{DEPTH_MAX, time};
use crate::table::{Kind, Location, Shape, TimestampFormat};

/// Writes `value` as `shape`. With `iso` an instant of the protocol's own form is text instead of a number.
pub(super) fn value(out: &mut Vec<u8>, shape: &'static Shape, value: &Value, iso: bool) {
    nested(out, shape, value, iso, 0);
}

fn nested(out: &mut Vec<u8>, shape: &'static Shape, value: &Value, iso: bool, depth: usize) {
    if depth > DEPTH_MAX {
        out.extend_from_slice(b"null");
        return;
    }
    match (&shape.kind, value) {
        (Kind::Structure(structure), Value::Object(map)) => {
            out.push(b'{');
            let mut first = true;
            for member in structure.members.iter().filter(|member| member.location == Location::Body) {
                let Some(value) = map.get(member.name).filter(|value| !value.is_null()) else { continue };
                key(out, member.wire, &mut first);
                nested(out, member.shape, value, iso, depth + 1);
            }
            out.push(b'}');
        }
        (Kind::List { member, .. }, Value::Array(elements)) => {
            out.push(b'[');
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                nested(out, member, element, iso, depth + 1);
            }
            out.push(b']');
        }
        (Kind::Map { value: shape, .. }, Value::Object(map)) => {
            out.push(b'{');
            let mut first = true;
            for (name, value) in map {
                key(out, name, &mut first);
                nested(out, shape, value, iso, depth + 1);
            }
            out.push(b'}');
        }
        (Kind::Timestamp { format }, Value::Number(number)) => {
            let iso = *format == TimestampFormat::Iso8601 || (iso && *format == TimestampFormat::Protocol);
            match time::iso8601(number).filter(|_| iso) {
                Some(text) => raw(out, &Value::from(text)),
                None => raw(out, value),
            }
        }
        _ => raw(out, value),
    }
}

fn key(out: &mut Vec<u8>, name: &str, first: &mut bool) {
    if !std::mem::replace(first, false) {
        out.push(b',');
    }
    raw(out, &Value::from(name));
    out.push(b':');
}

fn raw(out: &mut Vec<u8>, value: &Value) {
    // A vector takes every byte and a `Value` has no key but text, so this cannot fail; were it to, the answer would be
    // cut short, which a client refuses.
    let _ = serde_json::to_writer(out, value);
}

/// A scalar as text: a header or the content of an XML element. Empty for what is no scalar.
pub(super) fn text(shape: &'static Shape, value: &Value) -> String {
    match (&shape.kind, value) {
        (Kind::Timestamp { format }, Value::Number(number)) if *format != TimestampFormat::Epoch => {
            time::iso8601(number).unwrap_or_default()
        }
        (_, Value::String(text)) => text.clone(),
        (_, Value::Number(number)) => number.to_string(),
        (_, Value::Bool(flag)) => flag.to_string(),
        (_, Value::Null | Value::Array(_) | Value::Object(_)) => String::new(),
    }
}
