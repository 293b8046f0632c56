//! The policy of a bucket.

use std::collections::BTreeMap;

use ::policy::{Kind, Policy};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service::{Record, Result, Scope, ServiceError, Tx, principal};

use super::bucket::{self, Bucket};
use super::error::malformed_policy;

/// Source: Amazon S3 User Guide, "Bucket policies".
pub const BYTES_MAX: usize = 20 * 1024;

/// The policy as it is evaluated: every user and role stands there by its unique id, so that a later namesake does not
/// inherit the grant. Kept only where it differs from the text that was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Bound {
    policy: String,
}

impl Record for Bound {
    const NOUN: &'static str = "s3/BoundPolicy";
}

/// Puts a bucket's policy in place of the one before.
///
/// # Errors
/// `MalformedPolicy` with S3's sentence: no JSON, an element that must not or must stand, an action of another service,
/// a resource outside the bucket, a user or role that does not exist, a text beyond [`BYTES_MAX`].
pub fn put(tx: &mut Tx<'_>, bucket: &Bucket, text: &str) -> Result<()> {
    if text.len() > BYTES_MAX {
        return Err(malformed_policy(format!("Policies must be at most {BYTES_MAX} bytes long.")));
    }
    let policy = Policy::parse(text, Kind::Resource)
        .map_err(|error| malformed_policy(error.message()).with_cause(error.to_string()))?;
    let mut value = ::policy::parse_json(text).map_err(|error| malformed_policy(error.message()))?;
    for statement in statements(&value) {
        check_statement(statement, bucket)?;
    }
    let mut ids = BTreeMap::new();
    for arn in policy.identity_principals() {
        if !ids.contains_key(arn) {
            ids.insert(arn.to_owned(), unique_id(tx, arn)?);
        }
    }
    let scope = Scope::installation();
    if ids.is_empty() {
        tx.delete::<Bound>(&scope, "", &bucket.name);
    } else {
        principal::bind(&mut value, &ids);
        let policy = serde_json::to_string(&value).map_err(|error| ServiceError::internal(error.to_string()))?;
        tx.put(&scope, "", &bucket.name, &Bound { policy })?;
    }
    bucket::save(tx, &Bucket { policy: Some(text.to_owned()), ..bucket.clone() })
}

/// The policy as it was given.
///
/// # Errors
/// `NoSuchBucketPolicy`.
pub fn get(bucket: &Bucket) -> Result<&str> {
    bucket.policy.as_deref().ok_or_else(|| {
        ServiceError::new("NoSuchBucketPolicy", 404, "The bucket policy does not exist")
            .with_field("BucketName", bucket.name.as_str())
    })
}

/// Deletes the policy, if there is one.
///
/// # Errors
/// 5xx when the record does not encode.
pub fn delete(tx: &mut Tx<'_>, bucket: &Bucket) -> Result<()> {
    if bucket.policy.is_none() {
        return Ok(());
    }
    tx.delete::<Bound>(&Scope::installation(), "", &bucket.name);
    bucket::save(tx, &Bucket { policy: None, ..bucket.clone() })
}

/// The text to evaluate for a bucket, if it has a policy.
///
/// # Errors
/// 5xx when the store cannot be read.
pub fn effective(tx: &mut Tx<'_>, bucket: &Bucket) -> Result<Option<String>> {
    if bucket.policy.is_none() {
        return Ok(None);
    }
    let bound = tx.get::<Bound>(&Scope::installation(), "", &bucket.name)?;
    Ok(bound.map(|bound| bound.policy).or_else(|| bucket.policy.clone()))
}

fn unique_id(tx: &mut Tx<'_>, arn: &str) -> Result<String> {
    principal::unique_id(tx, arn)?.ok_or_else(|| {
        let named = arn.chars().take(256).collect::<String>();
        malformed_policy("Invalid principal in policy").with_field("Detail", format!("\"AWS\" : \"{named}\""))
    })
}

fn statements(policy: &Value) -> &[Value] {
    match policy.get("Statement") {
        Some(Value::Array(statements)) => statements,
        Some(statement) => std::slice::from_ref(statement),
        None => &[],
    }
}

fn strings<'v>(statement: &'v Value, element: &str) -> Vec<&'v str> {
    statement.get(element).map(texts).unwrap_or_default()
}

/// A text or a list of them.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
        value => value.as_str().into_iter().collect(),
    }
}

/// A bucket's policy speaks of this bucket and of S3 alone.
fn check_statement(statement: &Value, bucket: &Bucket) -> Result<()> {
    for element in ["Action", "NotAction"] {
        let foreign = |action: &&str| *action != "*" && !action.get(..3).is_some_and(|v| v.eq_ignore_ascii_case("s3:"));
        if strings(statement, element).iter().any(foreign) {
            return Err(malformed_policy("Policy has invalid action"));
        }
    }
    for element in ["Resource", "NotResource"] {
        if strings(statement, element).iter().any(|resource| !is_within(resource, bucket)) {
            return Err(malformed_policy("Policy has invalid resource"));
        }
    }
    Ok(())
}

fn is_within(resource: &str, bucket: &Bucket) -> bool {
    let Some(rest) = resource.strip_prefix("arn:aws:s3:::") else { return false };
    let name = rest.split_once('/').map_or(rest, |(name, _)| name);
    // A pattern such as `logs*` may stand for the bucket and its keys.
    match name.split_once(['*', '?', '$']) {
        Some((start, _)) => bucket.name.starts_with(start),
        None => name == bucket.name,
    }
}

/// Condition keys that, with fixed values, keep a grant to everyone from being public.
/// Source: Amazon S3 User Guide, "The meaning of public".
const NARROWING: &[&str] = &[
    "aws:principalorgid",
    "aws:sourcearn",
    "aws:sourceaccount",
    "aws:sourceowner",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:sourceip",
    "aws:userid",
    "aws:principalarn",
    "aws:principalaccount",
];

/// Whether a policy lets everyone in, as GetBucketPolicyStatus tells it: an allow for everyone that no condition narrows
/// to fixed values.
#[must_use]
pub fn is_public(text: &str) -> bool {
    let Ok(value) = ::policy::parse_json(text) else { return false };
    statements(&value).iter().any(|statement| {
        let allows = statement.get("Effect").and_then(Value::as_str) == Some("Allow");
        let everyone = statement.get("NotPrincipal").is_some()
            || statement
                .get("Principal")
                .is_some_and(|principal| principal == "*" || strings(principal, "AWS").contains(&"*"));
        allows && everyone && !is_narrowed(statement)
    })
}

fn is_narrowed(statement: &Value) -> bool {
    let Some(conditions) = statement.get("Condition").and_then(Value::as_object) else { return false };
    conditions.iter().any(|(operator, keys)| {
        let positive = !operator.contains("Not") && !operator.ends_with("IfExists") && operator != "Null";
        positive
            && keys.as_object().is_some_and(|keys| {
                keys.iter().any(|(key, values)| {
                    let values = texts(values);
                    let fixed = !values.is_empty() && values.iter().all(|value| is_fixed(value));
                    fixed && NARROWING.contains(&key.to_ascii_lowercase().as_str())
                })
            })
    })
}

fn is_fixed(value: &str) -> bool {
    !value.contains(['*', '?']) && !value.contains("${") && !value.ends_with("/0") && !value.is_empty()
}
