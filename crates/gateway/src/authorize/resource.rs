//! The API's resource policy, compiled, and how it combines with a method's own authorization.
//!
//! Source: API Gateway Developer Guide, "How API Gateway resource policies affect authorization workflow".

use std::sync::Arc;

use apigateway::rest_api::RestApi;
use policy::{Effect, Policy};

use super::{
    answer::{INVOKE, Judged, judge},
    conditions,
};
use crate::{
    Text,
    envelope::Envelope,
    journal::{Journal, PolicySource},
    reject::{Rejection, ResponseType},
    route::Matched,
    texts,
};

/// What a deployment froze of the API's policy.
#[derive(Debug, Clone)]
pub(crate) enum ResourcePolicy {
    /// The API has none: each method's authorization decides alone.
    None,
    Compiled(Arc<Policy>),
    /// One that does not parse: every request is refused.
    Broken(Text),
}

impl ResourcePolicy {
    /// The policy of an API, principals bound to their unique ids.
    pub(crate) fn compile(api: &RestApi) -> Self {
        match apigateway::resource_policy::compile(api) {
            Ok(policy) => policy.map_or(Self::None, |policy| Self::Compiled(Arc::new(policy))),
            Err(error) => Self::Broken(format!("the resource policy does not parse: {error}").into()),
        }
    }

    /// What the policy says of an unsigned request; `None` where the API has no policy.
    ///
    /// # Errors
    /// 500 for a policy that does not parse, 403 for an explicit deny, which ends everything.
    pub(super) fn ask(
        &self,
        method_arn: &str,
        matched: &Matched,
        envelope: &Envelope,
        journal: &mut Journal,
    ) -> Result<Option<Judged>, Rejection> {
        let policy = match self {
            Self::None => return Ok(None),
            Self::Broken(reason) => return Err(Rejection::api_configuration(reason)),
            Self::Compiled(policy) => policy,
        };
        let judged = judge(policy, method_arn, &conditions(matched, envelope));
        if judged.effect == Some(Effect::Deny) {
            journal.step(judged.step(PolicySource::Resource));
            return Err(denied(texts::denied_by_resource_policy(ANONYMOUS, INVOKE, &masked(method_arn))));
        }
        Ok(Some(judged))
    }
}

/// How the refusals name a caller nobody knows.
const ANONYMOUS: &str = "anonymous";

/// A method without authorization: where there is a policy, it has to allow.
pub(super) fn alone(judged: Option<Judged>, method_arn: &str, journal: &mut Journal) -> Result<(), Rejection> {
    let Some(judged) = judged else { return Ok(()) };
    let allowed = judged.effect == Some(Effect::Allow);
    journal.step(judged.step(PolicySource::Resource));
    if allowed { Ok(()) } else { Err(denied(texts::not_allowed(ANONYMOUS, INVOKE, &masked(method_arn)))) }
}

pub(super) fn denied(message: String) -> Rejection {
    Rejection::of(ResponseType::AccessDenied).with_message(message).because(texts::POLICY_REFUSED)
}

/// The method ARN with all but the last four digits of its account starred, as clients are shown it.
pub(super) fn masked(method_arn: &str) -> String {
    let mut fields: Vec<&str> = method_arn.splitn(6, ':').collect();
    let account = fields.get(4).copied().unwrap_or_default();
    let starred = format!("********{}", account.get(8..).unwrap_or_default());
    if let Some(field) = fields.get_mut(4) {
        *field = &starred;
    }
    fields.join(":")
}

#[cfg(test)]
mod tests {
    #[test]
    fn clients_see_four_digits_of_an_account() {
        let masked = super::masked("arn:aws:execute-api:us-east-1:111122223333:api/Dev/GET/a:b");
        assert_eq!(masked, "arn:aws:execute-api:us-east-1:********3333:api/Dev/GET/a:b");
    }
}
