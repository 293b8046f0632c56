//! `Bucket`: a name no other account can have.

use serde::{Deserialize, Serialize};
use service::{Record, Result, Scope, Timestamp, Tx};

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

/// The bucket of this name, whoever owns it.
///
/// # Errors
/// 5xx when the store cannot be read.
pub fn find(tx: &mut Tx<'_>, name: &str) -> Result<Option<Bucket>> {
    tx.get::<Bucket>(&Scope::installation(), "", name)
}
