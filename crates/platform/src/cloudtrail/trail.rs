//! `Trail`: where the events of an account are delivered, and which.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use service::{Entry, Record, Result, Scope, Tx};

/// A trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Trail {
    pub name: String,
    /// The owner, 12 digits.
    pub account: String,
    pub home_region: String,
}

impl Record for Trail {
    const NOUN: &'static str = "cloudtrail/Trail";
}

/// Where the trails of an account are: what finds them without asking every region.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Homes {
    /// Names by home region.
    pub regions: BTreeMap<String, BTreeSet<String>>,
}

impl Record for Homes {
    const NOUN: &'static str = "cloudtrail/Homes";
}

/// What one logging trail selects.
#[derive(Debug, Clone)]
pub struct Selection {}

impl Selection {
    /// Whether the invocation of a function in `region` is selected.
    #[must_use]
    pub fn selects_invoke(&self, _function_arn: &str, _region: &str) -> bool {
        false
    }
}

/// What the logging trails of an account select, those that select data events only.
///
/// # Errors
/// 5xx when the store cannot be read.
pub fn selections(_tx: &mut Tx<'_>, _account: &str) -> Result<Vec<Selection>> {
    Ok(Vec::new())
}

/// Accounts that have trails.
///
/// # Errors
/// 5xx when the store cannot be read.
pub fn accounts(tx: &mut Tx<'_>) -> Result<Vec<String>> {
    let (mut accounts, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = tx.page::<Homes>(&Scope::installation(), "", after.as_deref(), 1000)?;
        let Some((last, _)) = page.last() else { return Ok(accounts) };
        after = Some(last.clone());
        accounts.extend(page.into_iter().map(|(account, _)| account));
    }
}

/// The operations of this noun.
pub const OPERATIONS: &[Entry] = &[];
