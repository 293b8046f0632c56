//! Documents: from text to the compiled form, and what that says about a request.

use serde_json::Value;

use crate::arn_pattern::Cut;
use crate::evaluate::{Effect, Request, StatementRef, Verdict};
use crate::index::{Entry, Headed, Index};
use crate::near::{Closeness, Near};
use crate::principal::Reach;
use crate::statement::{Prepared, Statement};
use crate::wildcard::literal_head;
use crate::{AUTHORIZER_BYTES_MAX, DOCUMENT_BYTES_MAX, NESTING_MAX, ParseError, json, raw};

/// What a document is for; each kind has its own rules of form.
///
/// | Kind | `Version` | `Principal` | `Resource` |
/// |---|---|---|---|
/// | Identity, Boundary | 2012-10-17 | must not stand | ARN pattern or `*` |
/// | Session | either, 2008-10-17 if absent | must not stand | ARN pattern or `*` |
/// | Resource | either | must stand | ARN pattern or `*` |
/// | Trust | either | must stand | must not stand; actions are `sts:` ones |
/// | Authorizer | either | ignored | anything of at most 512 characters; an empty list matches nothing |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Attached to a user, group or role, inline or managed.
    Identity,
    /// Attached to a resource. Abbreviated resources (`execute-api:/*`) must be expanded before.
    Resource,
    /// A role's trust policy.
    Trust,
    /// A permissions boundary.
    Boundary,
    /// Given to `AssumeRole`.
    Session,
    /// Returned by a Lambda authorizer.
    Authorizer,
}

impl Kind {
    pub(crate) fn has_principal(self) -> bool {
        matches!(self, Kind::Resource | Kind::Trust)
    }

    /// \[U\] IAM refuses the old version in managed policies; whether it does so for inline ones is not documented.
    pub(crate) fn needs_2012(self) -> bool {
        matches!(self, Kind::Identity | Kind::Boundary)
    }

    fn bytes_max(self) -> usize {
        if self == Kind::Authorizer { AUTHORIZER_BYTES_MAX } else { DOCUMENT_BYTES_MAX }
    }
}

/// The version of the policy language a document is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// `2008-10-17`, also when the document does not say: `${...}` is plain text.
    V2008,
    /// `2012-10-17`: `${...}` is a policy variable.
    V2012,
}

/// A policy: parsed, checked for its kind, compiled, immutable.
#[derive(Debug, Clone)]
pub struct Policy {
    kind: Kind,
    version: Version,
    statements: Box<[Statement]>,
    index: Index,
}

/// Everything one pass over a document finds.
pub(crate) struct Assessment {
    /// The first statement that denies.
    pub(crate) deny: Option<StatementRef>,
    /// The closest reach of the statements that allow, and the first of that reach; not looked for once something denies.
    pub(crate) allow: Option<(Reach, StatementRef)>,
}

/// The statements, by their index, that deny and allow.
#[derive(Default)]
struct Found {
    /// The first.
    deny: Option<usize>,
    /// The first, or the first of the closest reach where all were looked at.
    allow: Option<(Reach, usize)>,
}

/// Bytes of an action lowered on the stack; a longer one is lowered on the heap.
const ACTION_STACK_BYTES: usize = 128;

impl Policy {
    /// Reads a document of the given kind. The text is at most [`DOCUMENT_BYTES_MAX`] bytes long
    /// ([`AUTHORIZER_BYTES_MAX`] for an authorizer's) and nested at most [`NESTING_MAX`] levels deep.
    ///
    /// # Errors
    /// The first fault found, see [`ParseError`]. An operator, element or value that is not understood refuses the
    /// whole document: nothing is ever ignored.
    pub fn parse(text: &str, kind: Kind) -> Result<Policy, ParseError> {
        if text.len() > kind.bytes_max() {
            return Err(ParseError::TooLong(kind.bytes_max()));
        }
        Policy::compile(&json::parse_json(text)?, kind)
    }

    /// Reads a document that was part of a larger JSON text, within the same limits, its compact form being measured.
    ///
    /// Members that stood there twice can no longer be seen; read the larger text with [`crate::parse_json`].
    ///
    /// # Errors
    /// As [`Policy::parse`].
    pub fn from_value(value: &Value, kind: Kind) -> Result<Policy, ParseError> {
        if !json::is_shallow(value, NESTING_MAX) {
            return Err(ParseError::TooDeep);
        }
        if json::compact_bytes(value, kind.bytes_max()).is_none() {
            return Err(ParseError::TooLong(kind.bytes_max()));
        }
        Policy::compile(value, kind)
    }

    fn compile(value: &Value, kind: Kind) -> Result<Policy, ParseError> {
        let document = raw::read(value, kind)?;
        let version = document.version;
        let compiled = document.statements.iter().map(|raw| Statement::compile(raw, version, kind));
        let statements = compiled.collect::<Result<Box<[_]>, _>>()?;
        let index = Index::build(action_heads(&document), resource_heads(&document, &statements));
        Ok(Policy { kind, version, statements, index })
    }

    /// What this document alone says: the first statement that denies, else the first that allows, else nothing.
    ///
    /// Allocates only where a policy variable must be filled in, a base64 value read, or an action is longer than 128
    /// bytes. Time grows with the statements whose literal beginnings fit the request, not with the others.
    ///
    /// Source: IAM User Guide, "Policy evaluation logic".
    #[must_use]
    pub fn evaluate(&self, request: &Request<'_>) -> Verdict {
        let found = self.find(request, false);
        let (effect, at) = match (found.deny, found.allow) {
            (Some(at), _) => (Effect::Deny, at),
            (None, Some((_, at))) => (Effect::Allow, at),
            (None, None) => return Verdict { effect: None, statement: None },
        };
        Verdict { effect: Some(effect), statement: self.reference(at) }
    }

    /// Which statement that allows came nearest to this request, and on which element it failed. `None` if one applies,
    /// or if no statement allows anything.
    ///
    /// Meant for requests already refused: it compares every statement, and allocates. Nearest is where the most of
    /// principal, action, resource and conditions match; the first of equals in the document's order.
    #[must_use]
    pub fn nearest(&self, request: &Request<'_>) -> Option<Near> {
        self.nearest_ranked(request).map(|(_, near)| near)
    }

    pub(crate) fn nearest_ranked(&self, request: &Request<'_>) -> Option<(Closeness, Near)> {
        let action = request.action.to_ascii_lowercase();
        let prepared = Prepared { request, action: &action, resource: Cut::new(request.resource) };
        let mut best: Option<(Closeness, usize)> = None;
        for (at, statement) in self.statements.iter().enumerate().filter(|(_, s)| s.effect == Effect::Allow) {
            let closeness = statement.closeness(&prepared)?;
            if best.is_none_or(|(nearest, _)| nearest < closeness) {
                best = Some((closeness, at));
            }
        }
        let (closeness, at) = best?;
        let statement = self.statements.get(at)?;
        let failed = statement.failed(closeness.first, request)?;
        Some((closeness, Near { statement: statement.reference(at), effect: statement.effect, failed }))
    }

    /// How many statements the document has.
    #[must_use]
    pub fn statements_len(&self) -> usize {
        self.statements.len()
    }

    /// What the document was read as.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The language version it declares.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The ARNs of the IAM users and roles its statements name as principals, for a check that they exist.
    pub fn identity_principals(&self) -> impl Iterator<Item = &str> {
        self.statements.iter().filter_map(|statement| statement.principal.as_ref()).flat_map(|p| p.identities())
    }

    /// Binds the users and roles named to the identities of this moment: `resolve` gives the unique id behind an ARN.
    /// A namesake created later does not inherit the grant.
    ///
    /// Source: IAM User Guide, "AWS JSON policy elements: Principal".
    ///
    /// # Errors
    /// [`ParseError::InvalidPrincipal`] for the first ARN `resolve` does not know.
    pub fn bind_principals(mut self, mut resolve: impl FnMut(&str) -> Option<String>) -> Result<Policy, ParseError> {
        for statement in &mut self.statements {
            if let Some(element) = &mut statement.principal {
                element.bind(&mut resolve)?;
            }
        }
        Ok(self)
    }

    /// As [`Policy::evaluate`], with what [`crate::decide()`] needs to know of a resource's policy.
    pub(crate) fn assess(&self, request: &Request<'_>) -> Assessment {
        let found = self.find(request, true);
        let allow = found.allow.and_then(|(reach, at)| Some((reach, self.reference(at)?)));
        Assessment { deny: found.deny.and_then(|at| self.reference(at)), allow }
    }

    fn reference(&self, at: usize) -> Option<StatementRef> {
        self.statements.get(at).map(|statement| statement.reference(at))
    }

    /// Looks through the candidates. Without `all_allows` those allows are skipped that cannot come first.
    fn find(&self, request: &Request<'_>, all_allows: bool) -> Found {
        let mut stack = [0_u8; ACTION_STACK_BYTES];
        let heap;
        let action = match lower_on_stack(request.action, &mut stack) {
            Some(action) => action,
            None => {
                heap = request.action.to_ascii_lowercase();
                heap.as_str()
            }
        };
        let prepared = Prepared { request, action, resource: Cut::new(request.resource) };
        let mut found = Found::default();
        let mut settled = Settled::default();
        for entry in self.index.candidates(&prepared) {
            let Some(statement) = self.statements.get(entry.statement) else { continue };
            let at = entry.statement;
            let useless = match statement.effect {
                Effect::Deny => found.deny.is_some_and(|first| first <= at),
                Effect::Allow => {
                    found.deny.is_some() || (!all_allows && found.allow.is_some_and(|(_, first)| first <= at))
                }
            };
            if useless || settled.contains(at) || !self.index.pattern_fits(entry, statement, &prepared) {
                continue;
            }
            settled.insert(at);
            if !self.index.other_side_fits(statement, &prepared) {
                continue;
            }
            let Some(reach) = statement.reach(request) else { continue };
            match statement.effect {
                Effect::Deny => found.deny = Some(at),
                Effect::Allow => {
                    let closer = |(closest, first): (Reach, usize)| {
                        let by_place = at < first;
                        if all_allows { reach > closest || (reach == closest && by_place) } else { by_place }
                    };
                    if found.allow.is_none_or(closer) {
                        found.allow = Some((reach, at));
                    }
                }
            }
        }
        found
    }
}

/// The statements asked already: each is asked once, however many of its patterns fit, or lists would multiply.
///
/// Of the statements beyond those that have a bit here only the last is known. A document has room for few heads inside
/// one another for each of so many statements, so little is asked again.
#[derive(Default)]
struct Settled {
    bits: [u64; 16],
    last: Option<usize>,
}

impl Settled {
    fn place(at: usize) -> (usize, u64) {
        (at / 64, 1_u64.wrapping_shl(u32::try_from(at % 64).unwrap_or(0)))
    }

    fn contains(&self, at: usize) -> bool {
        let (word, bit) = Settled::place(at);
        self.bits.get(word).map_or(self.last == Some(at), |word| word & bit != 0)
    }

    fn insert(&mut self, at: usize) {
        let (word, bit) = Settled::place(at);
        match self.bits.get_mut(word) {
            Some(word) => *word |= bit,
            None => self.last = Some(at),
        }
    }
}

fn lower_on_stack<'s>(action: &str, stack: &'s mut [u8; ACTION_STACK_BYTES]) -> Option<&'s str> {
    let lowered = stack.get_mut(..action.len())?;
    lowered.copy_from_slice(action.as_bytes());
    lowered.make_ascii_lowercase();
    std::str::from_utf8(lowered).ok()
}

fn action_heads(document: &raw::Document<'_>) -> Vec<Headed> {
    let mut headed = Vec::new();
    for (at, statement) in document.statements.iter().enumerate() {
        let weight = weight(statement.resources.as_ref());
        match &statement.actions {
            Some(actions) if !actions.negated => {
                headed.extend(actions.content.iter().enumerate().map(|(pattern, text)| {
                    let head = literal_head(text).to_ascii_lowercase().into_boxed_str();
                    Headed { head, weight, entry: Entry::pattern(at, pattern) }
                }));
            }
            _ => headed.push(Headed { head: Box::default(), weight, entry: Entry::whole(at) }),
        }
    }
    headed
}

fn resource_heads(document: &raw::Document<'_>, statements: &[Statement]) -> Vec<Headed> {
    let mut headed = Vec::new();
    for (at, (raw, compiled)) in document.statements.iter().zip(statements).enumerate() {
        let weight = weight(raw.actions.as_ref());
        match (&raw.resources, &compiled.resources) {
            (Some(texts), Some(resources)) if !resources.negated => {
                let pairs = resources.patterns.iter().zip(&texts.content).enumerate();
                headed.extend(pairs.filter_map(|(pattern, (compiled, text))| {
                    let head = compiled.head(text)?.into();
                    Some(Headed { head, weight, entry: Entry::pattern(at, pattern) })
                }));
            }
            _ => headed.push(Headed { head: Box::default(), weight, entry: Entry::whole(at) }),
        }
    }
    headed
}

/// How many patterns an element makes a decision compare.
fn weight(element: Option<&raw::Element<Vec<&str>>>) -> usize {
    element.map_or(1, |element| element.content.len().max(1))
}
