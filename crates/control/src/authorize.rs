//! Whether a caller may do what a call needs: identity policies, boundaries, session policies, resource policies.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use policy::{Context, Decide, Decision, Denial, DeniedBy, Kind, Policy, Request, decide};
use serde_json::{Value, json};
use service::{Caller, Need, Result, ServiceError, Timestamp, Tx};
use sha2::{Digest, Sha256};
use wire::table::{Protocol, Service};

/// Compiled policies kept by the hash of their text; when full it starts anew.
const COMPILED_MAX: usize = 4096;

/// What is known of a call besides who signed it, for condition keys.
pub struct Circumstances<'a> {
    /// The client's address.
    pub source_ip: std::net::IpAddr,
    /// `User-Agent`, if sent.
    pub user_agent: Option<&'a str>,
    /// Whether the call came over TLS.
    pub secure: bool,
    /// The region the call was signed for.
    pub region: &'a str,
    /// When.
    pub now: Timestamp,
}

/// Compiles policies once per text.
#[derive(Default)]
pub struct Compiled {
    by_hash: Mutex<HashMap<[u8; 33], Arc<Policy>>>,
}

impl Compiled {
    /// The compiled form of a stored document.
    ///
    /// # Errors
    /// 5xx when a stored document does not parse: it was checked when it was stored, so the caller is refused.
    pub fn get(&self, text: &str, kind: Kind) -> Result<Arc<Policy>> {
        let mut key = [0u8; 33];
        let (tag, hash) = key.split_at_mut(1);
        tag.copy_from_slice(&[kind as u8]);
        hash.copy_from_slice(&Sha256::digest(text.as_bytes()));
        let mut by_hash = self.by_hash.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(policy) = by_hash.get(&key) {
            return Ok(Arc::clone(policy));
        }
        let policy = Policy::parse(text, kind)
            .map(Arc::new)
            .map_err(|error| ServiceError::internal(format!("a stored policy does not parse: {}", error.message())))?;
        if by_hash.len() >= COMPILED_MAX {
            by_hash.clear();
        }
        by_hash.insert(key, Arc::clone(&policy));
        Ok(policy)
    }
}

/// A caller's own policies, compiled.
pub struct Policies {
    /// Of the user, or of the role.
    pub identity: Vec<Arc<Policy>>,
    pub boundary: Option<Arc<Policy>>,
    /// Given when the session was made; `None` if none were.
    pub session: Option<Vec<Arc<Policy>>>,
}

impl Policies {
    /// Reads and compiles them.
    ///
    /// # Errors
    /// 5xx when one cannot be read: nothing is allowed then.
    pub fn of(compiled: &Compiled, caller: &Caller, tx: &mut Tx<'_>) -> Result<Self> {
        let documents = platform::iam::principal::documents(tx, caller)?;
        let all = |texts: &[String], kind: Kind| -> Result<Vec<Arc<Policy>>> {
            texts.iter().map(|text| compiled.get(text, kind)).collect()
        };
        let session = caller.session.as_ref().filter(|session| !session.policies.is_empty());
        Ok(Self {
            identity: all(&documents.identity, Kind::Identity)?,
            boundary: documents.boundary.as_deref().map(|text| compiled.get(text, Kind::Boundary)).transpose()?,
            session: session.map(|session| all(&session.policies, Kind::Session)).transpose()?,
        })
    }
}

/// Checks every need of a caller; what a role needs is asked by [`crate::role::check_needs`].
///
/// # Errors
/// The first refusal, in the wording of AWS, or 5xx when a policy cannot be read: nothing is allowed then.
pub fn check(
    compiled: &Compiled,
    service: &Service,
    caller: &Caller,
    needs: &[Need],
    circumstances: &Circumstances<'_>,
    tx: &mut Tx<'_>,
) -> Result<()> {
    if needs.is_empty() {
        return Ok(());
    }
    let Policies { identity, boundary, session } = Policies::of(compiled, caller, tx)?;
    let principal = caller.principal();
    let identity: Vec<&Policy> = identity.iter().map(Arc::as_ref).collect();
    let session: Option<Vec<&Policy>> = session.as_ref().map(|list| list.iter().map(Arc::as_ref).collect());
    for need in needs.iter().filter(|need| need.by_role.is_none()) {
        let kind = if need.trust { Kind::Trust } else { Kind::Resource };
        let resource = need.resource_policy.as_deref().map(|text| compiled.get(text, kind)).transpose()?;
        let mut context = global_keys(caller, circumstances);
        add_keys(&mut context, &need.context);
        let request =
            Request { action: &need.action, resource: &need.resource, principal: &principal, context: &context };
        let input = Decide {
            identity: &identity,
            boundary: boundary.as_deref(),
            session: session.as_deref(),
            resource: resource.as_deref(),
            same_account: need.account == caller.account.as_str(),
            is_root: caller.is_root(),
            request: &request,
        };
        if let Decision::Denied(denial) = decide(&input) {
            let refusal = match &need.refusal {
                Some(refusal) => (**refusal).clone(),
                None => access_denied(service, denial.sentence(&caller.arn(), &need.action, &need.resource)),
            };
            return Err(refusal.with_explanation(explain(&denial, &input, need, caller)));
        }
    }
    Ok(())
}

/// Why a call is refused, and what would let it through. Statements of another account's resource are not shown.
fn explain(denial: &Denial, input: &Decide<'_>, need: &Need, caller: &Caller) -> Value {
    let by = match denial.by {
        DeniedBy::NoIdentityAllow => "no identity-based policy of the caller allows it".to_owned(),
        DeniedBy::NoResourceAllow => "the resource's policy does not allow it, and is needed".to_owned(),
        DeniedBy::NoBoundaryAllow => "the caller's permissions boundary does not allow it".to_owned(),
        DeniedBy::NoSessionAllow => "the session's policies do not allow it".to_owned(),
        DeniedBy::ExplicitDeny(kind) => format!("a statement of {} denies it", kind.with_article()),
    };
    let of_resource =
        matches!(denial.by, DeniedBy::NoResourceAllow | DeniedBy::ExplicitDeny(policy::PolicyKind::Resource));
    let shown = input.same_account || !of_resource;
    let statement = denial.statement.as_ref().filter(|_| shown).map(|statement| match &statement.sid {
        Some(sid) => sid.to_string(),
        None => format!("number {}", statement.index),
    });
    let nearest = shown.then(|| policy::nearest(input, denial.by)).flatten().map(|found| found.near.to_string());
    let mut text = format!("{} on {}: {by}", need.action, need.resource);
    for more in [&statement.as_ref().map(|sid| format!("statement {sid}")), &nearest].into_iter().flatten() {
        text.push_str("; ");
        text.push_str(more);
    }
    json!({
        "steps": [{
            "step": "policy", "action": need.action, "resource": need.resource, "account": need.account,
            "statement": statement, "nearest": nearest, "text": text,
        }],
        "repair": repair(denial.by, need, caller),
    })
}

/// The commands of an administrator of the caller's account that would allow what was refused.
fn repair(by: DeniedBy, need: &Need, caller: &Caller) -> Vec<String> {
    if by != DeniedBy::NoIdentityAllow {
        return Vec::new();
    }
    let statement = json!({ "Effect": "Allow", "Action": need.action, "Resource": need.resource });
    let document = json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string().replace('\'', "'\\''");
    let name: String = need.action.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let put = match &caller.identity {
        service::Identity::Root => return Vec::new(),
        service::Identity::User { name: user, .. } => format!("aws iam put-user-policy --user-name {user}"),
        service::Identity::Role { name: role, .. } => format!("aws iam put-role-policy --role-name {role}"),
    };
    vec![format!("{put} --policy-name allow-{name} --policy-document '{document}'")]
}

/// Whether the roles a call hands to Lambda exist and trust it. Asked only once the caller may pass them.
///
/// Source: Lambda Developer Guide, "Defining Lambda function permissions with an execution role". API Gateway does not
/// ask: a role it cannot assume refuses the request it is needed for.
///
/// # Errors
/// Lambda's `InvalidParameterValueException`, on which deployment tools wait and try again.
pub fn check_passed_roles(compiled: &Compiled, needs: &[Need], tx: &mut Tx<'_>) -> Result<()> {
    const LAMBDA: &str = "lambda.amazonaws.com";
    let passed = |need: &&Need| {
        let to = |(key, value): &(String, String)| key == "iam:PassedToService" && value == LAMBDA;
        need.action == "iam:PassRole" && need.context.iter().any(to)
    };
    for need in needs.iter().filter(passed) {
        let trusts = match platform::iam::role::trust_document(tx, &need.resource)? {
            Some((_, trust)) => compiled.get(&trust, Kind::Trust)?.evaluate(&Request {
                action: "sts:AssumeRole",
                resource: &need.resource,
                principal: &policy::Principal::Service(LAMBDA.into()),
                context: &Context::new(),
            }),
            None => policy::Verdict { effect: None, statement: None },
        };
        if !trusts.is_allow() {
            let text = "The role defined for the function cannot be assumed by Lambda.";
            return Err(ServiceError::new("InvalidParameterValueException", 400, text).with_field("Type", "User"));
        }
    }
    Ok(())
}

/// Condition keys of one need. A key given more than once is a list, and so is `aws:TagKeys` always.
fn add_keys(context: &mut Context, keys: &[(String, String)]) {
    for (index, (key, value)) in keys.iter().enumerate() {
        let same = |(other, _): &&(String, String)| other.eq_ignore_ascii_case(key);
        if keys.iter().take(index).any(|pair| same(&pair)) {
            continue;
        }
        let values: Vec<String> = keys.iter().filter(same).map(|(_, value)| value.clone()).collect();
        if values.len() > 1 || key.eq_ignore_ascii_case("aws:TagKeys") {
            context.insert_list(key, values);
        } else {
            context.insert(key, value.clone());
        }
    }
}

/// The service's spelling of AccessDenied. Source: control-plane contract, 2.3.
#[must_use]
pub fn access_denied(service: &Service, message: String) -> ServiceError {
    match service.protocol {
        Protocol::RestJson => ServiceError::new("AccessDeniedException", 403, message),
        Protocol::AwsJson => ServiceError::new("AccessDeniedException", 400, message),
        Protocol::AwsQuery | Protocol::RestXml => ServiceError::new("AccessDenied", 403, message),
    }
}

/// The global condition keys of a call. Source: IAM User Guide, "AWS global condition context keys".
fn global_keys(caller: &Caller, circumstances: &Circumstances<'_>) -> Context {
    let mut context = Context::new();
    context.insert("aws:SourceIp", circumstances.source_ip.to_string());
    context.insert("aws:SecureTransport", circumstances.secure.to_string());
    context.insert("aws:CurrentTime", circumstances.now.iso_s());
    context.insert("aws:EpochTime", circumstances.now.s().to_string());
    context.insert("aws:RequestedRegion", circumstances.region);
    if let Some(agent) = circumstances.user_agent {
        context.insert("aws:UserAgent", agent);
    }
    for (key, value) in caller_keys(caller) {
        context.insert(key.as_str(), value);
    }
    context
}

/// The condition keys about a caller.
pub fn caller_keys(caller: &Caller) -> Vec<(String, String)> {
    let mut keys: Vec<(&str, String)> = vec![
        ("aws:PrincipalAccount", caller.account.as_str().to_owned()),
        ("aws:PrincipalArn", caller.role_arn().unwrap_or_else(|| caller.arn())),
        ("aws:userid", caller.user_id()),
    ];
    match &caller.identity {
        service::Identity::Root => keys.push(("aws:PrincipalType", "Account".to_owned())),
        service::Identity::User { name, .. } => {
            keys.push(("aws:PrincipalType", "User".to_owned()));
            keys.push(("aws:username", name.clone()));
        }
        service::Identity::Role { .. } => keys.push(("aws:PrincipalType", "AssumedRole".to_owned())),
    }
    if let Some(session) = &caller.session {
        keys.push(("aws:TokenIssueTime", session.issued_at.iso_s()));
        if let Some(source) = &session.source_identity {
            keys.push(("aws:SourceIdentity", source.clone()));
        }
    }
    keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
