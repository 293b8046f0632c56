//! Combining the documents that bear on one call.

use crate::evaluate::{Effect, Principal, Request, StatementRef};
use crate::principal::Reach;
use crate::{Kind, Policy};

/// The documents that bear on one call.
#[derive(Debug, Clone, Copy)]
pub struct Decide<'a> {
    /// The caller's identity-based policies; for a Lambda authorizer, the policy it returned.
    pub identity: &'a [&'a Policy],
    /// The caller's permissions boundary.
    pub boundary: Option<&'a Policy>,
    /// The policies given when the session was made; `None` if none were. An empty list allows nothing.
    pub session: Option<&'a [&'a Policy]>,
    /// The policy of the resource acted on; a role's trust policy where the call assumes the role.
    pub resource: Option<&'a Policy>,
    /// Whether the caller's account owns the resource.
    pub same_account: bool,
    /// Whether the caller is the root of its account: it needs no identity-based allow and has no boundary.
    pub is_root: bool,
    /// The call.
    pub request: &'a Request<'a>,
}

/// The outcome for one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The call may go on.
    Allowed,
    /// The call is refused.
    Denied(Denial),
}

impl Decision {
    /// Whether the call may go on.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        *self == Decision::Allowed
    }
}

/// Why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The kind of policy to blame; only one is named.
    pub by: DeniedBy,
    /// The statement that denied, for an explicit deny.
    pub statement: Option<StatementRef>,
}

/// The kind of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeniedBy {
    /// The caller's own policies do not allow it.
    NoIdentityAllow,
    /// The resource's policy does not allow it, and is needed.
    NoResourceAllow,
    /// The permissions boundary does not allow it.
    NoBoundaryAllow,
    /// The session's policies do not allow it.
    NoSessionAllow,
    /// A statement of this kind of policy denies it.
    ExplicitDeny(PolicyKind),
}

/// The kinds of policy a refusal can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PolicyKind {
    /// Attached to the caller.
    Identity,
    /// Attached to the resource.
    Resource,
    /// The caller's permissions boundary.
    Boundary,
    /// Given when the session was made.
    Session,
}

/// Decides one call.
///
/// An explicit deny in any document ends it. In the same account an allow of the caller's own policies suffices, cut
/// by boundary and session policies; so does an allow of the resource's policy, which is cut likewise unless it names
/// the user or the session itself. A resource policy that names the account only delegates to it, so the caller still
/// needs an allow of its own. Across accounts both sides must allow. A trust policy must allow in every case. Services
/// and anonymous callers have no side of their own across accounts: the resource's policy alone decides.
///
/// Several kinds may be to blame; one is named, the explicit denies first, then the caller's side in the order
/// identity, boundary, session, then the resource.
///
/// Source: IAM User Guide, "Policy evaluation logic", "Cross-account policy evaluation logic".
#[must_use]
pub fn decide(input: &Decide<'_>) -> Decision {
    let request = input.request;
    let identity = survey(input.identity, request);
    let resource = input.resource.map(|policy| (policy.assess(request), policy.kind() == Kind::Trust));
    let boundary = input.boundary.map(|policy| survey(&[policy], request));
    let session = input.session.map(|policies| survey(policies, request));

    let denies = [
        (PolicyKind::Identity, identity.denied_by.as_ref()),
        (PolicyKind::Resource, resource.as_ref().and_then(|(assessed, _)| assessed.deny.as_ref())),
        (PolicyKind::Boundary, boundary.as_ref().and_then(|survey| survey.denied_by.as_ref())),
        (PolicyKind::Session, session.as_ref().and_then(|survey| survey.denied_by.as_ref())),
    ];
    for (kind, statement) in denies {
        if let Some(statement) = statement {
            return refuse(DeniedBy::ExplicitDeny(kind), Some(statement.clone()));
        }
    }

    let own = OwnSide {
        identity: identity.allows || input.is_root,
        boundary: input.is_root || boundary.is_none_or(|survey| survey.allows),
        session: session.is_none_or(|survey| survey.allows),
    };
    let reach = resource.as_ref().and_then(|(assessed, _)| assessed.allow);
    let trust = resource.as_ref().is_some_and(|(_, is_trust)| *is_trust);
    let missing = match (input.same_account, input.request.principal) {
        (false, Principal::Anonymous | Principal::Service(_)) => reach.is_none().then_some(DeniedBy::NoResourceAllow),
        (false, Principal::Aws(_)) => own.missing().or(reach.is_none().then_some(DeniedBy::NoResourceAllow)),
        (true, principal) => same_account(&own, reach, trust, principal, input),
    };
    missing.map_or(Decision::Allowed, |by| refuse(by, None))
}

fn refuse(by: DeniedBy, statement: Option<StatementRef>) -> Decision {
    Decision::Denied(Denial { by, statement })
}

fn same_account(
    own: &OwnSide,
    reach: Option<Reach>,
    trust: bool,
    principal: &Principal,
    input: &Decide<'_>,
) -> Option<DeniedBy> {
    let no_side = !matches!(principal, Principal::Aws(_)) && input.identity.is_empty() && !input.is_root;
    match reach {
        Some(Reach::Named) => None,
        // `*` in a trust policy lets a caller in but gives it nothing: with only that, any identity of the account could
        // take any such role. [U] An attempt by a user without policies on a role trusting `*` would settle it.
        Some(Reach::Everyone) if trust && !no_side => own.missing(),
        Some(Reach::Role | Reach::Everyone) => own.cut(),
        Some(Reach::Account) => own.missing(),
        None if trust || no_side => Some(DeniedBy::NoResourceAllow),
        None => own.missing(),
    }
}

/// What the caller's side says.
struct OwnSide {
    identity: bool,
    boundary: bool,
    session: bool,
}

impl OwnSide {
    fn missing(&self) -> Option<DeniedBy> {
        if self.identity { self.cut() } else { Some(DeniedBy::NoIdentityAllow) }
    }

    /// What limits an allow that does not come from the identity's own policies.
    fn cut(&self) -> Option<DeniedBy> {
        match (self.boundary, self.session) {
            (false, _) => Some(DeniedBy::NoBoundaryAllow),
            (true, false) => Some(DeniedBy::NoSessionAllow),
            (true, true) => None,
        }
    }
}

struct Survey {
    allows: bool,
    denied_by: Option<StatementRef>,
}

/// Policies of one kind attached to one identity count as one document.
fn survey(policies: &[&Policy], request: &Request<'_>) -> Survey {
    let mut survey = Survey { allows: false, denied_by: None };
    for policy in policies {
        let verdict = policy.evaluate(request);
        match verdict.effect {
            Some(Effect::Deny) => {
                survey.denied_by = verdict.statement;
                return survey;
            }
            Some(Effect::Allow) => survey.allows = true,
            None => {}
        }
    }
    survey
}

impl Denial {
    /// The sentence AWS answers: who may not do what on what, and which kind of policy is to blame.
    ///
    /// Source: IAM User Guide, "Troubleshoot access denied error messages".
    #[must_use]
    pub fn sentence(&self, principal_arn: &str, action: &str, resource: &str) -> String {
        let start = Denial::opening(principal_arn, action, resource);
        match self.by {
            DeniedBy::NoIdentityAllow => format!("{start} because no identity-based policy allows the {action} action"),
            DeniedBy::NoResourceAllow => format!("{start} because no resource-based policy allows the {action} action"),
            DeniedBy::NoBoundaryAllow => format!("{start} because no permissions boundary allows the {action} action"),
            DeniedBy::NoSessionAllow => format!("{start} because no session policy allows the {action} action"),
            DeniedBy::ExplicitDeny(kind) => format!("{start} with an explicit deny in {}", kind.with_article()),
        }
    }

    /// The sentence without its reason, as STS answers a refused `AssumeRole`.
    #[must_use]
    pub fn opening(principal_arn: &str, action: &str, resource: &str) -> String {
        format!("User: {principal_arn} is not authorized to perform: {action} on resource: {resource}")
    }
}

impl PolicyKind {
    /// The kind as the sentences name it.
    #[must_use]
    pub fn with_article(self) -> &'static str {
        match self {
            PolicyKind::Identity => "an identity-based policy",
            PolicyKind::Resource => "a resource-based policy",
            PolicyKind::Boundary => "a permissions boundary",
            PolicyKind::Session => "a session policy",
        }
    }
}
