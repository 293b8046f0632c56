//! The resource policy of an API: who may call it at all.

use policy::{Kind, ParseError, Policy};

use crate::rest_api::RestApi;

/// The API's policy, ready for decisions: users and roles stand in it by their unique ids, so that a later namesake
/// does not inherit a grant. `None` when the API has none.
///
/// # Errors
/// When the stored text does not parse, which must refuse the request: it was checked when it was written.
pub fn compile(api: &RestApi) -> Result<Option<Policy>, ParseError> {
    let Some(text) = api.policy.as_deref() else { return Ok(None) };
    let policy = Policy::parse(text, Kind::Resource)?;
    policy.bind_principals(|arn| api.policy_principals.get(arn).cloned()).map(Some)
}
