//! What is stored, and the key it is stored under.

use serde::{Serialize, de::DeserializeOwned};

/// A noun's stored form. AWS's member names serve wire and store alike.
pub trait Record: Serialize + DeserializeOwned {
    /// `service/Noun`, such as `apigateway/RestApi`. Part of the key: never changes once released.
    const NOUN: &'static str;
    /// Whether the document is encrypted at rest (access keys and the like).
    const SECRET: bool = false;
}

/// The tenancy part of a key. No read or write can leave it out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// 12-digit account, or `installation` for what is unique across accounts.
    pub account: String,
    /// Region, or empty for global nouns such as IAM's.
    pub region: String,
}

impl Scope {
    /// A regional noun's scope.
    pub fn regional(account: impl Into<String>, region: impl Into<String>) -> Self {
        Self { account: account.into(), region: region.into() }
    }

    /// A global noun's scope (IAM).
    pub fn global(account: impl Into<String>) -> Self {
        Self { account: account.into(), region: String::new() }
    }

    /// For what must be found without knowing the account: API ids, access keys, bucket names.
    #[must_use]
    pub fn installation() -> Self {
        Self { account: "installation".into(), region: String::new() }
    }
}

/// One record's key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Account and region.
    pub scope: Scope,
    /// [`Record::NOUN`].
    pub noun: &'static str,
    /// The owning record's id, or a path of ids such as `api/resource`; empty at the top.
    pub parent: String,
    /// Unique under the parent.
    pub id: String,
}
