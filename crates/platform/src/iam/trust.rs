//! Trust policies: who may assume a role, bound to the identities that existed when the policy was written.

use std::collections::BTreeMap;

use policy::{Kind, Policy};
use serde_json::Value;
use service::{Result, ServiceError, Tx, principal};

use super::document::{self, Quota};
use super::error::malformed;

/// Checks a trust policy and finds the unique ids behind the users and roles it names, of any account of this
/// installation.
///
/// # Errors
/// `MalformedPolicyDocument`, also for a user or role that does not exist; `LimitExceeded` for a text too long.
pub(crate) fn bind(tx: &mut Tx<'_>, text: &str) -> Result<BTreeMap<String, String>> {
    document::check_size(text, &Quota::Trust)?;
    let parsed = Policy::parse(text, Kind::Trust).map_err(|error| malformed(&error))?;
    check_actions(text)?;
    let mut ids = BTreeMap::new();
    for arn in parsed.identity_principals() {
        if !ids.contains_key(arn) {
            let id = principal::unique_id(tx, arn)?.ok_or_else(|| no_such_principal(arn))?;
            ids.insert(arn.to_owned(), id);
        }
    }
    Ok(ids)
}

/// A trust policy says who may take the role, so other actions in it are mistakes.
fn check_actions(text: &str) -> Result<()> {
    const KNOWN: [&str; 6] = [
        "sts:assumerole",
        "sts:assumerolewithsaml",
        "sts:assumerolewithwebidentity",
        "sts:tagsession",
        "sts:setsourceidentity",
        "sts:setcontext",
    ];
    let value = policy::parse_json(text).map_err(|error| malformed(&error))?;
    let statements = match value.get("Statement") {
        Some(Value::Array(statements)) => statements.as_slice(),
        Some(statement) => std::slice::from_ref(statement),
        None => &[],
    };
    let actions = statements.iter().filter_map(|statement| statement.get("Action")).flat_map(|action| match action {
        Value::Array(actions) => actions.as_slice(),
        one => std::slice::from_ref(one),
    });
    let known = |action: &Value| {
        let action = action.as_str().unwrap_or_default().to_lowercase();
        KNOWN.contains(&action.as_str()) || (action.starts_with("sts:") && action.contains(['*', '?']))
    };
    if actions.into_iter().all(known) {
        return Ok(());
    }
    let text = "AssumeRole policy may only specify STS AssumeRole actions.";
    Err(ServiceError::new("MalformedPolicyDocument", 400, text))
}

fn no_such_principal(arn: &str) -> ServiceError {
    ServiceError::new("MalformedPolicyDocument", 400, format!("Invalid principal in policy: \"AWS\":\"{arn}\""))
}

/// The document as it is evaluated: every user and role stands there by its unique id, so that a later namesake does
/// not inherit the trust.
///
/// Source: IAM User Guide, "AWS JSON policy elements: Principal".
///
/// # Errors
/// 5xx when the stored text cannot be read.
pub(crate) fn bound_text(text: &str, ids: &BTreeMap<String, String>) -> Result<String> {
    if ids.is_empty() {
        return Ok(text.to_owned());
    }
    let broken = |error: String| ServiceError::internal(format!("stored trust policy: {error}"));
    let mut value = policy::parse_json(text).map_err(|error| broken(error.to_string()))?;
    principal::bind(&mut value, ids);
    serde_json::to_string(&value).map_err(|error| broken(error.to_string()))
}
