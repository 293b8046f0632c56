//! `{ $.a.b[0] = "x" && ($.c > 3 || $.d NOT EXISTS) }`.

use serde_json::Value;
use service::Result;

use super::{quoted, refused};

/// How deep parentheses go.
const DEPTH_MAX: usize = 16;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Test { path: Vec<Step>, test: Test },
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    Member(String),
    Element(usize),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    Equal(Operand),
    NotEqual(Operand),
    Less(f64),
    LessOrEqual(f64),
    Greater(f64),
    GreaterOrEqual(f64),
    IsNull,
    Is(bool),
    NotExists,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    /// A number, and as it was written: text in a message may be spelled so too.
    Number(f64, String),
    /// Text; `*` stands for anything.
    Text(String),
}

impl Condition {
    pub(super) fn holds(&self, message: &Value) -> bool {
        match self {
            Self::And(parts) => parts.iter().all(|part| part.holds(message)),
            Self::Or(parts) => parts.iter().any(|part| part.holds(message)),
            Self::Test { path, test } => {
                let found = path.iter().try_fold(message, |value, step| match step {
                    Step::Member(name) => value.get(name.as_str()),
                    Step::Element(at) => value.get(*at),
                });
                match (found, test) {
                    (None, test) => *test == Test::NotExists,
                    (Some(value), test) => test.holds(value),
                }
            }
        }
    }
}

impl Test {
    fn holds(&self, value: &Value) -> bool {
        let number = |compare: fn(f64, f64) -> bool, other: f64| value.as_f64().is_some_and(|own| compare(own, other));
        match self {
            Self::Equal(operand) => operand.equals(value).unwrap_or(false),
            Self::NotEqual(operand) => operand.equals(value).is_some_and(|equal| !equal),
            Self::Less(other) => number(|a, b| a < b, *other),
            Self::LessOrEqual(other) => number(|a, b| a <= b, *other),
            Self::Greater(other) => number(|a, b| a > b, *other),
            Self::GreaterOrEqual(other) => number(|a, b| a >= b, *other),
            Self::IsNull => value.is_null(),
            Self::Is(truth) => value.as_bool() == Some(*truth),
            Self::NotExists => false,
        }
    }
}

impl Operand {
    /// `None` for values nothing is compared with: objects, lists and null.
    fn equals(&self, value: &Value) -> Option<bool> {
        match (self, value) {
            #[expect(clippy::float_cmp, reason = "both are read from decimal text in the same way")]
            (Self::Number(number, _), Value::Number(own)) => own.as_f64().map(|own| own == *number),
            (Self::Number(_, spelled), Value::String(own)) => Some(own == spelled),
            (Self::Text(pattern), Value::String(own)) => Some(fits(pattern, own)),
            (Self::Text(pattern), Value::Number(own)) => Some(fits(pattern, &own.to_string())),
            (Self::Text(_) | Self::Number(..), Value::Bool(_)) => Some(false),
            (_, Value::Null | Value::Array(_) | Value::Object(_)) => None,
        }
    }
}

/// Whether text fits a pattern in which `*` stands for any characters. Each piece is looked for behind the one before.
fn fits(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else { return false };
    if !pattern.contains('*') {
        return rest.is_empty();
    }
    let mut pieces: Vec<&str> = pieces.collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        match rest.split_once(piece) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last)
}

pub(super) fn parse(text: &str) -> Result<Condition> {
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    let mut reader = Reader { rest: inner.ok_or_else(|| refused("a JSON pattern ends with '}'"))? };
    let condition = reader.any(0)?;
    reader.space();
    if reader.rest.is_empty() { Ok(condition) } else { Err(refused("something follows the condition")) }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Takes `token` if it comes next.
    fn take(&mut self, token: &str) -> bool {
        self.space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn any(&mut self, depth: usize) -> Result<Condition> {
        let mut parts = vec![self.all(depth)?];
        while self.take("||") {
            parts.push(self.all(depth)?);
        }
        Ok(if parts.len() > 1 { Condition::Or(parts) } else { Condition::And(parts) })
    }

    fn all(&mut self, depth: usize) -> Result<Condition> {
        let mut parts = vec![self.one(depth)?];
        while self.take("&&") {
            parts.push(self.one(depth)?);
        }
        Ok(Condition::And(parts))
    }

    fn one(&mut self, depth: usize) -> Result<Condition> {
        if !self.take("(") {
            return self.test();
        }
        if depth >= DEPTH_MAX {
            return Err(refused("parentheses are nested too deeply"));
        }
        let inner = self.any(depth.saturating_add(1))?;
        if self.take(")") { Ok(inner) } else { Err(refused("a parenthesis is not closed")) }
    }

    fn test(&mut self) -> Result<Condition> {
        let path = self.path()?;
        let test = if self.take("!=") {
            Test::NotEqual(self.operand()?)
        } else if self.take("<=") {
            Test::LessOrEqual(self.number()?)
        } else if self.take(">=") {
            Test::GreaterOrEqual(self.number()?)
        } else if self.take("<") {
            Test::Less(self.number()?)
        } else if self.take(">") {
            Test::Greater(self.number()?)
        } else if self.take("=") {
            Test::Equal(self.operand()?)
        } else {
            self.words()?
        };
        Ok(Condition::Test { path, test })
    }

    fn words(&mut self) -> Result<Test> {
        let first = self.word().to_ascii_uppercase();
        let second = self.word().to_ascii_uppercase();
        match (first.as_str(), second.as_str()) {
            ("IS", "NULL") => Ok(Test::IsNull),
            ("IS", "TRUE") => Ok(Test::Is(true)),
            ("IS", "FALSE") => Ok(Test::Is(false)),
            ("NOT", "EXISTS") => Ok(Test::NotExists),
            _ => Err(refused("an operator is missing after a selector")),
        }
    }

    fn path(&mut self) -> Result<Vec<Step>> {
        if !self.take("$") {
            return Err(refused("a selector begins with '$'"));
        }
        let mut path = Vec::new();
        loop {
            if let Some(rest) = self.rest.strip_prefix('.') {
                self.rest = rest;
                let name = self.run(|c| c.is_alphanumeric() || c == '_' || c == '-');
                if name.is_empty() {
                    return Err(refused("a selector names no member"));
                }
                path.push(Step::Member(name));
            } else if let Some(rest) = self.rest.strip_prefix('[') {
                self.rest = rest;
                let at = self.run(|c| c.is_ascii_digit()).parse();
                let closed = self.rest.strip_prefix(']');
                let (Ok(at), Some(rest)) = (at, closed) else {
                    return Err(refused("a selector's index is not a number in brackets"));
                };
                self.rest = rest;
                path.push(Step::Element(at));
            } else if path.is_empty() {
                return Err(refused("a selector names no member"));
            } else {
                return Ok(path);
            }
        }
    }

    fn run(&mut self, fits: impl Fn(char) -> bool) -> String {
        let end = self.rest.find(|c| !fits(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken.to_owned()
    }

    fn word(&mut self) -> String {
        self.space();
        self.run(|c| c.is_ascii_alphabetic())
    }

    fn operand(&mut self) -> Result<Operand> {
        self.space();
        if self.rest.starts_with('"') {
            let (text, rest) = quoted(self.rest)?;
            self.rest = rest;
            return Ok(Operand::Text(text));
        }
        let text = self.run(|c| c.is_alphanumeric() || "_-.*+:/@".contains(c));
        if text.is_empty() {
            return Err(refused("a value is missing after an operator"));
        }
        Ok(match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Operand::Number(number, text),
            _ => Operand::Text(text),
        })
    }

    fn number(&mut self) -> Result<f64> {
        match self.operand()? {
            Operand::Number(number, _) => Ok(number),
            Operand::Text(_) => Err(refused("only numbers can be compared by order")),
        }
    }
}
