//! Instants: epoch seconds in a value, ISO 8601 or numbers on the wire.

use serde_json::{Number, Value};

/// Epoch seconds of an ISO 8601 text; a whole number where there is no fraction.
pub(super) fn parse_iso8601(text: &str) -> Option<Value> {
    let instant: jiff::Timestamp = text.trim().parse().ok()?;
    if instant.subsec_nanosecond() == 0 {
        return Some(Value::from(instant.as_second()));
    }
    Number::from_f64(instant.as_microsecond() as f64 / 1e6).map(Value::Number)
}

/// Epoch seconds of a number that an instant can have.
pub(super) fn epoch(number: &Number) -> Option<Value> {
    instant(number).map(|_| Value::Number(number.clone()))
}

/// `2025-01-01T00:00:00Z`, with a fraction only where there is one.
pub(super) fn iso8601(number: &Number) -> Option<String> {
    instant(number).map(|instant| instant.to_string())
}

fn instant(number: &Number) -> Option<jiff::Timestamp> {
    if let Some(seconds) = number.as_i64() {
        return jiff::Timestamp::from_second(seconds).ok();
    }
    let micros = (number.as_f64()? * 1e6).round();
    // Inside jiff's range by far, and exact as an integer.
    if micros.abs() > 1e17 {
        return None;
    }
    jiff::Timestamp::from_microsecond(micros as i64).ok()
}
