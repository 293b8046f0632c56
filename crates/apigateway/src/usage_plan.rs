//! `UsagePlan` and `UsagePlanKey`: how much the holders of API keys may call.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use service::{Parent, Record, Result, Scope, Tx};

use crate::api_key::ApiKey;

/// A usage plan of an account in a region; the parent of the key is empty. Changes are live at once.
///
/// The data plane counts in memory and per node: quota counters begin anew when it restarts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsagePlan {
    /// 6 characters.
    pub id: String,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default)]
    pub api_stages: Vec<ApiStage>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle: Option<Throttle>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

impl Record for UsagePlan {
    const NOUN: &'static str = "apigateway/UsagePlan";
}

/// A stage whose callers a plan counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiStage {
    pub api_id: String,
    pub stage: String,
    /// `/path/VERB` to its limits. Always empty: such limits are refused until they are enforced.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub throttle: BTreeMap<String, Throttle>,
}

/// A token bucket per key; 0 of either blocks everything.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttle {
    /// Requests at once.
    #[serde(default)]
    pub burst_limit: i64,
    /// Requests in a second.
    #[serde(default)]
    pub rate_limit: f64,
}

/// How many requests a key has in a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    #[serde(default)]
    pub limit: i64,
    /// Requests taken off the first period.
    #[serde(default)]
    pub offset: i64,
    /// `DAY`, `WEEK` or `MONTH`.
    pub period: String,
}

/// An API key in a plan; parent of the key is the plan's id, id is the key's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsagePlanKey {
    /// The API key's id.
    pub id: String,
    pub plan_id: String,
}

impl Record for UsagePlanKey {
    const NOUN: &'static str = "apigateway/UsagePlanKey";
}

/// An API key as the data plane needs it.
#[derive(Clone, PartialEq)]
pub struct KeyInUse {
    pub key_id: String,
    /// What clients send; not printed by `Debug`.
    pub value: String,
    pub enabled: bool,
    pub name: Option<String>,
    /// By plan id.
    pub plans: Vec<PlanInUse>,
}

impl fmt::Debug for KeyInUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyInUse").field("key_id", &self.key_id).field("plans", &self.plans).finish_non_exhaustive()
    }
}

/// A plan a key is in.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanInUse {
    pub plan_id: String,
    /// API id and stage name.
    pub stages: Vec<(String, String)>,
    pub throttle: Option<Throttle>,
    pub quota: Option<Quota>,
}

/// Every API key of an account in a region with the plans it is in, by key id. Keys in no plan are there too.
///
/// # Errors
/// 5xx when a record does not decode.
pub fn load(tx: &mut Tx<'_>, scope: &Scope) -> Result<Vec<KeyInUse>> {
    let plans = tx.list::<UsagePlan>(scope, &Parent::Exact(""))?;
    let members = tx.list::<UsagePlanKey>(scope, &Parent::Prefix(""))?;
    let mut of_key: BTreeMap<&str, Vec<PlanInUse>> = BTreeMap::new();
    let plans: BTreeMap<&str, &UsagePlan> = plans.iter().map(|plan| (plan.id.as_str(), plan)).collect();
    for member in &members {
        let Some(plan) = plans.get(member.plan_id.as_str()) else { continue };
        of_key.entry(&member.id).or_default().push(PlanInUse {
            plan_id: plan.id.clone(),
            stages: plan.api_stages.iter().map(|at| (at.api_id.clone(), at.stage.clone())).collect(),
            throttle: plan.throttle,
            quota: plan.quota.clone(),
        });
    }
    let keys = tx.list::<ApiKey>(scope, &Parent::Exact(""))?;
    let in_use = keys.into_iter().map(|key| KeyInUse {
        plans: of_key.remove(key.id.as_str()).unwrap_or_default(),
        key_id: key.id,
        value: key.value,
        enabled: key.enabled,
        name: key.name,
    });
    Ok(in_use.collect())
}
