//! `Account`: what API Gateway grants an account in a region.

use serde::{Deserialize, Serialize};
use service::{Cx, Entry, Operation, Result, Tx};

/// AWS's account settings. Nothing of it can be changed yet, so nothing is stored.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountOutput {
    throttle_settings: ThrottleSettings,
    features: &'static [&'static str],
    api_key_version: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ThrottleSettings {
    burst_limit: u32,
    rate_limit: f64,
}

/// GetAccount takes no member.
#[derive(Debug, Deserialize)]
pub struct GetAccountInput {}

/// Shows AWS's defaults, as an account without changes has them.
///
/// Source: API Gateway Developer Guide, "Throttle requests to your REST APIs for better throughput in API Gateway".
pub struct GetAccount;

impl Operation for GetAccount {
    const NAME: &'static str = "GetAccount";
    type Input = GetAccountInput;
    type Output = AccountOutput;

    fn apply(_input: Self::Input, _cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Self::Output> {
        Ok(AccountOutput {
            throttle_settings: ThrottleSettings { burst_limit: 5000, rate_limit: 10_000.0 },
            features: &["UsagePlans"],
            api_key_version: "4",
        })
    }
}

/// Operations of this noun.
pub const OPERATIONS: &[Entry] = &[Entry::of::<GetAccount>()];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[test]
    fn an_account_shows_the_defaults() {
        assert_eq!(
            World::new().ok("GetAccount", json!({})),
            json!({
                "throttleSettings": {"burstLimit": 5000, "rateLimit": 10000.0},
                "features": ["UsagePlans"],
                "apiKeyVersion": "4"
            })
        );
    }
}
