//! `Bucket`: a name no other account can have.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use service::{Parent, Record, Result, Scope, ServiceError, Timestamp, Tx};

use super::{error::no_such_bucket, object::Object, policy, upload};

/// Buckets one account may have; AWS's quota is 10,000, which one answer of ListBuckets can still carry.
pub const BUCKETS_MAX: usize = 1000;
/// The region whose buckets have no location constraint.
pub const DEFAULT_REGION: &str = "us-east-1";

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Bucket {
    /// Unique over the installation.
    pub name: String,
    /// The owner, 12 digits.
    pub account: String,
    pub region: String,
    /// The bucket policy as it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    pub creation_date: Timestamp,
}

impl Record for Bucket {
    const NOUN: &'static str = "s3/Bucket";
}

/// That an account owns a bucket: what ListBuckets reads instead of everybody's buckets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OwnedBucket {
    name: String,
}

impl Record for OwnedBucket {
    const NOUN: &'static str = "s3/OwnedBucket";
}

impl Bucket {
    /// Its ARN.
    #[must_use]
    pub fn arn(&self) -> String {
        format!("arn:aws:s3:::{}", self.name)
    }

    /// The ARN of one of its objects.
    #[must_use]
    pub fn object_arn(&self, key: &str) -> String {
        format!("arn:aws:s3:::{}/{key}", self.name)
    }

    /// What GetBucketLocation answers: nothing for us-east-1.
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        (self.region != DEFAULT_REGION).then_some(self.region.as_str())
    }
}

/// The bucket of this name, whoever owns it.
///
/// # Errors
/// 5xx when the store cannot be read.
pub fn find(tx: &mut Tx<'_>, name: &str) -> Result<Option<Bucket>> {
    tx.get::<Bucket>(&Scope::installation(), "", name)
}

/// As [`find`], for operations that need it.
///
/// # Errors
/// `NoSuchBucket`.
pub fn load(tx: &mut Tx<'_>, name: &str) -> Result<Bucket> {
    find(tx, name)?.ok_or_else(|| no_such_bucket(name))
}

/// Stores a changed bucket.
pub(crate) fn save(tx: &mut Tx<'_>, bucket: &Bucket) -> Result<()> {
    tx.put(&Scope::installation(), "", &bucket.name, bucket)
}

/// Whether a new bucket may bear this name.
///
/// Source: Amazon S3 User Guide, "General purpose bucket naming rules".
#[must_use]
pub fn is_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (3..=63).contains(&name.len())
        && name.chars().all(|c| inner(c) || matches!(c, '.' | '-'))
        && name.starts_with(inner)
        && name.ends_with(inner)
        && !name.contains("..")
        && name.parse::<Ipv4Addr>().is_err()
        && !["xn--", "sthree-", "amzn-s3-demo-"].iter().any(|prefix| name.starts_with(prefix))
        && !["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"].iter().any(|suffix| name.ends_with(suffix))
}

/// Where a function's code is named, it stands for a directory of the server's machine. Nobody's bucket has this name, so
/// that code meant for the one is never taken from the other.
pub const HOT_RELOAD: &str = "hot-reload";

/// Creates a bucket of `account`, in the region of the constraint or, without one, in the region the call was signed for.
///
/// A call signed for us-east-1 may name any other region; one signed for another region may name that one alone, and
/// must not leave it out. Re-creation by the owner succeeds in us-east-1 and changes nothing.
///
/// Source: Amazon S3 API Reference, "CreateBucket".
///
/// # Errors
/// `InvalidBucketName`, `IllegalLocationConstraintException`, `InvalidLocationConstraint`, `BucketAlreadyExists`,
/// `BucketAlreadyOwnedByYou`, `TooManyBuckets`.
pub fn create(
    tx: &mut Tx<'_>,
    name: &str,
    account: &str,
    signed_region: &str,
    constraint: Option<&str>,
    now: Timestamp,
) -> Result<Bucket> {
    if !is_name(name) || name == HOT_RELOAD {
        return Err(ServiceError::new("InvalidBucketName", 400, "The specified bucket is not valid.")
            .with_field("BucketName", name));
    }
    let region = region(signed_region, constraint)?;
    if let Some(bucket) = find(tx, name)? {
        return already(bucket, account, &region);
    }
    let owned = tx.page::<OwnedBucket>(&Scope::global(account), "", None, BUCKETS_MAX)?;
    if owned.len() >= BUCKETS_MAX {
        let text = "You have attempted to create more buckets than allowed";
        return Err(ServiceError::new("TooManyBuckets", 400, text));
    }
    let bucket = Bucket { name: name.into(), account: account.into(), region, policy: None, creation_date: now };
    save(tx, &bucket)?;
    tx.put(&Scope::global(account), "", name, &OwnedBucket { name: name.into() })?;
    Ok(bucket)
}

fn already(bucket: Bucket, account: &str, region: &str) -> Result<Bucket> {
    if bucket.account != account {
        let text = "The requested bucket name is not available. The bucket namespace is shared by all users of the \
                    system. Please select a different name and try again.";
        return Err(ServiceError::new("BucketAlreadyExists", 409, text).with_field("BucketName", bucket.name.as_str()));
    }
    if bucket.region == DEFAULT_REGION && region == DEFAULT_REGION {
        return Ok(bucket);
    }
    let text = "Your previous request to create the named bucket succeeded and you already own it.";
    Err(ServiceError::new("BucketAlreadyOwnedByYou", 409, text).with_field("BucketName", bucket.name.as_str()))
}

fn region(signed: &str, constraint: Option<&str>) -> Result<String> {
    let Some(constraint) = constraint.filter(|constraint| !constraint.is_empty()) else {
        if signed == DEFAULT_REGION {
            return Ok(DEFAULT_REGION.into());
        }
        let text = "The unspecified location constraint is incompatible for the region specific endpoint this request \
                    was sent to.";
        return Err(ServiceError::new("IllegalLocationConstraintException", 400, text));
    };
    // The old name of the first region outside the United States is still understood.
    let constraint = if constraint == "EU" { "eu-west-1" } else { constraint };
    if constraint == DEFAULT_REGION || !is_region(constraint) {
        let text = "The specified location-constraint is not valid";
        return Err(
            ServiceError::new("InvalidLocationConstraint", 400, text).with_field("LocationConstraint", constraint)
        );
    }
    if signed != DEFAULT_REGION && signed != constraint {
        let text = format!(
            "The {constraint} location constraint is incompatible for the region specific endpoint this request was \
             sent to."
        );
        return Err(ServiceError::new("IllegalLocationConstraintException", 400, text));
    }
    Ok(constraint.into())
}

/// Whether a text has the form of a region, such as `eu-west-1` or `us-gov-east-1`.
fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let word = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    match parts.as_slice() {
        [words @ .., number] => {
            (2..=4).contains(&words.len())
                && words.iter().all(word)
                && (1..=2).contains(&number.len())
                && number.bytes().all(|b| b.is_ascii_digit())
                && ::policy::Region::try_from(text).is_ok()
        }
        [] => false,
    }
}

/// The buckets of an account by name, after the given one, at most `limit`.
///
/// # Errors
/// 5xx when the store cannot be read.
pub fn owned(tx: &mut Tx<'_>, account: &str, after: Option<&str>, limit: usize) -> Result<Vec<Bucket>> {
    let rows = tx.page::<OwnedBucket>(&Scope::global(account), "", after, limit.min(BUCKETS_MAX + 1))?;
    let mut buckets = Vec::with_capacity(rows.len());
    for (name, _) in rows {
        buckets.extend(find(tx, &name)?);
    }
    Ok(buckets)
}

/// Deletes an empty bucket with its policy. Uploads under way end with it.
///
/// # Errors
/// `BucketNotEmpty`.
pub fn delete(tx: &mut Tx<'_>, bucket: &Bucket) -> Result<()> {
    let installation = Scope::installation();
    if !tx.page::<Object>(&installation, &bucket.name, None, 1)?.is_empty() {
        let text = "The bucket you tried to delete is not empty";
        return Err(ServiceError::new("BucketNotEmpty", 409, text).with_field("BucketName", bucket.name.as_str()));
    }
    tx.delete_all::<upload::Upload>(&installation, &Parent::Exact(&bucket.name))?;
    tx.delete_all::<upload::Part>(&installation, &Parent::Prefix(&format!("{}/", bucket.name)))?;
    tx.delete::<policy::Bound>(&installation, "", &bucket.name);
    tx.delete::<Bucket>(&installation, "", &bucket.name);
    tx.delete::<OwnedBucket>(&Scope::global(bucket.account.as_str()), "", &bucket.name);
    Ok(())
}
