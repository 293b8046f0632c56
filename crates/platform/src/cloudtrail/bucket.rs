//! Whether a trail may deliver to its bucket.

use policy::{Context, Kind, Policy, Principal, Request};
use service::{Result, Timestamp, Tx};

use super::{error::error, layout, trail::Trail};
use crate::s3::bucket::{self, Bucket};

/// Who delivers.
pub const PRINCIPAL: &str = "cloudtrail.amazonaws.com";
/// Longest key prefix. Source: CloudTrail API Reference, "CreateTrail".
const PREFIX_CHARS_MAX: usize = 200;

/// Checks bucket and prefix as CreateTrail and UpdateTrail do: the bucket exists, and its policy lets CloudTrail read its
/// ACL and put this trail's files, whatever conditions it sets on ACL and source.
///
/// Source: CloudTrail User Guide, "Amazon S3 bucket policy for CloudTrail".
///
/// # Errors
/// `InvalidS3BucketNameException`, `InvalidS3PrefixException`, `S3BucketDoesNotExistException`,
/// `InsufficientS3BucketPolicyException`.
pub(crate) fn check(tx: &mut Tx<'_>, trail: &Trail, now: Timestamp) -> Result<()> {
    let name = &trail.s3_bucket_name;
    if !bucket::is_name(name) {
        // [U] The text.
        return Err(error("InvalidS3BucketNameException", format!("Bucket name is invalid: {name}")));
    }
    if trail.s3_key_prefix.as_ref().is_some_and(|prefix| prefix.chars().count() > PREFIX_CHARS_MAX) {
        return Err(error("InvalidS3PrefixException", "The S3 prefix is longer than 200 characters."));
    }
    let Some(bucket) = bucket::find(tx, name)? else {
        return Err(error("S3BucketDoesNotExistException", format!("S3 bucket {name} does not exist!")));
    };
    let log = layout::log_key(trail, &trail.home_region, now, "0000000000000000");
    let digest = trail.validates().then(|| layout::digest_key(trail, &trail.home_region, now));
    let keys = std::iter::once(log).chain(digest);
    if !allows_acl(&bucket, trail) || !keys.into_iter().all(|key| allows_put(&bucket, trail, &key)) {
        let text = format!("Incorrect S3 bucket policy is detected for bucket: {name}");
        return Err(error("InsufficientS3BucketPolicyException", text));
    }
    Ok(())
}

/// Whether the bucket's policy lets CloudTrail put this key for this trail.
#[must_use]
pub fn allows_put(bucket: &Bucket, trail: &Trail, key: &str) -> bool {
    allows(bucket, trail, "s3:PutObject", &format!("arn:aws:s3:::{}/{key}", bucket.name))
}

fn allows_acl(bucket: &Bucket, trail: &Trail) -> bool {
    allows(bucket, trail, "s3:GetBucketAcl", &format!("arn:aws:s3:::{}", bucket.name))
}

/// A policy that does not parse allows nothing.
fn allows(bucket: &Bucket, trail: &Trail, action: &str, resource: &str) -> bool {
    let Some(text) = &bucket.policy else { return false };
    let Ok(policy) = Policy::parse(text, Kind::Resource) else { return false };
    let mut context = Context::new();
    context.insert("aws:SourceArn", trail.arn());
    context.insert("aws:SourceAccount", trail.account.as_str());
    context.insert("aws:SecureTransport", "true");
    context.insert("aws:PrincipalIsAWSService", "true");
    context.insert("aws:PrincipalServiceName", PRINCIPAL);
    if action == "s3:PutObject" {
        context.insert("s3:x-amz-acl", "bucket-owner-full-control");
    }
    let principal = Principal::Service(PRINCIPAL.into());
    policy.evaluate(&Request { action, resource, principal: &principal, context: &context }).is_allow()
}
