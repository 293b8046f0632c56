//! Roles handed to API Gateway: `credentials` of an integration, `authorizerCredentials` of an authorizer, the role logs
//! are written as.

use policy::{Context, Effect, Kind, Policy, Principal, Request};
use serde::{Deserialize, Serialize};
use service::{Cx, Need, Record, Result, Scope, ServiceError, Tx};

use crate::error::{bad_request, unsupported_value};

/// Checks that a role is one of the caller's own account.
///
/// Stage variables inside the ARN are refused: whoever may set them could hand over a role without being allowed to
/// pass it.
///
/// # Errors
/// `BadRequestException` for what is no role's ARN, `AccessDeniedException` for another account's role.
pub(crate) fn check(member: &str, arn: &str, cx: &Cx<'_>) -> Result<()> {
    if arn == "arn:aws:iam::*:user/*" || arn.contains("${") {
        return Err(unsupported_value(member, arn));
    }
    let mut parts = arn.splitn(6, ':');
    let mut part = || parts.next().unwrap_or_default();
    let (scheme, partition, iam, region, account, resource) = (part(), part(), part(), part(), part(), part());
    let name = resource.strip_prefix("role/").unwrap_or_default();
    let well_formed = scheme == "arn"
        && !partition.is_empty()
        && iam == "iam"
        && region.is_empty()
        && account.len() == 12
        && account.chars().all(|c| c.is_ascii_digit())
        && !name.is_empty()
        && !name.ends_with('/')
        && arn.len() <= 2048
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "/+=,.@_-".contains(c));
    if !well_formed {
        return Err(bad_request("Invalid ARN specified in the request"));
    }
    if account != cx.account() {
        return Err(ServiceError::new("AccessDeniedException", 403, "Cross-account pass role is not allowed."));
    }
    Ok(())
}

/// The permission to hand a role over.
///
/// Source: IAM User Guide, "Grant a user permissions to pass a role to an AWS service".
///
/// # Errors
/// As [`check`].
pub(crate) fn need(member: &str, arn: &str, cx: &Cx<'_>) -> Result<Need> {
    check(member, arn, cx)?;
    let mut need = Need::new("iam:PassRole", arn, cx.account());
    need.context.push(("iam:PassedToService".to_owned(), "apigateway.amazonaws.com".to_owned()));
    Ok(need)
}

/// The members of an IAM role that say whom it trusts. IAM owns the record; this is a view of it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Role {
    role_name: String,
    path: String,
    assume_role_policy_document: String,
}

impl Record for Role {
    const NOUN: &'static str = "iam/Role";
}

/// Whether the role exists and lets API Gateway take it. The ARN must have passed [`check`].
pub(crate) fn trusts_gateway(tx: &mut Tx<'_>, arn: &str) -> Result<bool> {
    let mut parts = arn.splitn(6, ':').skip(4);
    let (account, resource) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let name = resource.rsplit('/').next().unwrap_or_default();
    let Some(role) = tx.get::<Role>(&Scope::global(account), "", &name.to_lowercase())? else { return Ok(false) };
    if resource != format!("role{}{}", role.path, role.role_name) {
        return Ok(false);
    }
    let Ok(trust) = Policy::parse(&role.assume_role_policy_document, Kind::Trust) else { return Ok(false) };
    let (principal, context) = (Principal::Service("apigateway.amazonaws.com".to_owned()), Context::new());
    let request = Request { action: "sts:AssumeRole", resource: arn, principal: &principal, context: &context };
    Ok(trust.evaluate(&request).effect == Some(Effect::Allow))
}
