//! `GetCallerIdentity`: who a key belongs to, asked by every tool before anything else.

use serde::Deserialize;
use serde_json::{Value, json};
use service::{Cx, Entry, Need, Operation, Result, Tx};

pub struct GetCallerIdentity;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetCallerIdentityInput {}

impl Operation for GetCallerIdentity {
    const NAME: &'static str = "GetCallerIdentity";
    type Input = GetCallerIdentityInput;
    type Output = Value;

    /// None: not even an explicit deny keeps a caller from learning its own name.
    ///
    /// Source: STS API Reference, "GetCallerIdentity".
    fn needs(_input: &Self::Input, _default: Need, _cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(Vec::new())
    }

    fn apply(_input: Self::Input, cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Value> {
        Ok(json!({ "UserId": cx.caller.user_id(), "Account": cx.account(), "Arn": cx.caller.arn() }))
    }
}

/// The operations of this noun.
pub const OPERATIONS: &[Entry] = &[Entry::of::<GetCallerIdentity>()];
