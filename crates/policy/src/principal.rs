//! The `Principal` and `NotPrincipal` elements.

use serde_json::Value;

use crate::error::Detail;
use crate::evaluate::AwsPrincipal;
use crate::near::{Failed, Written, caller};
use crate::{AccountId, Arn, ParseError, Principal};

/// How closely an element names the caller, from the loosest. It decides what else may cut the grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// The caller's account, which delegates to it.
    Account,
    /// Everyone.
    Everyone,
    /// The role of the caller's session.
    Role,
    /// The user, the session or the service itself.
    Named,
}

/// A `Principal` or `NotPrincipal` element.
#[derive(Debug, Clone)]
pub(crate) struct PrincipalElement {
    negated: bool,
    patterns: Box<[PrincipalPattern]>,
    written: Box<Written>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PrincipalPattern {
    Everyone,
    Account(AccountId),
    /// A user, role or session by its ARN; `unique_id` once the grant was bound to the identity of that moment.
    Identity {
        arn: Box<str>,
        unique_id: Option<Box<str>>,
    },
    UniqueId(Box<str>),
    Service(Box<str>),
    /// A federated or canonical user: kinds of caller that do not occur here, so nobody matches.
    Other,
}

impl PrincipalElement {
    /// Reads `"*"` or an object of `AWS`, `Service`, `Federated`, `CanonicalUser`, each with one value or a list.
    pub(crate) fn parse(element: &Value, negated: bool) -> Result<PrincipalElement, ParseError> {
        let mut patterns = Vec::new();
        let mut texts = Vec::new();
        match element {
            Value::String(text) if text == "*" => {
                texts.push("*");
                patterns.push(PrincipalPattern::Everyone);
            }
            Value::Object(kinds) => {
                for (kind, values) in kinds {
                    let values = match values {
                        Value::Array(values) => values.as_slice(),
                        value => std::slice::from_ref(value),
                    };
                    for value in values {
                        let text = value.as_str().ok_or_else(|| ParseError::syntax("a principal is a string"))?;
                        texts.push(text);
                        patterns.push(PrincipalPattern::parse(kind, text)?);
                    }
                }
            }
            Value::String(text) => return Err(invalid("AWS", text)),
            _ => return Err(ParseError::syntax("a principal is `*` or an object")),
        }
        if patterns.is_empty() {
            return Err(ParseError::syntax("a principal element without principals"));
        }
        let written = Box::new(Written::new(texts.into_iter()));
        Ok(PrincipalElement { negated, patterns: patterns.into_boxed_slice(), written })
    }

    /// How the element reaches the caller; `None` if it does not.
    pub(crate) fn reach(&self, principal: &Principal) -> Option<Reach> {
        let reach = self.patterns.iter().filter_map(|pattern| pattern.reach(principal)).max();
        match (self.negated, reach) {
            (false, reach) => reach,
            (true, None) => Some(Reach::Everyone),
            (true, Some(_)) => None,
        }
    }

    /// The element as an explanation names it once it does not reach the caller.
    pub(crate) fn failed(&self, principal: &Principal) -> Failed {
        let namesake = !self.negated && self.patterns.iter().any(|pattern| pattern.names_namesake(principal));
        Failed::Principal {
            negated: self.negated,
            written: (*self.written).clone(),
            asked: caller(principal),
            namesake,
        }
    }

    /// The ARNs of users and roles named.
    pub(crate) fn identities(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().filter_map(|pattern| match pattern {
            PrincipalPattern::Identity { arn, .. } if arn.contains(":iam:") => Some(&**arn),
            _ => None,
        })
    }

    /// Binds each user and role ARN to the unique id `resolve` gives.
    pub(crate) fn bind(&mut self, resolve: &mut dyn FnMut(&str) -> Option<String>) -> Result<(), ParseError> {
        for pattern in &mut self.patterns {
            if let PrincipalPattern::Identity { arn, unique_id } = pattern
                && arn.contains(":iam:")
            {
                let id = resolve(arn).ok_or_else(|| invalid("AWS", arn))?;
                *unique_id = Some(id.into_boxed_str());
            }
        }
        Ok(())
    }
}

fn invalid(kind: &str, text: &str) -> ParseError {
    ParseError::InvalidPrincipal(Detail::new(&format!("\"{kind}\":\"{text}\"")))
}

impl PrincipalPattern {
    fn parse(kind: &str, text: &str) -> Result<PrincipalPattern, ParseError> {
        let pattern = match kind {
            "AWS" => PrincipalPattern::parse_aws(text),
            "Service" => is_host_name(text).then(|| PrincipalPattern::Service(text.into())),
            "Federated" | "CanonicalUser" if !text.is_empty() && text != "*" => Some(PrincipalPattern::Other),
            _ => None,
        };
        pattern.ok_or_else(|| invalid(kind, text))
    }

    fn parse_aws(text: &str) -> Option<PrincipalPattern> {
        if text == "*" {
            return Some(PrincipalPattern::Everyone);
        }
        if let Ok(account) = text.parse() {
            return Some(PrincipalPattern::Account(account));
        }
        if is_unique_id(text) {
            return Some(PrincipalPattern::UniqueId(text.into()));
        }
        let arn = Arn::parse(text).ok()?;
        let account: AccountId = arn.account().parse().ok()?;
        if !arn.region().is_empty() || text.contains(['*', '?']) {
            return None;
        }
        let named = |kinds: &[&str]| kinds.iter().any(|kind| is_below(arn.resource(), kind));
        match (arn.service(), arn.resource()) {
            ("iam", "root") => Some(PrincipalPattern::Account(account)),
            ("iam", _) if named(&["user/", "role/"]) => {
                Some(PrincipalPattern::Identity { arn: text.into(), unique_id: None })
            }
            ("sts", _) if named(&["assumed-role/", "federated-user/"]) => {
                Some(PrincipalPattern::Identity { arn: text.into(), unique_id: None })
            }
            _ => None,
        }
    }

    fn reach(&self, principal: &Principal) -> Option<Reach> {
        match (self, principal) {
            (PrincipalPattern::Everyone, _) => Some(Reach::Everyone),
            (PrincipalPattern::Service(name), Principal::Service(caller)) => {
                (**name == **caller).then_some(Reach::Named)
            }
            (PrincipalPattern::Account(account), Principal::Aws(caller)) => {
                (*account == caller.account).then_some(Reach::Account)
            }
            (PrincipalPattern::Identity { arn, unique_id: None }, Principal::Aws(caller)) => {
                if **arn == *caller.arn {
                    Some(Reach::Named)
                } else {
                    caller.role_arn.as_deref().is_some_and(|role| **arn == *role).then_some(Reach::Role)
                }
            }
            (
                PrincipalPattern::Identity { unique_id: Some(id), .. } | PrincipalPattern::UniqueId(id),
                Principal::Aws(caller),
            ) => reach_by_id(id, caller),
            _ => None,
        }
    }
}

impl PrincipalPattern {
    /// Whether the caller has the name this grant was made for, but is not the identity it was bound to.
    fn names_namesake(&self, principal: &Principal) -> bool {
        match (self, principal) {
            (PrincipalPattern::Identity { arn, unique_id: Some(id) }, Principal::Aws(caller)) => {
                let named = **arn == *caller.arn || caller.role_arn.as_deref() == Some(&**arn);
                named && reach_by_id(id, caller).is_none()
            }
            _ => false,
        }
    }
}

fn reach_by_id(id: &str, caller: &AwsPrincipal) -> Option<Reach> {
    let same = caller.unique_id.as_deref() == Some(id);
    same.then_some(if caller.role_arn.is_some() { Reach::Role } else { Reach::Named })
}

fn is_below(resource: &str, kind: &str) -> bool {
    resource.strip_prefix(kind).is_some_and(|name| !name.is_empty())
}

/// `AIDA...` (user) or `AROA...` (role), as grants are kept once bound.
fn is_unique_id(text: &str) -> bool {
    let prefixed = text.starts_with("AIDA") || text.starts_with("AROA");
    prefixed && (16..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

fn is_host_name(text: &str) -> bool {
    let labels = text.split('.').all(|label| !label.is_empty());
    let characters = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    text.contains('.') && text.len() <= 253 && labels && characters
}
