//! The model's constraints, all broken ones in one error.
//!
//! The texts are AWS's: `N validation errors detected: Value 'v' at 'member' failed to satisfy constraint: Member must
//! ...`, joined by `; `. In API Gateway a body member is named `{operation}Input.member`, elsewhere and for members of
//! the path it stands bare; first letters are lower case, list elements count from 1.

use serde_json::Value;

use super::{Decoded, read};
use crate::ServiceError;
use crate::table::{Kind, Limits, Location, Operation, Pattern, Shape};

/// Most violations reported, and most characters of one value printed. AWS prints a refused template of any size; a
/// cut text still tells the caller which value is meant.
const VIOLATIONS_MAX: usize = 64;
const VALUE_CHARS_MAX: usize = 1_024;

/// Checks everything the model says of an input.
pub(super) fn check(op: &'static Operation, shape: &'static Shape, decoded: &Decoded) -> Result<(), ServiceError> {
    let Some(structure) = shape.structure() else { return Ok(()) };
    let mut found = Violations { list: Vec::new(), lambda: op.service.name == "lambda" };
    let prefixed = op.service.signing_name == "apigateway";
    for in_body in [true, false] {
        for member in structure.members.iter().filter(|member| (member.location == Location::Body) == in_body) {
            let name = lower_first(member.name);
            let path =
                if in_body && prefixed { format!("{}Input.{name}", lower_first(op.name)) } else { name.to_string() };
            let present = decoded.params.get(member.name);
            let is_payload = decoded.payload.as_ref().is_some_and(|payload| payload.member == member.name);
            match present {
                Some(value) => found.value(member.shape, value, &path),
                None if member.required && !is_payload => found.null(&path),
                None => {}
            }
        }
    }
    if found.list.is_empty() { Ok(()) } else { Err(error(op, &found.list)) }
}

/// The service's code for broken constraints. Source: each service's API Reference, "Common Errors".
fn error(op: &Operation, violations: &[String]) -> ServiceError {
    let code = match op.service.name {
        "iam" | "sts" | "cloudformation" => "ValidationError",
        "logs" if !op.errors.iter().any(|(code, _)| *code == "ValidationException") => "InvalidParameterException",
        _ => "ValidationException",
    };
    let count = violations.len();
    let plural = if count == 1 { "" } else { "s" };
    ServiceError::new(code, 400, format!("{count} validation error{plural} detected: {}", violations.join("; ")))
}

struct Violations {
    list: Vec<String>,
    /// Lambda's validation names the null check among those of list and map elements.
    lambda: bool,
}

impl Violations {
    fn add(&mut self, subject: &str, path: &str, constraint: &str) {
        if self.list.len() < VIOLATIONS_MAX {
            self.list.push(format!("{subject} at '{path}' failed to satisfy constraint: {constraint}"));
        }
    }

    fn null(&mut self, path: &str) {
        self.add("Value null", path, "Member must not be null");
    }

    fn value(&mut self, shape: &'static Shape, value: &Value, path: &str) {
        match (&shape.kind, value) {
            (Kind::Structure(structure), _) => {
                for member in structure.members {
                    let path = || format!("{path}.{}", lower_first(member.name));
                    match value.get(member.name) {
                        Some(value) => self.value(member.shape, value, &path()),
                        None if member.required => self.null(&path()),
                        None => {}
                    }
                }
            }
            (Kind::List { member, limits, .. }, Value::Array(elements)) => {
                self.lengths(shape, value, elements.len(), limits, path);
                if is_scalar(member) {
                    if elements.iter().any(|element| !broken(member, element).is_empty()) {
                        self.inner(shape, value, path, "Member", member);
                    }
                    return;
                }
                for (index, element) in elements.iter().enumerate() {
                    self.value(member, element, &format!("{path}.{}.member", index + 1));
                }
            }
            (Kind::Map { key, value: inner, limits }, Value::Object(map)) => {
                self.lengths(shape, value, map.len(), limits, path);
                if map.keys().any(|name| !broken(key, &Value::from(name.as_str())).is_empty()) {
                    self.inner(shape, value, path, "Map keys", key);
                }
                if is_scalar(inner) {
                    if map.values().any(|value| !value.is_null() && !broken(inner, value).is_empty()) {
                        self.inner(shape, value, path, "Map value", inner);
                    }
                    return;
                }
                for (name, value) in map {
                    self.value(inner, value, &format!("{path}.{name}.member"));
                }
            }
            _ => {
                for constraint in broken(shape, value) {
                    self.add(&subject(shape, value), path, &constraint);
                }
            }
        }
    }

    fn lengths(&mut self, shape: &'static Shape, value: &Value, length: usize, limits: &Limits, path: &str) {
        if let Some(constraint) = out_of(limits, count(length), "length") {
            self.add(&subject(shape, value), path, &constraint);
        }
    }

    /// One violation for all elements, listing every constraint of an element: so AWS prints them.
    fn inner(&mut self, shape: &'static Shape, value: &Value, path: &str, whose: &str, element: &'static Shape) {
        let mut all = constraints(element);
        if self.lambda {
            all.push("Member must not be null".to_owned());
        }
        let constraint = format!("{whose} must satisfy constraint: [{}]", all.join(", "));
        self.add(&subject(shape, value), path, &constraint);
    }
}

fn is_scalar(shape: &Shape) -> bool {
    !matches!(shape.kind, Kind::Structure(_) | Kind::List { .. } | Kind::Map { .. })
}

fn count(length: usize) -> f64 {
    length as f64
}

/// The constraints a scalar breaks: enumeration, pattern, then length or range.
fn broken(shape: &'static Shape, value: &Value) -> Vec<String> {
    let mut list = Vec::new();
    match (&shape.kind, value) {
        (Kind::String { values, pattern, limits }, Value::String(text)) => {
            if !values.is_empty() && !values.contains(&text.as_str()) {
                list.push(one_of(values));
            }
            if let Some(pattern) = pattern.filter(|pattern| !pattern.admits(text)) {
                list.push(matching(pattern));
            }
            // AWS counts as Java does, in UTF-16 units.
            list.extend(out_of(limits, count(text.encode_utf16().count()), "length"));
        }
        (Kind::Integer { limits } | Kind::Long { limits } | Kind::Double { limits }, Value::Number(number)) => {
            list.extend(out_of(limits, number.as_f64().unwrap_or(f64::NAN), "value"));
        }
        (Kind::Blob { limits }, Value::String(text)) => {
            list.extend(out_of(limits, count(read::base64_bytes(text)), "length"));
        }
        _ => {}
    }
    list
}

/// Every constraint a scalar has, in the order AWS prints them for elements: lengths, pattern, enumeration.
fn constraints(shape: &'static Shape) -> Vec<String> {
    let bounds = |limits: &Limits, what: &str| {
        let max = limits.max.map(|max| at_most(max, what));
        let min = limits.min.map(|min| at_least(min, what));
        max.into_iter().chain(min).collect::<Vec<_>>()
    };
    match &shape.kind {
        Kind::String { values, pattern, limits } => {
            let mut list = bounds(limits, "length");
            list.extend(pattern.map(matching));
            if !values.is_empty() {
                list.push(one_of(values));
            }
            list
        }
        Kind::Integer { limits } | Kind::Long { limits } | Kind::Double { limits } => bounds(limits, "value"),
        Kind::Blob { limits } => bounds(limits, "length"),
        _ => Vec::new(),
    }
}

fn out_of(limits: &Limits, actual: f64, what: &str) -> Option<String> {
    match limits {
        Limits { max: Some(max), .. } if actual > *max as f64 || actual.is_nan() => Some(at_most(*max, what)),
        Limits { min: Some(min), .. } if actual < *min as f64 => Some(at_least(*min, what)),
        _ => None,
    }
}

fn at_most(max: i64, what: &str) -> String {
    format!("Member must have {what} less than or equal to {max}")
}

fn at_least(min: i64, what: &str) -> String {
    format!("Member must have {what} greater than or equal to {min}")
}

fn matching(pattern: &'static Pattern) -> String {
    format!("Member must satisfy regular expression pattern: {}", pattern.text)
}

fn one_of(values: &[&str]) -> String {
    format!("Member must satisfy enum value set: [{}]", values.join(", "))
}

/// `Value 'v'`, or just `Value` where the model calls any part of it sensitive.
fn subject(shape: &'static Shape, value: &Value) -> String {
    if is_sensitive(shape, 0) {
        return "Value".to_owned();
    }
    let mut text = String::new();
    print(&mut text, value);
    if let Some((end, _)) = text.char_indices().nth(VALUE_CHARS_MAX) {
        text.truncate(end);
        text.push('…');
    }
    format!("Value '{text}'")
}

fn is_sensitive(shape: &'static Shape, depth: usize) -> bool {
    let deeper = |shape| depth < 8 && is_sensitive(shape, depth + 1);
    shape.sensitive
        || match &shape.kind {
            Kind::List { member, .. } => deeper(member),
            Kind::Map { key, value, .. } => deeper(key) || deeper(value),
            Kind::Structure(structure) => structure.members.iter().any(|member| deeper(member.shape)),
            _ => false,
        }
}

/// As Java prints collections. Stops adding once more is there than will be shown.
fn print(out: &mut String, value: &Value) {
    if out.len() > VALUE_CHARS_MAX * 4 {
        return;
    }
    match value {
        Value::String(text) => out.extend(text.chars().take(VALUE_CHARS_MAX + 1)),
        Value::Array(elements) => {
            out.push('[');
            for (index, element) in elements.iter().take(VALUE_CHARS_MAX).enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                print(out, element);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (index, (key, value)) in map.iter().take(VALUE_CHARS_MAX).enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                out.push_str(key);
                out.push('=');
                print(out, value);
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

fn lower_first(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(chars).collect()
}
