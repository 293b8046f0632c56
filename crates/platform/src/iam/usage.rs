//! How many nouns of each kind an account has, so that its quotas can be kept without counting.

use serde::{Deserialize, Serialize};
use service::{Record, Result, Scope, Tx};

use super::error::limit_exceeded;

/// The counts of one account.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Usage {
    users: u32,
    roles: u32,
    policies: u32,
}

impl Record for Usage {
    const NOUN: &'static str = "iam/Usage";
}

/// What is counted, with the account's quota.
///
/// Source: IAM User Guide, "IAM and AWS STS quotas".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// 5,000.
    Users,
    /// 1,000.
    Roles,
    /// 1,500.
    Policies,
}

impl Counted {
    fn quota(self) -> (&'static str, u32) {
        match self {
            Self::Users => ("UsersPerAccount", 5000),
            Self::Roles => ("RolesPerAccount", 1000),
            Self::Policies => ("PoliciesPerAccount", 1500),
        }
    }

    fn count(self, usage: &mut Usage) -> &mut u32 {
        match self {
            Self::Users => &mut usage.users,
            Self::Roles => &mut usage.roles,
            Self::Policies => &mut usage.policies,
        }
    }
}

/// Counts one more.
///
/// # Errors
/// `LimitExceeded` when the account has as many as it may.
pub(crate) fn add(tx: &mut Tx<'_>, account: &str, counted: Counted) -> Result<()> {
    let scope = Scope::global(account);
    let mut usage = tx.get::<Usage>(&scope, "", "usage")?.unwrap_or_default();
    let (name, max) = counted.quota();
    let count = counted.count(&mut usage);
    if *count >= max {
        return Err(limit_exceeded(format!("Cannot exceed quota for {name}: {max}")));
    }
    *count = count.saturating_add(1);
    tx.put(&scope, "", "usage", &usage)
}

/// Counts one less.
pub(crate) fn remove(tx: &mut Tx<'_>, account: &str, counted: Counted) -> Result<()> {
    let scope = Scope::global(account);
    let mut usage = tx.get::<Usage>(&scope, "", "usage")?.unwrap_or_default();
    let count = counted.count(&mut usage);
    *count = count.saturating_sub(1);
    tx.put(&scope, "", "usage", &usage)
}
