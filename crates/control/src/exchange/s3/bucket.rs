//! Operations on buckets.

use platform::s3::{
    bucket::{self, BUCKETS_MAX, Bucket, DEFAULT_REGION},
    error::{access_denied, invalid_argument, invalid_request, not_supported},
    policy,
};
use s3s::dto;
use serde_json::{Value, json};

use super::{
    call::{Result, Step},
    convert::{from_token, owner, timestamp, token},
};

/// ListBuckets: the caller's account's, filtered, a page at a time if the caller says so.
pub(super) fn list(step: &mut Step<'_, '_>, input: &dto::ListBucketsInput) -> Result<dto::ListBucketsOutput> {
    let action = step.op.iam_action.ok_or_else(access_denied)?;
    step.allow_own(action, step.op.iam_resource, Vec::new())?;
    let account = step.caller()?.account.to_string();
    let limit = match input.max_buckets {
        None => BUCKETS_MAX,
        Some(limit) => usize::try_from(limit).ok().filter(|limit| (1..=10_000).contains(limit)).ok_or_else(|| {
            invalid_argument("max-buckets", &limit.to_string(), "max-buckets must be between 1 and 10000")
        })?,
    };
    let after = input.continuation_token.as_deref().map(from_token).transpose()?;
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let fits = |bucket: &Bucket| {
        bucket.name.starts_with(prefix) && input.bucket_region.as_ref().is_none_or(|region| *region == bucket.region)
    };
    let mut buckets = bucket::owned(step.tx, &account, after.as_deref(), BUCKETS_MAX)?;
    buckets.retain(fits);
    let more = buckets.len() > limit;
    buckets.truncate(limit);
    let next = buckets.last().filter(|_| more).map(|bucket| token(&bucket.name));
    let shown = |bucket: &Bucket| dto::Bucket {
        bucket_region: Some(bucket.region.clone()),
        creation_date: Some(timestamp(bucket.creation_date)),
        name: Some(bucket.name.clone()),
    };
    Ok(dto::ListBucketsOutput {
        buckets: Some(buckets.iter().map(shown).collect()),
        continuation_token: next,
        owner: Some(owner(&account)),
        prefix: input.prefix.clone(),
    })
}

pub(super) fn create(step: &mut Step<'_, '_>, input: &dto::CreateBucketInput) -> Result<dto::CreateBucketOutput> {
    let configuration = input.create_bucket_configuration.as_ref();
    let constraint =
        configuration.and_then(|c| c.location_constraint.as_ref()).map(dto::BucketLocationConstraint::as_str);
    if let Some(constraint) = constraint {
        step.show("CreateBucketConfiguration", json!({ "LocationConstraint": constraint }));
    }
    let action = step.op.iam_action.ok_or_else(access_denied)?;
    let context = constraint.map(|constraint| ("s3:locationconstraint".to_owned(), constraint.to_owned()));
    step.allow_own(action, &format!("arn:aws:s3:::{}", input.bucket), context.into_iter().collect())?;
    if configuration.is_some_and(|c| c.bucket.is_some() || c.location.is_some()) {
        return Err(not_supported("A directory bucket"));
    }
    let account = step.caller()?.account.to_string();
    let (region, now) = (step.call.region.as_str(), step.call.now);
    bucket::create(step.tx, &input.bucket, &account, region, constraint, now)?;
    Ok(dto::CreateBucketOutput { location: Some(format!("/{}", input.bucket)) })
}

pub(super) fn head(step: &mut Step<'_, '_>, input: &dto::HeadBucketInput) -> Result<dto::HeadBucketOutput> {
    let bucket = step.bucket(&input.bucket)?;
    step.allow(&bucket)?;
    Ok(dto::HeadBucketOutput { bucket_region: Some(bucket.region), ..Default::default() })
}

pub(super) fn delete(step: &mut Step<'_, '_>, input: &dto::DeleteBucketInput) -> Result<dto::DeleteBucketOutput> {
    let bucket = step.bucket(&input.bucket)?;
    step.allow(&bucket)?;
    bucket::delete(step.tx, &bucket)?;
    Ok(dto::DeleteBucketOutput {})
}

pub(super) fn location(
    step: &mut Step<'_, '_>,
    input: &dto::GetBucketLocationInput,
) -> Result<dto::GetBucketLocationOutput> {
    let bucket = step.bucket(&input.bucket)?;
    step.allow(&bucket)?;
    let location = if bucket.region == DEFAULT_REGION { None } else { Some(bucket.region.into()) };
    Ok(dto::GetBucketLocationOutput { location_constraint: location })
}

pub(super) fn policy(step: &mut Step<'_, '_>, input: &dto::GetBucketPolicyInput) -> Result<dto::GetBucketPolicyOutput> {
    let bucket = step.bucket(&input.bucket)?;
    step.allow_on_policy(&bucket)?;
    Ok(dto::GetBucketPolicyOutput { policy: Some(policy::get(&bucket)?.to_owned()) })
}

pub(super) fn put_policy(
    step: &mut Step<'_, '_>,
    input: &dto::PutBucketPolicyInput,
) -> Result<dto::PutBucketPolicyOutput> {
    let document = serde_json::from_str::<Value>(&input.policy);
    step.show("bucketPolicy", document.unwrap_or(Value::Null));
    let bucket = step.bucket(&input.bucket)?;
    step.allow_on_policy(&bucket)?;
    policy::put(step.tx, &bucket, &input.policy)?;
    if input.confirm_remove_self_bucket_access != Some(true) {
        keeps_own_access(step, &input.bucket)?;
    }
    Ok(dto::PutBucketPolicyOutput {})
}

/// A policy that would keep its writer from ever changing it again is refused, unless that is confirmed.
fn keeps_own_access(step: &mut Step<'_, '_>, name: &str) -> Result<()> {
    let bucket = bucket::load(step.tx, name)?;
    step.allow_on_policy(&bucket).map_err(|error| match error.status {
        403 => invalid_request(
            "You cannot put a policy that denies you to change it again. Send x-amz-confirm-remove-self-bucket-access to \
             do so all the same.",
        ),
        _ => error,
    })
}

pub(super) fn delete_policy(
    step: &mut Step<'_, '_>,
    input: &dto::DeleteBucketPolicyInput,
) -> Result<dto::DeleteBucketPolicyOutput> {
    let bucket = step.bucket(&input.bucket)?;
    step.allow_on_policy(&bucket)?;
    policy::delete(step.tx, &bucket)?;
    Ok(dto::DeleteBucketPolicyOutput {})
}

pub(super) fn policy_status(
    step: &mut Step<'_, '_>,
    input: &dto::GetBucketPolicyStatusInput,
) -> Result<dto::GetBucketPolicyStatusOutput> {
    let bucket = step.bucket(&input.bucket)?;
    step.allow(&bucket)?;
    let is_public = policy::is_public(policy::get(&bucket)?);
    Ok(dto::GetBucketPolicyStatusOutput { policy_status: Some(dto::PolicyStatus { is_public: Some(is_public) }) })
}

pub(super) fn acl(step: &mut Step<'_, '_>, input: &dto::GetBucketAclInput) -> Result<dto::GetBucketAclOutput> {
    let bucket = step.bucket(&input.bucket)?;
    step.allow(&bucket)?;
    Ok(dto::GetBucketAclOutput { grants: Some(owner_grants(&bucket)), owner: Some(owner(&bucket.account)) })
}

/// The only ACL there is: everything to the owner.
pub(super) fn owner_grants(bucket: &Bucket) -> Vec<dto::Grant> {
    let owner = owner(&bucket.account);
    let grantee = dto::Grantee {
        display_name: owner.display_name,
        email_address: None,
        id: owner.id,
        type_: dto::Type::from_static(dto::Type::CANONICAL_USER),
        uri: None,
    };
    let permission = dto::Permission::from_static(dto::Permission::FULL_CONTROL);
    vec![dto::Grant { grantee: Some(grantee), permission: Some(permission) }]
}
