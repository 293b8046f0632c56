//! What is asked of a policy, and what it answers.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use crate::near::{Plain, cut};
use crate::{AccountId, Context};

/// One call to be decided.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `service:Name`, compared without case.
    pub action: &'a str,
    /// The ARN acted on, or `*` where the operation has no resource.
    pub resource: &'a str,
    /// Who calls. Only resource-based and trust policies look at it.
    pub principal: &'a Principal,
    /// The condition keys.
    pub context: &'a Context,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// Nobody known: an unsigned call.
    Anonymous,
    /// An AWS service by its host name, such as `apigateway.amazonaws.com`.
    Service(String),
    /// An account's root, a user, or a session of a role.
    Aws(AwsPrincipal),
}

/// An identity of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsPrincipal {
    /// The account the identity belongs to.
    pub account: AccountId,
    /// The ARN of the user, of the root, or of the assumed-role session.
    pub arn: String,
    /// For a session, the role's own ARN, path included.
    pub role_arn: Option<String>,
    /// The unique id of the user or role (`AIDA...`, `AROA...`), for grants that were bound to it.
    pub unique_id: Option<String>,
}

/// What a statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Lets the call through unless something denies it.
    Allow,
    /// Refuses the call whatever allows it.
    Deny,
}

/// What one document says about one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// `None`: the document is silent, which is an implicit deny.
    pub effect: Option<Effect>,
    /// The first statement, in the document's order, that had this effect.
    pub statement: Option<StatementRef>,
}

impl Verdict {
    /// Whether the document allows the request.
    #[must_use]
    pub fn is_allow(&self) -> bool {
        self.effect == Some(Effect::Allow)
    }

    /// Whether the document denies the request explicitly.
    #[must_use]
    pub fn is_deny(&self) -> bool {
        self.effect == Some(Effect::Deny)
    }
}

/// One statement of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementRef {
    /// Its place in the document, from 0.
    pub index: usize,
    /// Its `Sid`, if it has one.
    pub sid: Option<Arc<str>>,
}

impl Display for StatementRef {
    /// `statement Sid`, or `Statement[0]` without a `Sid`.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.sid {
            Some(sid) => write!(f, "statement {}", Plain(&cut(sid))),
            None => write!(f, "Statement[{}]", self.index),
        }
    }
}
