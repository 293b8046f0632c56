//! Combining the documents that bear on one call.

use crate::evaluate::{Effect, Principal, Request, StatementRef};
use crate::near::{Closeness, Near};
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

/// A decision with what each kind of policy said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The decision.
    pub decision: Decision,
    /// The statements of the policies that allow, one for each kind of policy that does, whether or not another alone
    /// would have sufficed; also where the call is refused in the end. Empty under an explicit deny, and where a root
    /// user acts by right.
    pub grounds: Vec<Ground>,
    /// The statement that denies, for an explicit deny.
    pub denied: Option<Ground>,
}

/// One statement that bears on a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ground {
    /// The kind of its policy.
    pub kind: PolicyKind,
    /// The policy's place among those of its kind in [`Decide`], from 0.
    pub policy: usize,
    /// The statement.
    pub statement: StatementRef,
}

/// Where a refused call came nearest to being allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearIn {
    /// The kind of policy whose allow was missing.
    pub kind: PolicyKind,
    /// The policy's place among those of its kind in [`Decide`], from 0.
    pub policy: usize,
    /// The statement and what it failed on.
    pub near: Near,
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
    Surveys::new(input).decide(input)
}

/// As [`decide()`], also telling which statements the decision rests on.
#[must_use]
pub fn judge(input: &Decide<'_>) -> Judgement {
    let surveys = Surveys::new(input);
    let decision = surveys.decide(input);
    let denied = surveys.denied().map(|(kind, at)| at.ground(kind));
    let grounds = if denied.is_some() { Vec::new() } else { surveys.grounds() };
    Judgement { decision, grounds, denied }
}

/// Where a refused call came nearest to being allowed, among the policies whose allow was missing. `None` for an
/// explicit deny, and where no such policy has a statement that allows anything.
///
/// As costly as [`Policy::nearest`] of each of these policies.
#[must_use]
pub fn nearest(input: &Decide<'_>, by: DeniedBy) -> Option<NearIn> {
    let (kind, policies) = match by {
        DeniedBy::NoIdentityAllow => (PolicyKind::Identity, input.identity),
        DeniedBy::NoResourceAllow => (PolicyKind::Resource, input.resource.as_slice()),
        DeniedBy::NoBoundaryAllow => (PolicyKind::Boundary, input.boundary.as_slice()),
        DeniedBy::NoSessionAllow => (PolicyKind::Session, input.session.unwrap_or_default()),
        DeniedBy::ExplicitDeny(_) => return None,
    };
    let mut best: Option<(Closeness, NearIn)> = None;
    for (policy, document) in policies.iter().enumerate() {
        let Some((closeness, near)) = document.nearest_ranked(input.request) else { continue };
        if best.as_ref().is_none_or(|(nearest, _)| *nearest < closeness) {
            best = Some((closeness, NearIn { kind, policy, near }));
        }
    }
    best.map(|(_, near)| near)
}

/// What the policies of each kind say.
struct Surveys {
    identity: Survey,
    boundary: Option<Survey>,
    session: Option<Survey>,
    resource: Option<OfResource>,
}

struct OfResource {
    survey: Survey,
    /// How closely the allow names the caller.
    reach: Option<Reach>,
    trust: bool,
}

impl Surveys {
    fn new(input: &Decide<'_>) -> Surveys {
        let request = input.request;
        Surveys {
            identity: survey(input.identity, request),
            boundary: input.boundary.map(|policy| survey(&[policy], request)),
            session: input.session.map(|policies| survey(policies, request)),
            resource: input.resource.map(|policy| OfResource::new(policy, request)),
        }
    }

    fn kinds(&self) -> [(PolicyKind, Option<&Survey>); 4] {
        [
            (PolicyKind::Identity, Some(&self.identity)),
            (PolicyKind::Resource, self.resource.as_ref().map(|resource| &resource.survey)),
            (PolicyKind::Boundary, self.boundary.as_ref()),
            (PolicyKind::Session, self.session.as_ref()),
        ]
    }

    fn denied(&self) -> Option<(PolicyKind, &Place)> {
        self.kinds().into_iter().find_map(|(kind, survey)| Some((kind, survey?.denied.as_ref()?)))
    }

    fn grounds(&self) -> Vec<Ground> {
        let allowed = self.kinds().into_iter().filter_map(|(kind, survey)| Some((kind, survey?.allowed.as_ref()?)));
        allowed.map(|(kind, at)| at.ground(kind)).collect()
    }

    fn decide(&self, input: &Decide<'_>) -> Decision {
        if let Some((kind, at)) = self.denied() {
            return refuse(DeniedBy::ExplicitDeny(kind), Some(at.statement.clone()));
        }
        let own = OwnSide {
            identity: self.identity.allows() || input.is_root,
            boundary: input.is_root || self.boundary.as_ref().is_none_or(Survey::allows),
            session: self.session.as_ref().is_none_or(Survey::allows),
        };
        let reach = self.resource.as_ref().and_then(|resource| resource.reach);
        let trust = self.resource.as_ref().is_some_and(|resource| resource.trust);
        let missing = match (input.same_account, input.request.principal) {
            (false, Principal::Anonymous | Principal::Service(_)) => {
                reach.is_none().then_some(DeniedBy::NoResourceAllow)
            }
            (false, Principal::Aws(_)) => own.missing().or(reach.is_none().then_some(DeniedBy::NoResourceAllow)),
            (true, principal) => same_account(&own, reach, trust, principal, input),
        };
        missing.map_or(Decision::Allowed, |by| refuse(by, None))
    }
}

impl OfResource {
    fn new(policy: &Policy, request: &Request<'_>) -> OfResource {
        let assessed = policy.assess(request);
        let (reach, allowed) = assessed.allow.unzip();
        let place = |statement| Place { policy: 0, statement };
        let survey = Survey { allowed: allowed.map(place), denied: assessed.deny.map(place) };
        OfResource { survey, reach, trust: policy.kind() == Kind::Trust }
    }
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

/// What the policies of one kind say.
struct Survey {
    /// The first that allows.
    allowed: Option<Place>,
    /// The first that denies.
    denied: Option<Place>,
}

impl Survey {
    fn allows(&self) -> bool {
        self.allowed.is_some()
    }
}

/// A statement by its policy's place in a list.
struct Place {
    policy: usize,
    statement: StatementRef,
}

impl Place {
    fn ground(&self, kind: PolicyKind) -> Ground {
        Ground { kind, policy: self.policy, statement: self.statement.clone() }
    }
}

/// Policies of one kind attached to one identity count as one document.
fn survey(policies: &[&Policy], request: &Request<'_>) -> Survey {
    let mut survey = Survey { allowed: None, denied: None };
    for (at, policy) in policies.iter().enumerate() {
        let verdict = policy.evaluate(request);
        let place = verdict.statement.map(|statement| Place { policy: at, statement });
        match verdict.effect {
            Some(Effect::Deny) => {
                survey.denied = place;
                return survey;
            }
            Some(Effect::Allow) if survey.allowed.is_none() => survey.allowed = place,
            Some(Effect::Allow) | None => {}
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
