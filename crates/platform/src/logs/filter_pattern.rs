//! Filter patterns: which messages FilterLogEvents gives.
//!
//! Source: CloudWatch Logs User Guide, "Filter pattern syntax for metric filters, subscription filters, and log events".
//! Terms, quoted phrases, `?any`, `-not` and JSON selectors are understood; regular expressions and space-delimited
//! patterns are refused.

use serde_json::Value;
use service::Result;

use super::error::invalid;

mod json;
#[cfg(test)]
mod tests;

/// Characters a pattern has at most. Source: CloudWatch Logs API Reference, "FilterLogEvents".
const CHARS_MAX: usize = 1_024;

/// A pattern that was understood.
#[derive(Debug, Clone, PartialEq)]
pub struct FilterPattern(Kind);

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Everything,
    Terms { all: Vec<String>, none: Vec<String> },
    Any(Vec<String>),
    Json(json::Condition),
}

impl FilterPattern {
    /// Reads a pattern; an empty one fits every message.
    ///
    /// # Errors
    /// `InvalidParameterException` for whatever is not understood.
    pub fn parse(text: &str) -> Result<Self> {
        if text.chars().count() > CHARS_MAX {
            return Err(invalid(format!("The filter pattern must have at most {CHARS_MAX} characters.")));
        }
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self(Kind::Everything));
        }
        match text.chars().next() {
            Some('{') => json::parse(text).map(|condition| Self(Kind::Json(condition))),
            Some('[') => Err(refused("space-delimited patterns are not supported")),
            _ => terms(text).map(Self),
        }
    }

    /// Whether a message fits.
    #[must_use]
    pub fn matches(&self, message: &str) -> bool {
        match &self.0 {
            Kind::Everything => true,
            Kind::Terms { all, none } => {
                all.iter().all(|term| message.contains(term.as_str()))
                    && !none.iter().any(|term| message.contains(term.as_str()))
            }
            Kind::Any(terms) => terms.iter().any(|term| message.contains(term.as_str())),
            Kind::Json(condition) => {
                // Telling text from JSON by its first character saves parsing most of what cannot fit.
                message.trim_start().starts_with('{')
                    && serde_json::from_str::<Value>(message).is_ok_and(|value| condition.holds(&value))
            }
        }
    }
}

fn refused(why: &str) -> service::ServiceError {
    invalid(format!("Invalid filter pattern: {why}."))
}

fn terms(text: &str) -> Result<Kind> {
    let (mut all, mut none, mut any) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (list, body) = match first {
            '?' => (&mut any, rest.get(1..).unwrap_or_default()),
            '-' => (&mut none, rest.get(1..).unwrap_or_default()),
            _ => (&mut all, rest),
        };
        let (term, after) = if body.starts_with('"') { quoted(body)? } else { word(body)? };
        if term.is_empty() {
            return Err(refused("a term is empty"));
        }
        if after.chars().next().is_some_and(|c| !c.is_whitespace()) {
            return Err(refused("terms must be separated by spaces"));
        }
        list.push(term);
        rest = after.trim_start();
    }
    match (any.is_empty(), all.is_empty() && none.is_empty()) {
        (true, _) => Ok(Kind::Terms { all, none }),
        (false, true) => Ok(Kind::Any(any)),
        (false, false) => Err(refused("'?' cannot be combined with other terms")),
    }
}

/// A phrase in double quotes, in which `\"` and `\\` stand for the character; gives what follows.
fn quoted(text: &str) -> Result<(String, &str)> {
    let mut out = String::new();
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => {
                if !matches!(c, '"' | '\\') {
                    out.push('\\');
                }
                out.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Ok((out, text.get(at.saturating_add(1)..).unwrap_or_default())),
            _ => out.push(c),
        }
    }
    Err(refused("a quotation mark is not closed"))
}

fn word(text: &str) -> Result<(String, &str)> {
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (term, after) = text.split_at_checked(end).unwrap_or((text, ""));
    if term.starts_with('%') {
        return Err(refused("regular expressions are not supported"));
    }
    match term.chars().find(|c| !(c.is_alphanumeric() || *c == '_')) {
        // AWS wants such terms in quotation marks.
        Some(_) => Err(invalid(format!("Invalid character(s) in term '{term}'"))),
        None => Ok((term.to_owned(), after)),
    }
}
