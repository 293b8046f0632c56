//! Tags of users, roles and policies.

use serde::{Deserialize, Serialize};
use service::Result;

use super::error::{invalid_input, limit_exceeded};

/// The most tags one resource has.
///
/// Source: IAM User Guide, "IAM and AWS STS quotas".
pub const TAGS_MAX: usize = 50;

/// One tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tag {
    /// At most 128 characters.
    pub key: String,
    /// At most 256 characters, may be empty.
    pub value: String,
}

/// Checks tags as one call gives them.
///
/// # Errors
/// `InvalidInput` for a key given twice or one that AWS keeps for itself; `LimitExceeded` for too many.
pub(crate) fn check(tags: &[Tag]) -> Result<()> {
    for (at, tag) in tags.iter().enumerate() {
        let folded = tag.key.to_lowercase();
        if folded.starts_with("aws:") {
            // [U] The text; that the prefix is refused is documented in "Tagging IAM resources".
            return Err(invalid_input(format!("Tag key {} uses the reserved prefix aws:.", tag.key)));
        }
        if tags.iter().skip(at + 1).any(|other| other.key.to_lowercase() == folded) {
            return Err(invalid_input("Duplicate tag keys found. Please note that Tag keys are case insensitive."));
        }
    }
    check_count(tags.len())
}

/// Lays `given` over `tags`: a key that differs in case only is the same key, and takes the new spelling.
///
/// # Errors
/// As [`check`], and `LimitExceeded` when the result has too many; nothing is changed then.
pub(crate) fn merge(tags: &mut Vec<Tag>, given: Vec<Tag>) -> Result<()> {
    check(&given)?;
    let mut merged = tags.clone();
    for tag in given {
        let folded = tag.key.to_lowercase();
        match merged.iter_mut().find(|old| old.key.to_lowercase() == folded) {
            Some(old) => *old = tag,
            None => merged.push(tag),
        }
    }
    check_count(merged.len())?;
    *tags = merged;
    Ok(())
}

/// Removes keys; one that is not there changes nothing.
pub(crate) fn remove(tags: &mut Vec<Tag>, keys: &[String]) {
    tags.retain(|tag| !keys.iter().any(|key| key.to_lowercase() == tag.key.to_lowercase()));
}

fn check_count(count: usize) -> Result<()> {
    if count > TAGS_MAX {
        return Err(limit_exceeded(format!("The number of tags has reached the maximum limit of {TAGS_MAX}.")));
    }
    Ok(())
}
