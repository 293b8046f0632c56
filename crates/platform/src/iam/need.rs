//! What IAM's calls need to be allowed: ARNs with the record's path, and IAM's condition keys.
//!
//! Source: Service Authorization Reference, "Actions, resources, and condition keys for AWS Identity and Access
//! Management (IAM)".

use service::{Cx, Identity, Need, Result, ServiceError, Tx};

use super::entity::{Entity, find};
use super::tag::Tag;

/// Refuses sessions made by `GetSessionToken`, which may not call IAM unless they carry an MFA, and none here do.
///
/// Source: STS API Reference, "GetSessionToken".
///
/// # Errors
/// `InvalidClientTokenId`, 403.
pub(crate) fn check_session(cx: &Cx<'_>) -> Result<()> {
    let of_role = matches!(cx.caller.identity, Identity::Role { .. });
    if cx.caller.session.is_some() && !of_role {
        let text = "The security token included in the request is invalid";
        return Err(ServiceError::new("InvalidClientTokenId", 403, text));
    }
    Ok(())
}

/// The default permission.
pub(crate) fn plain(default: Need, cx: &Cx<'_>) -> Result<Vec<Need>> {
    check_session(cx)?;
    Ok(vec![default])
}

/// The default permission on an entity, by the ARN of its record. One that is not there keeps the default ARN.
pub(crate) fn on<E: Entity>(name: &str, mut default: Need, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Need> {
    check_session(cx)?;
    if let Some(entity) = find::<E>(tx, cx.account(), name)? {
        default.resource = entity.arn();
        let tags = &entity.grants().tags;
        default.context.extend(resource_tags(tags));
    }
    Ok(default)
}

/// As [`on`], when the call touches what the entity may do: the boundary it has is a condition key.
pub(crate) fn on_bounded<E: Entity>(name: &str, default: Need, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Need> {
    let mut need = on::<E>(name, default, cx, tx)?;
    if let Some(entity) = find::<E>(tx, cx.account(), name)?
        && let Some(boundary) = &entity.grants().permissions_boundary
    {
        need.context.push(boundary_key(boundary));
    }
    Ok(need)
}

/// `iam:PermissionsBoundary`.
pub(crate) fn boundary_key(arn: &str) -> (String, String) {
    ("iam:PermissionsBoundary".into(), arn.into())
}

/// `iam:PolicyARN`.
pub(crate) fn policy_key(arn: &str) -> (String, String) {
    ("iam:PolicyARN".into(), arn.into())
}

/// The keys about tags a resource has.
pub(crate) fn resource_tags(tags: &[Tag]) -> Vec<(String, String)> {
    let both = |tag: &Tag| {
        ["aws:ResourceTag/", "iam:ResourceTag/"].map(|prefix| (format!("{prefix}{}", tag.key), tag.value.clone()))
    };
    tags.iter().flat_map(both).collect()
}

/// The keys about tags a request sets.
pub(crate) fn request_tags(tags: &[Tag]) -> Vec<(String, String)> {
    let both = |tag: &Tag| {
        [(format!("aws:RequestTag/{}", tag.key), tag.value.clone()), ("aws:TagKeys".into(), tag.key.clone())]
    };
    tags.iter().flat_map(both).collect()
}

/// The key about tags a request removes.
pub(crate) fn tag_keys(keys: &[String]) -> Vec<(String, String)> {
    keys.iter().map(|key| ("aws:TagKeys".into(), key.clone())).collect()
}

/// The permissions for creating something: the default with what the request asks for, and tagging where it has tags.
pub(crate) fn create(
    mut default: Need,
    tag_action: &str,
    tags: &[Tag],
    boundary: Option<&str>,
    cx: &Cx<'_>,
) -> Result<Vec<Need>> {
    check_session(cx)?;
    default.context.extend(request_tags(tags));
    default.context.extend(boundary.map(boundary_key));
    if tags.is_empty() {
        return Ok(vec![default]);
    }
    let mut tagging = default.clone();
    tagging.action = tag_action.into();
    Ok(vec![default, tagging])
}
