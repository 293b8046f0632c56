//! Conditions: one operator, one key, its values.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::arn_pattern::ArnPattern;
use crate::error::Detail;
use crate::near::{Failed, Written, cut, presented};
use crate::template::{FoldedText, Syntax, Template};
use crate::values::{Cidr, Decimal, Moment, parse_bool};
use crate::{Context, ParseError};

/// How the values of a multivalued key are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantifier {
    One,
    ForAllValues,
    ForAnyValue,
}

/// One key under one operator.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    /// In lower case.
    key: Box<str>,
    quantifier: Quantifier,
    if_exists: bool,
    negated: bool,
    test: Test,
    text: Box<Text>,
}

/// A condition as the document writes it, for explanations.
#[derive(Debug, Clone)]
struct Text {
    operator: Box<str>,
    key: Box<str>,
    values: Written,
}

/// The positive form of an operator with the values it may match.
#[derive(Debug, Clone)]
enum Test {
    /// `StringEquals` and `StringLike`: they differ only in whether their text was read with wildcards.
    Text(Box<[Template]>),
    Folded(Box<[FoldedText]>),
    Numeric(Comparison, Box<[Box<str>]>),
    Date(Comparison, Box<[Moment]>),
    Bool(Box<[bool]>),
    Binary(Box<[Vec<u8>]>),
    Address(Box<[Cidr]>),
    Arn(Box<[ArnPattern]>),
    Null(Box<[bool]>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    /// Whether the request's value stands to the policy's as asked.
    fn holds(self, request_to_policy: Ordering) -> bool {
        match self {
            Comparison::Equal => request_to_policy.is_eq(),
            Comparison::Less => request_to_policy.is_lt(),
            Comparison::LessOrEqual => request_to_policy.is_le(),
            Comparison::Greater => request_to_policy.is_gt(),
            Comparison::GreaterOrEqual => request_to_policy.is_ge(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    StringEquals,
    StringEqualsIgnoreCase,
    StringLike,
    Numeric(Comparison),
    Date(Comparison),
    Bool,
    Binary,
    Address,
    Arn,
    Null,
}

/// The operators by their names in lower case; the flag marks the negated ones.
///
/// Source: IAM User Guide, "IAM JSON policy elements: Condition operators".
const OPERATORS: &[(&str, Family, bool)] = &[
    ("stringequals", Family::StringEquals, false),
    ("stringnotequals", Family::StringEquals, true),
    ("stringequalsignorecase", Family::StringEqualsIgnoreCase, false),
    ("stringnotequalsignorecase", Family::StringEqualsIgnoreCase, true),
    ("stringlike", Family::StringLike, false),
    ("stringnotlike", Family::StringLike, true),
    ("numericequals", Family::Numeric(Comparison::Equal), false),
    ("numericnotequals", Family::Numeric(Comparison::Equal), true),
    ("numericlessthan", Family::Numeric(Comparison::Less), false),
    ("numericlessthanequals", Family::Numeric(Comparison::LessOrEqual), false),
    ("numericgreaterthan", Family::Numeric(Comparison::Greater), false),
    ("numericgreaterthanequals", Family::Numeric(Comparison::GreaterOrEqual), false),
    ("dateequals", Family::Date(Comparison::Equal), false),
    ("datenotequals", Family::Date(Comparison::Equal), true),
    ("datelessthan", Family::Date(Comparison::Less), false),
    ("datelessthanequals", Family::Date(Comparison::LessOrEqual), false),
    ("dategreaterthan", Family::Date(Comparison::Greater), false),
    ("dategreaterthanequals", Family::Date(Comparison::GreaterOrEqual), false),
    ("bool", Family::Bool, false),
    ("binaryequals", Family::Binary, false),
    ("ipaddress", Family::Address, false),
    ("notipaddress", Family::Address, true),
    ("arnequals", Family::Arn, false),
    ("arnnotequals", Family::Arn, true),
    ("arnlike", Family::Arn, false),
    ("arnnotlike", Family::Arn, true),
    ("null", Family::Null, false),
];

#[derive(Clone, Copy)]
struct Operator {
    family: Family,
    negated: bool,
    quantifier: Quantifier,
    if_exists: bool,
}

impl Operator {
    /// Reads a name in any case, with an optional quantifier before and `IfExists` after it.
    fn parse(name: &str) -> Result<Operator, ParseError> {
        let unknown = || ParseError::UnknownOperator(Detail::new(name));
        let lower = name.to_ascii_lowercase();
        let (quantifier, rest) = match lower.split_once(':') {
            None => (Quantifier::One, lower.as_str()),
            Some(("forallvalues", rest)) => (Quantifier::ForAllValues, rest),
            Some(("foranyvalue", rest)) => (Quantifier::ForAnyValue, rest),
            Some(_) => return Err(unknown()),
        };
        let (rest, if_exists) = rest.strip_suffix("ifexists").map_or((rest, false), |rest| (rest, true));
        let (_, family, negated) = OPERATORS.iter().find(|(known, ..)| *known == rest).ok_or_else(unknown)?;
        // `Null` asks about presence itself, so neither addition has a meaning for it.
        if *family == Family::Null && (if_exists || quantifier != Quantifier::One) {
            return Err(unknown());
        }
        Ok(Operator { family: *family, negated: *negated, quantifier, if_exists })
    }
}

/// Reads a `Condition` element; all the conditions must hold.
///
/// # Errors
/// [`ParseError::UnknownOperator`], [`ParseError::InvalidConditionValue`] for a value its operator cannot compare, and
/// [`ParseError::Syntax`] for a shape that is none. Nothing is ever left out: a condition that is not understood
/// refuses the document.
pub(crate) fn parse(element: &Value, variables: bool) -> Result<Box<[Condition]>, ParseError> {
    let operators = object(element)?;
    let mut conditions = Vec::new();
    for (name, keys) in operators {
        let operator = Operator::parse(name)?;
        for (key, values) in object(keys)? {
            if !key.contains(':') {
                return Err(ParseError::syntax(&format!("the condition key `{key}` has no service before a colon")));
            }
            let values = texts(values)?;
            let text = Text {
                operator: name.as_str().into(),
                key: cut(key).into_boxed_str(),
                values: Written::new(values.iter().map(|value| &**value)),
            };
            conditions.push(Condition {
                key: key.to_ascii_lowercase().into_boxed_str(),
                quantifier: operator.quantifier,
                if_exists: operator.if_exists,
                negated: operator.negated,
                test: Test::parse(operator.family, &values, variables)?,
                text: Box::new(text),
            });
        }
    }
    Ok(conditions.into_boxed_slice())
}

fn object(value: &Value) -> Result<&Map<String, Value>, ParseError> {
    value.as_object().ok_or_else(|| ParseError::syntax("a condition is an object of operators, each of keys"))
}

/// The values of a key: one or a list; numbers and booleans may stand unquoted.
fn texts(value: &Value) -> Result<Vec<Cow<'_, str>>, ParseError> {
    match value {
        Value::Array(values) => values.iter().map(text).collect(),
        value => Ok(vec![text(value)?]),
    }
}

fn text(value: &Value) -> Result<Cow<'_, str>, ParseError> {
    match value {
        Value::String(text) => Ok(Cow::Borrowed(text)),
        Value::Number(number) => Ok(Cow::Owned(number.to_string())),
        Value::Bool(flag) => Ok(Cow::Borrowed(if *flag { "true" } else { "false" })),
        _ => Err(ParseError::syntax("a condition value is a string, a number or a boolean")),
    }
}

impl Test {
    fn parse(family: Family, texts: &[Cow<'_, str>], variables: bool) -> Result<Test, ParseError> {
        fn all<T>(
            texts: &[Cow<'_, str>],
            read: impl Fn(&str) -> Result<T, ParseError>,
        ) -> Result<Box<[T]>, ParseError> {
            texts.iter().map(|text| read(text)).collect()
        }
        fn or_invalid<T>(text: &str, value: Option<T>) -> Result<T, ParseError> {
            value.ok_or_else(|| ParseError::InvalidConditionValue(Detail::new(text)))
        }
        let text = |wildcards| all(texts, |text| Template::parse(text, Syntax { wildcards, variables }));
        Ok(match family {
            Family::StringEquals => Test::Text(text(false)?),
            Family::StringLike => Test::Text(text(true)?),
            Family::StringEqualsIgnoreCase => Test::Folded(all(texts, |text| FoldedText::parse(text, variables))?),
            Family::Numeric(comparison) => {
                let number = |text: &str| or_invalid(text, Decimal::parse(text).map(|_| Box::from(text)));
                Test::Numeric(comparison, all(texts, number)?)
            }
            Family::Date(comparison) => {
                Test::Date(comparison, all(texts, |text| or_invalid(text, Moment::parse(text)))?)
            }
            Family::Bool => Test::Bool(all(texts, |text| or_invalid(text, parse_bool(text)))?),
            Family::Null => Test::Null(all(texts, |text| or_invalid(text, parse_bool(text)))?),
            Family::Binary => Test::Binary(all(texts, |text| or_invalid(text, STANDARD.decode(text).ok()))?),
            Family::Address => Test::Address(all(texts, |text| or_invalid(text, Cidr::parse(text)))?),
            Family::Arn => Test::Arn(all(texts, |text| ArnPattern::parse(text, variables))?),
        })
    }

    /// Whether one value of the request matches any value of the policy. A value the operator cannot read matches none.
    fn matches_any(&self, value: &str, context: &Context) -> bool {
        match self {
            Test::Text(templates) => templates.iter().any(|t| t.matches(value, context) == Some(true)),
            Test::Folded(texts) => texts.iter().any(|text| text.matches(value, context)),
            Test::Numeric(comparison, numbers) => Decimal::parse(value).is_some_and(|value| {
                numbers.iter().filter_map(|n| Decimal::parse(n)).any(|number| comparison.holds(value.order(&number)))
            }),
            Test::Date(comparison, moments) => Moment::parse(value)
                .is_some_and(|value| moments.iter().any(|moment| comparison.holds(value.cmp(moment)))),
            Test::Bool(flags) => parse_bool(value).is_some_and(|value| flags.contains(&value)),
            Test::Binary(wanted) => STANDARD.decode(value).is_ok_and(|value| wanted.contains(&value)),
            Test::Address(blocks) => {
                value.parse::<IpAddr>().is_ok_and(|address| blocks.iter().any(|block| block.contains(address)))
            }
            Test::Arn(patterns) => patterns.iter().any(|pattern| pattern.matches(value, context)),
            Test::Null(_) => false,
        }
    }
}

impl Condition {
    /// Whether the condition holds for the request.
    pub(crate) fn holds(&self, context: &Context) -> bool {
        let values = context.get(&self.key);
        if let Test::Null(absent) = &self.test {
            return absent.contains(&values.is_none());
        }
        let holds_for = |value: &String| self.test.matches_any(value, context) != self.negated;
        match (self.quantifier, values) {
            (_, None) if self.if_exists => true,
            (Quantifier::One, None) => self.negated,
            // [U] AWS documents single-valued operators for single-valued keys only. With several values, any match
            // counts as a match, so a negated operator holds only if none matches.
            (Quantifier::One, Some(values)) => {
                values.iter().any(|value| self.test.matches_any(value, context)) != self.negated
            }
            (Quantifier::ForAllValues, None) => true,
            (Quantifier::ForAnyValue, None) => false,
            // A lone empty string counts as no value at all.
            (Quantifier::ForAllValues, Some(values)) => is_blank(values) || values.iter().all(holds_for),
            (Quantifier::ForAnyValue, Some(values)) => !is_blank(values) && values.iter().any(holds_for),
        }
    }
}

impl Condition {
    /// The condition as an explanation names it once it does not hold.
    pub(crate) fn failed(&self, context: &Context) -> Failed {
        Failed::Condition {
            operator: self.text.operator.to_string(),
            key: self.text.key.to_string(),
            written: self.text.values.clone(),
            presented: context.get(&self.key).map(presented),
        }
    }
}

fn is_blank(values: &[String]) -> bool {
    matches!(values, [only] if only.is_empty())
}
