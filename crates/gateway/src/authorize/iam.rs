//! AWS_IAM methods: a signed call, and the policies of both sides.
//!
//! Who signed is found by a port, since keys and identities are the control plane's. What the caller may do is decided
//! here, of the caller's policies and the API's own. A caller of another account needs both; one of the API's account
//! needs either. The sources do not say what happens to a foreign caller where the API has no policy; it is refused, as
//! everywhere else across accounts.
//!
//! Sources: API Gateway Developer Guide, "Control access to a REST API with IAM permissions", "How API Gateway resource
//! policies affect authorization workflow"; IAM User Guide, "Cross-account policy evaluation logic".

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use lambda::invoke::BoxFuture;
use policy::{Decide, Decision, DeniedBy, Policy, Principal, Request, decide, nearest};

use super::{
    answer::INVOKE,
    conditions,
    resource::{ResourcePolicy, denied, masked},
};
use crate::{
    Arrived, Body, Headers, Shared, arrived,
    envelope::Envelope,
    event::query,
    journal::{Journal, Step},
    reject::{Rejection, ResponseType},
    route::Matched,
};

/// A request whose signature is to be looked at.
#[derive(Debug, Clone)]
pub struct SignedRequest {
    /// Where the API is: a signature for another region does not count.
    pub region: String,
    pub method: String,
    /// As received, still percent-encoded.
    pub raw_path: String,
    pub raw_query: Option<String>,
    pub headers: Headers,
    /// The whole body: its digest is part of what was signed.
    pub body: Bytes,
    /// Who sent it, as [`Arrived::client`] has it.
    pub client: IpAddr,
}

/// Who signed a request, and everything that says what they may do.
#[derive(Debug, Clone)]
pub struct IamCaller {
    /// 12 digits.
    pub account: String,
    /// ARN of the user, the root or the session.
    pub arn: String,
    /// `aws:userid`.
    pub user_id: String,
    pub access_key_id: String,
    pub principal: Principal,
    pub is_root: bool,
    /// Policies of the user, or of the role.
    pub identity: Vec<Arc<Policy>>,
    pub boundary: Option<Arc<Policy>>,
    /// Policies of the session; `None` if it was made without.
    pub session: Option<Vec<Arc<Policy>>>,
    /// Condition keys about the caller, such as `aws:PrincipalArn`.
    pub keys: Vec<(String, String)>,
}

/// Why a request has no caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureRefusal {
    /// It is not signed.
    Missing,
    /// The session has expired.
    Expired(String),
    /// Everything else, in AWS's words: error type and message.
    Invalid { error_type: String, message: String },
}

/// Finds out who signed a request.
pub trait Callers: Send + Sync {
    /// Verifies the signature against service `execute-api` and finds the identity behind its key.
    fn authenticate(&self, request: SignedRequest) -> BoxFuture<'_, Result<Arc<IamCaller>, SignatureRefusal>>;
}

/// Authorizes a signed call. The body is read for its digest and given back.
///
/// # Errors
/// 403 for a call that is not signed, signed wrongly or not allowed; 413 and 400 for the body.
pub(super) async fn authorize(
    matched: &Matched,
    body: Body,
    method_arn: &str,
    shared: &Shared,
    envelope: &Envelope,
    journal: &mut Journal,
) -> Result<(Arc<IamCaller>, Body), Rejection> {
    let arrived = matched.arrived();
    if let Some(message) = unbound(arrived) {
        return Err(Rejection::of(ResponseType::InvalidSignature).with_message(message));
    }
    let body = arrived::read(body, &shared.options).await?;
    let request = SignedRequest {
        region: matched.program().region().to_owned(),
        method: arrived.method.to_string(),
        raw_path: arrived.raw_path.clone(),
        raw_query: arrived.raw_query.clone(),
        headers: arrived.headers.clone(),
        body: body.clone(),
        client: arrived.client,
    };
    let caller = shared.callers.authenticate(request).await.map_err(unsigned)?;
    journal.caller(Arc::clone(&caller));
    let resource = match matched.program().resource_policy() {
        ResourcePolicy::None => None,
        ResourcePolicy::Compiled(policy) => Some(policy.as_ref()),
        ResourcePolicy::Broken(reason) => return Err(Rejection::api_configuration(reason)),
    };
    let mut context = conditions(matched, envelope);
    for (key, value) in &caller.keys {
        context.insert(key, value.as_str());
    }
    let identity: Vec<&Policy> = caller.identity.iter().map(Arc::as_ref).collect();
    let session: Option<Vec<&Policy>> = caller.session.as_ref().map(|list| list.iter().map(Arc::as_ref).collect());
    let own_account = caller.account == matched.program().account();
    let input = Decide {
        identity: &identity,
        boundary: caller.boundary.as_deref(),
        session: session.as_deref(),
        resource,
        same_account: own_account,
        is_root: caller.is_root,
        request: &Request { action: INVOKE, resource: method_arn, principal: &caller.principal, context: &context },
    };
    match decide(&input) {
        Decision::Denied(denial) => {
            let sentence = denial.sentence(&caller.arn, INVOKE, &masked(method_arn));
            // The policies of another account's caller are not the API owner's to read.
            let shown = own_account || matches!(denial.by, DeniedBy::NoResourceAllow);
            let near = shown.then(|| nearest(&input, denial.by)).flatten().map(|found| found.near.to_string().into());
            journal.step(Step::Iam { text: sentence.clone().into(), nearest: near, by: Some(denial.by) });
            Err(denied(sentence))
        }
        Decision::Allowed => {
            let text = match (resource.is_some(), own_account) {
                (false, _) => "the caller's policies allow it",
                (true, true) => "the caller's policies or the API's resource policy allow it, and neither denies it",
                (true, false) => "the caller's policies and the API's resource policy both allow it",
            };
            journal.step(Step::Iam { text: text.into(), nearest: None, by: None });
            Ok((caller, Body::Full(body)))
        }
    }
}

/// What the gateway goes by and the signature would not cover, in words for the client.
///
/// A signature covers the normalised path and the verb of the request line. A path that normalises to another would be
/// routed to a resource nobody signed for, and an overriding verb counts only if its field was signed. \[U\] AWS's own
/// answers to these were not recorded.
fn unbound(arrived: &Arrived) -> Option<&'static str> {
    let path = arrived.raw_path.to_ascii_lowercase().replace("%2e", ".");
    let inner = path.strip_prefix('/').unwrap_or(&path);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if !inner.is_empty() && inner.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Some("The path of a signed request must have no empty, '.' or '..' segment");
    }
    let overriding = arrived.headers.last(OVERRIDE).is_some();
    (overriding && !signs(arrived, OVERRIDE)).then_some("X-HTTP-Method-Override must be among the SignedHeaders")
}

const OVERRIDE: &str = "X-HTTP-Method-Override";

/// Whether a field is among the signed ones, as the request itself says; that they were signed is verified afterwards.
fn signs(arrived: &Arrived, name: &str) -> bool {
    let lists = |list: &str| list.split(';').any(|field| field.trim().eq_ignore_ascii_case(name));
    if let Some(value) = arrived.headers.last("Authorization") {
        let list = value.split("SignedHeaders=").nth(1).unwrap_or_default();
        return lists(list.split(',').next().unwrap_or_default());
    }
    let query = query(arrived.raw_query.as_deref().unwrap_or_default());
    query.filter(|(own, _)| own == "X-Amz-SignedHeaders").any(|(_, list)| lists(&list))
}

fn unsigned(refusal: SignatureRefusal) -> Rejection {
    match refusal {
        SignatureRefusal::Missing => Rejection::of(ResponseType::MissingAuthenticationToken),
        SignatureRefusal::Expired(message) => Rejection::of(ResponseType::ExpiredToken).with_message(message),
        SignatureRefusal::Invalid { error_type, message } => {
            Rejection::of(ResponseType::InvalidSignature).with_message(message).with_error_type(error_type)
        }
    }
}
