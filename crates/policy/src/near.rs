//! Which statement came nearest to allowing a refused request, and on which of its elements it failed.
//!
//! Asked only once a request is refused, so it may take its time: every statement that allows is compared, by the same
//! comparisons that decide. The answer repeats what the policy says and what the request presented, cut to a length fit
//! for an explanation.

use std::cmp::Reverse;
use std::fmt::{self, Display, Formatter, Write as _};

use crate::evaluate::{Effect, Principal, StatementRef};

/// The most values of one list that an explanation repeats.
const VALUES_MAX: usize = 5;
/// The most characters of one text that an explanation repeats; a longer one ends in `...`.
const TEXT_CHARS_MAX: usize = 512;

/// The statement that came nearest to allowing a request, and why it did not.
///
/// `Display` puts it into one English sentence without a full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Near {
    /// Which statement of its document.
    pub statement: StatementRef,
    /// What it would have done had it applied.
    pub effect: Effect,
    /// Its first element that did not match, in the order principal, action, resource, conditions.
    pub failed: Failed,
}

/// An element that did not match, with what it says and what was asked.
///
/// `negated` tells that the element is the `Not` form: it then failed because what it lists was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failed {
    /// `Principal` or `NotPrincipal`.
    Principal {
        /// Whether it is `NotPrincipal`.
        negated: bool,
        /// The principals listed.
        written: Written,
        /// The caller: an ARN, a service's host name, or `anonymous`.
        asked: String,
        /// The element names an identity of the caller's name, but one that existed before the caller's.
        namesake: bool,
    },
    /// `Action` or `NotAction`.
    Action {
        /// Whether it is `NotAction`.
        negated: bool,
        /// The actions listed.
        written: Written,
        /// The action of the request.
        asked: String,
    },
    /// `Resource` or `NotResource`.
    Resource {
        /// Whether it is `NotResource`.
        negated: bool,
        /// The resources listed.
        written: Written,
        /// The resource of the request.
        asked: String,
    },
    /// One key under one operator.
    Condition {
        /// The operator as the document writes it, quantifier and `IfExists` included.
        operator: String,
        /// The key as the document writes it.
        key: String,
        /// The values listed.
        written: Written,
        /// The request's values of the key, joined by commas; `None` if the request does not have the key.
        presented: Option<String>,
    },
}

/// What an element lists, as the document writes it: the first five values, each cut to 512 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    values: Box<[Box<str>]>,
    omitted: usize,
}

impl Written {
    pub(crate) fn new<'t>(texts: impl Iterator<Item = &'t str>) -> Written {
        let mut texts = texts.fuse();
        let values = texts.by_ref().take(VALUES_MAX).map(|text| cut(text).into_boxed_str()).collect();
        Written { values, omitted: texts.count() }
    }

    /// The values kept, in the document's order.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(|value| &**value)
    }

    /// How many further values the document lists.
    #[must_use]
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// The most bytes that a value kept shares with the beginning of `text`.
    pub(crate) fn shared_bytes(&self, text: &str) -> usize {
        let shared = |value: &str| value.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
        self.values().map(shared).max().unwrap_or(0)
    }
}

/// A text as an explanation repeats it.
pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or("")),
        None => text.to_owned(),
    }
}

/// The values a request presents for a key, as an explanation repeats them.
pub(crate) fn presented(values: &[String]) -> String {
    let shown: Vec<&str> = values.iter().take(VALUES_MAX).map(String::as_str).collect();
    let joined = cut(&shown.join(", "));
    match values.len().saturating_sub(VALUES_MAX) {
        0 => joined,
        more => format!("{joined} and {more} more"),
    }
}

/// A caller as an explanation names it.
pub(crate) fn caller(principal: &Principal) -> String {
    match principal {
        Principal::Anonymous => "anonymous".to_owned(),
        Principal::Service(host) => cut(host),
        Principal::Aws(identity) => cut(&identity.arn),
    }
}

/// How near a statement came; the greater the nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Closeness {
    /// The elements that match. The action counts twice: a statement about another action has little to do with the
    /// request even if it is about every resource.
    pub(crate) elements: u8,
    /// The later the first failure in the order of elements, the more was already right.
    pub(crate) first: First,
    pub(crate) conditions_unmet: Reverse<usize>,
    /// Between statements about other resources, the one whose text agrees longest with the resource asked for.
    pub(crate) shared_bytes: usize,
}

/// The first element that does not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum First {
    Principal,
    Action,
    Resource,
    /// The condition's place in the statement.
    Condition(Reverse<usize>),
}

impl Display for Near {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} came nearest: {}", self.statement, self.failed)
    }
}

impl Display for Failed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Failed::Principal { written, asked, namesake: true, .. } => {
                write!(
                    f,
                    "its Principal is {written} of an earlier identity of that name, the caller was {}",
                    Plain(asked)
                )
            }
            Failed::Principal { negated, written, asked, .. } => {
                write!(f, "{} {written}, the caller was {}", lists("Principal", *negated), Plain(asked))
            }
            Failed::Action { negated, written, asked } => {
                write!(f, "{} {written}, asked was {}", lists("Action", *negated), Plain(asked))
            }
            Failed::Resource { negated, written, asked } => {
                write!(f, "{} {written}, asked was {}", lists("Resource", *negated), Plain(asked))
            }
            Failed::Condition { operator, key, written, presented } => {
                write!(f, "its condition {} {} wants {written}, ", Plain(operator), Plain(key))?;
                match presented {
                    Some(values) => write!(f, "presented was {}", Plain(values)),
                    None => f.write_str("the request has no such key"),
                }
            }
        }
    }
}

fn lists(element: &str, negated: bool) -> String {
    if negated { format!("its Not{element} excepts") } else { format!("its {element} is") }
}

impl Display for Written {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut texts: Vec<String> = self.values().map(|value| Plain(value).to_string()).collect();
        if self.omitted > 0 {
            texts.push(format!("{} more", self.omitted));
        }
        match texts.split_last() {
            None => f.write_str("an empty list"),
            Some((only, [])) => f.write_str(only),
            Some((last, others)) => write!(f, "{} or {last}", others.join(", ")),
        }
    }
}

/// A text on its way to a terminal or a log: control characters are written out.
pub(crate) struct Plain<'a>(pub(crate) &'a str);

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0
            .chars()
            .try_for_each(|c| if c.is_control() { write!(f, "{}", c.escape_default()) } else { f.write_char(c) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_and_texts_are_cut() {
        let long = "a".repeat(TEXT_CHARS_MAX + 1);
        let texts = [long.as_str(), "b", "c", "d", "e", "f", "g"];
        let written = Written::new(texts.into_iter());
        assert_eq!((written.values().count(), written.omitted()), (VALUES_MAX, 2));
        assert_eq!(written.to_string(), format!("{}..., b, c, d, e or 2 more", "a".repeat(TEXT_CHARS_MAX)));
        assert_eq!(cut(&"é".repeat(TEXT_CHARS_MAX)), "é".repeat(TEXT_CHARS_MAX));
        let values: Vec<String> = (0..7).map(|n| n.to_string()).collect();
        assert_eq!(presented(&values), "0, 1, 2, 3, 4 and 2 more");
        assert!(presented(&vec![long; 6]).len() <= TEXT_CHARS_MAX + 20);
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        let written = Written::new(["\u{1b}[31mred\n"].into_iter());
        assert_eq!(written.to_string(), "\\u{1b}[31mred\\n");
        assert_eq!(Written::new(std::iter::empty()).to_string(), "an empty list");
    }
}
