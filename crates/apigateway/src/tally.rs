//! How many there are of something that must not be counted by reading it.

use serde::{Deserialize, Serialize};
use service::{Record, Result, Scope, Tx};

/// A count kept beside what it counts, so that creating one costs the same whether there are others or not. Under an
/// empty parent and the ids `rest-apis` and `api-keys`: those of an account in a region. Under an API's id and the id
/// `deployments`: its deployments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    pub count: u32,
}

impl Record for Tally {
    const NOUN: &'static str = "apigateway/Tally";
}

pub(crate) const REST_APIS: &str = "rest-apis";
pub(crate) const API_KEYS: &str = "api-keys";
pub(crate) const DEPLOYMENTS: &str = "deployments";

pub(crate) fn count(tx: &mut Tx<'_>, scope: &Scope, parent: &str, id: &str) -> Result<u32> {
    Ok(tx.get::<Tally>(scope, parent, id)?.unwrap_or_default().count)
}

/// Adds one, or takes one away; never below none.
pub(crate) fn step(tx: &mut Tx<'_>, scope: &Scope, parent: &str, id: &str, up: bool) -> Result<()> {
    let count = count(tx, scope, parent, id)?;
    let count = if up { count.saturating_add(1) } else { count.saturating_sub(1) };
    tx.put(scope, parent, id, &Tally { count })
}
