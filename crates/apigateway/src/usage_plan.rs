//! `UsagePlan` and `UsagePlanKey`: how much the holders of API keys may call.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use service::patch::{Op, Step};
use service::{Cx, Entry, Operation, Parent, Record, Result, Scope, Tx};

use crate::api_key::ApiKey;
use crate::error::{bad_request, conflict, limit_exceeded, not_found, not_in_enum, unsupported};
use crate::limits::{PLAN_STAGES_MAX, USAGE_PLANS_MAX, check_tags, check_text};
use crate::page::{self, Page};
use crate::resource::fresh_id;
use crate::stage::Stage;
use crate::{Nothing, rest_api::RestApi};

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
    /// Requests taken off the first period; 0 in a `DAY`, at most 6 in a `WEEK` and 27 in a `MONTH`.
    #[serde(default)]
    pub offset: i64,
    /// `DAY`, `WEEK` or `MONTH`.
    #[serde(default)]
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

/// The caller's plan of that id.
pub(crate) fn find(cx: &Cx<'_>, tx: &mut Tx<'_>, id: &str) -> Result<UsagePlan> {
    tx.get(&cx.scope(), "", id)?.ok_or_else(|| not_found("Invalid Usage Plan ID specified"))
}

pub(crate) fn store(cx: &Cx<'_>, tx: &mut Tx<'_>, plan: &UsagePlan) -> Result<()> {
    tx.put(&cx.scope(), "", &plan.id, plan)
}

/// The plans a key is in, by id.
pub(crate) fn of_key(cx: &Cx<'_>, tx: &mut Tx<'_>, key: &str) -> Result<Vec<UsagePlan>> {
    let scope = cx.scope();
    let mut plans = Vec::new();
    for plan in tx.list::<UsagePlan>(&scope, &Parent::Exact(""))? {
        if tx.get::<UsagePlanKey>(&scope, &plan.id, key)?.is_some() {
            plans.push(plan);
        }
    }
    Ok(plans)
}

/// Takes a stage, or all stages of an API, out of the caller's plans when it is deleted: one of the same name made
/// later must not be open to the keys of then. \[U\] AWS does not document what it does.
pub(crate) fn forget(cx: &Cx<'_>, tx: &mut Tx<'_>, api: &str, stage: Option<&str>) -> Result<()> {
    for mut plan in tx.list::<UsagePlan>(&cx.scope(), &Parent::Exact(""))? {
        let before = plan.api_stages.len();
        plan.api_stages.retain(|at| at.api_id != api || stage.is_some_and(|stage| at.stage != stage));
        if plan.api_stages.len() != before {
            store(cx, tx, &plan)?;
        }
    }
    Ok(())
}

/// What clients see of a plan.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UsagePlanOutput {
    id: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    api_stages: Vec<ApiStage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    throttle: Option<Throttle>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<Quota>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<BTreeMap<String, String>>,
}

impl UsagePlanOutput {
    /// AWS leaves an empty `tags` out of CreateUsagePlan and of lists, and shows it elsewhere.
    fn new(plan: UsagePlan, empty_tags: bool) -> Self {
        Self {
            id: plan.id,
            name: plan.name,
            description: plan.description,
            api_stages: plan.api_stages,
            throttle: plan.throttle,
            quota: plan.quota,
            tags: (empty_tags || !plan.tags.is_empty()).then_some(plan.tags),
        }
    }
}

/// Checks what a plan must be as a whole, its stages apart. \[U\] AWS's texts for throttle and quota are not recorded.
fn check(plan: &UsagePlan) -> Result<()> {
    if plan.name.trim().is_empty() {
        return Err(bad_request("Usage Plan name cannot be empty"));
    }
    check_text("name", &plan.name)?;
    check_text("description", plan.description.as_deref().unwrap_or_default())?;
    if let Some(Throttle { burst_limit, rate_limit }) = plan.throttle {
        if !(0..=i64::from(i32::MAX)).contains(&burst_limit) {
            return Err(bad_request("Usage Plan throttle burstLimit must not be negative"));
        }
        if !rate_limit.is_finite() || rate_limit < 0.0 {
            return Err(bad_request("Usage Plan throttle rateLimit must not be negative"));
        }
    }
    plan.quota.as_ref().map_or(Ok(()), check_quota)
}

fn check_quota(quota: &Quota) -> Result<()> {
    let (offset_max, rule) = match quota.period.as_str() {
        "DAY" => (0, "zero in the DAY period"),
        "WEEK" => (6, "between zero and six inclusive in the WEEK period"),
        "MONTH" => (27, "between zero and twenty-seven inclusive in the MONTH period"),
        "" => return Err(bad_request("Usage Plan quota period must be set")),
        period => return Err(not_in_enum(period, "quota.period", "MONTH, WEEK, DAY")),
    };
    if !(0..=i64::from(i32::MAX)).contains(&quota.limit) {
        return Err(bad_request("Usage Plan quota limit must not be negative"));
    }
    if !(0..=offset_max).contains(&quota.offset) {
        return Err(bad_request(format!("Usage Plan quota offset must be {rule}")));
    }
    Ok(())
}

/// Attaches a stage to a plan.
fn attach(plan: &mut UsagePlan, api: &str, stage: &str, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<()> {
    if api.is_empty() || stage.is_empty() {
        return Err(bad_request("Invalid API Stage specified"));
    }
    let scope = cx.scope();
    let known = tx.get::<RestApi>(&scope, "", api)?.is_some() && tx.get::<Stage>(&scope, api, stage)?.is_some();
    if !known {
        return Err(invalid_stage(plan, api, stage));
    }
    if plan.api_stages.iter().any(|at| at.api_id == api && at.stage == stage) {
        // [U]: AWS's text is not recorded.
        return Err(conflict(format!("The API stage {api}:{stage} is in usage plan {} already.", plan.id)));
    }
    if plan.api_stages.len() >= PLAN_STAGES_MAX {
        return Err(limit_exceeded("API stages", "usage plan"));
    }
    check_keys(plan, api, stage, cx, tx)?;
    plan.api_stages.push(ApiStage { api_id: api.to_owned(), stage: stage.to_owned(), throttle: BTreeMap::new() });
    Ok(())
}

/// Refuses a stage that a key of this plan is counted for in another plan.
fn check_keys(plan: &UsagePlan, api: &str, stage: &str, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<()> {
    let scope = cx.scope();
    let own = tx.list::<UsagePlanKey>(&scope, &Parent::Exact(&plan.id))?;
    if own.is_empty() {
        return Ok(());
    }
    for other in tx.list::<UsagePlan>(&scope, &Parent::Exact(""))? {
        if other.id == plan.id || !other.api_stages.iter().any(|at| at.api_id == api && at.stage == stage) {
            continue;
        }
        for key in &own {
            if tx.get::<UsagePlanKey>(&scope, &other.id, &key.id)?.is_some() {
                return Err(two_plans(&key.id, api, stage));
            }
        }
    }
    Ok(())
}

/// \[U\] AWS's text is not recorded.
pub(crate) fn two_plans(key: &str, api: &str, stage: &str) -> service::ServiceError {
    conflict(format!(
        "API Key {key} cannot be in two usage plans with the same API stage. Conflicting API stage: {api}:{stage}"
    ))
}

fn invalid_stage(plan: &UsagePlan, api: &str, stage: &str) -> service::ServiceError {
    not_found(format!("Invalid API Stage {{api: {api}, stage: {stage}}} specified for usageplan {}", plan.id))
}

/// A stage as it is sent.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiStageInput {
    #[serde(default)]
    api_id: String,
    #[serde(default)]
    stage: String,
    throttle: Option<BTreeMap<String, Throttle>>,
}

/// Input of [`CreateUsagePlan`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateUsagePlanInput {
    name: String,
    description: Option<String>,
    api_stages: Option<Vec<ApiStageInput>>,
    throttle: Option<Throttle>,
    quota: Option<Quota>,
    tags: Option<BTreeMap<String, String>>,
}

/// Makes a plan without keys. A throttle's or quota's number that is left out is 0, which blocks everything.
pub struct CreateUsagePlan;

impl Operation for CreateUsagePlan {
    const NAME: &'static str = "CreateUsagePlan";
    type Input = CreateUsagePlanInput;
    type Output = UsagePlanOutput;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let mut plan = UsagePlan {
            id: fresh_id::<UsagePlan>(cx, tx, "")?,
            name: input.name,
            description: input.description.filter(|text| !text.is_empty()),
            api_stages: Vec::new(),
            throttle: input.throttle,
            quota: input.quota,
            tags: input.tags.unwrap_or_default(),
        };
        check(&plan)?;
        check_tags(&plan.tags)?;
        if tx.list::<UsagePlan>(&cx.scope(), &Parent::Exact(""))?.len() >= USAGE_PLANS_MAX {
            return Err(limit_exceeded("Usage Plans", "account"));
        }
        for at in input.api_stages.unwrap_or_default() {
            if at.throttle.is_some_and(|throttle| !throttle.is_empty()) {
                return Err(unsupported("apiStages.throttle"));
            }
            attach(&mut plan, &at.api_id, &at.stage, cx, tx)?;
        }
        store(cx, tx, &plan)?;
        Ok(UsagePlanOutput::new(plan, false))
    }
}

/// Names one plan.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsagePlanInput {
    usage_plan_id: String,
}

/// Shows a plan.
pub struct GetUsagePlan;

impl Operation for GetUsagePlan {
    const NAME: &'static str = "GetUsagePlan";
    type Input = UsagePlanInput;
    type Output = UsagePlanOutput;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        Ok(UsagePlanOutput::new(find(cx, tx, &input.usage_plan_id)?, true))
    }
}

/// Input of [`GetUsagePlans`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetUsagePlansInput {
    position: Option<String>,
    key_id: Option<String>,
    limit: Option<i64>,
}

/// Lists the caller's plans in this region, by id: all, or those a key is in.
pub struct GetUsagePlans;

impl Operation for GetUsagePlans {
    const NAME: &'static str = "GetUsagePlans";
    type Input = GetUsagePlansInput;
    type Output = Page<UsagePlanOutput>;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let page = match input.key_id.as_deref().filter(|key| !key.is_empty()) {
            Some(key) => {
                let plans = of_key(cx, tx, key)?;
                page::of(cx, "", plans, |plan| plan.id.clone(), input.position.as_deref(), input.limit)?
            }
            None => page::read::<UsagePlan>(cx, tx, "", input.position.as_deref(), input.limit)?,
        };
        Ok(page.map(|plan| UsagePlanOutput::new(plan, false)))
    }
}

/// Input of [`UpdateUsagePlan`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateUsagePlanInput {
    usage_plan_id: String,
    #[serde(default)]
    patch_operations: Vec<Step>,
}

/// Changes a plan, which is live at once; the steps count together.
pub struct UpdateUsagePlan;

impl Operation for UpdateUsagePlan {
    const NAME: &'static str = "UpdateUsagePlan";
    type Input = UpdateUsagePlanInput;
    type Output = UsagePlanOutput;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let mut plan = find(cx, tx, &input.usage_plan_id)?;
        for step in &input.patch_operations {
            patch(&mut plan, step, cx, tx)?;
        }
        check(&plan)?;
        store(cx, tx, &plan)?;
        Ok(UsagePlanOutput::new(plan, true))
    }
}

fn patch(plan: &mut UsagePlan, step: &Step, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<()> {
    let pointer = step.pointer();
    let path: Vec<&str> = pointer.iter().map(String::as_str).collect();
    match (path.as_slice(), step.op) {
        (["name"], Op::Replace) => plan.name = step.value.clone().unwrap_or_default(),
        (["description"], Op::Replace) => plan.description = step.text().map(str::to_owned),
        (["productCode"], Op::Replace | Op::Add) if step.text().is_some() => return Err(unsupported("productCode")),
        (["productCode"], Op::Replace | Op::Add | Op::Remove) => {}
        (["throttle"], Op::Remove) => plan.throttle = None,
        (["quota"], Op::Remove) => plan.quota = None,
        (["throttle", member @ ("burstLimit" | "rateLimit")], Op::Replace | Op::Add) => {
            let throttle = plan.throttle.get_or_insert(Throttle { burst_limit: 0, rate_limit: 0.0 });
            match *member {
                "burstLimit" => throttle.burst_limit = number(step)?,
                _ => throttle.rate_limit = number(step)?,
            }
        }
        (["quota", member @ ("limit" | "offset" | "period")], Op::Replace | Op::Add) => {
            let quota = plan.quota.get_or_insert_with(|| Quota { limit: 0, offset: 0, period: String::new() });
            match *member {
                "limit" => quota.limit = number(step)?,
                "offset" => quota.offset = number(step)?,
                _ => quota.period = step.value.clone().unwrap_or_default(),
            }
        }
        (["apiStages"], Op::Add | Op::Remove) => {
            let named = step.value.as_deref().and_then(|value| value.split_once(':'));
            let (api, stage) = named.ok_or_else(|| bad_request("Invalid API Stage specified"))?;
            if step.op == Op::Add {
                return attach(plan, api, stage, cx, tx);
            }
            let at = plan.api_stages.iter().position(|at| at.api_id == api && at.stage == stage);
            plan.api_stages.remove(at.ok_or_else(|| invalid_stage(plan, api, stage))?);
        }
        (["apiStages", _, "throttle", ..], Op::Add | Op::Replace) => return Err(unsupported("apiStages.throttle")),
        // [U]: AWS's text is not recorded for this noun.
        _ => return Err(bad_request(format!("Invalid patch path {}", step.path()))),
    }
    Ok(())
}

fn number<N: std::str::FromStr>(step: &Step) -> Result<N> {
    let value = step.value.as_deref().unwrap_or_default();
    // [U]: AWS's text is not recorded.
    value.parse().map_err(|_| bad_request(format!("Invalid value '{value}' specified for {}", step.path())))
}

/// Deletes a plan that no stage is attached to, with the membership of its keys.
pub struct DeleteUsagePlan;

impl Operation for DeleteUsagePlan {
    const NAME: &'static str = "DeleteUsagePlan";
    type Input = UsagePlanInput;
    type Output = Nothing;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let plan = find(cx, tx, &input.usage_plan_id)?;
        if !plan.api_stages.is_empty() {
            return Err(bad_request(format!("Cannot delete usage plan {} with associated api stages", plan.id)));
        }
        let scope = cx.scope();
        tx.delete_all::<UsagePlanKey>(&scope, &Parent::Exact(&plan.id))?;
        tx.delete::<UsagePlan>(&scope, "", &plan.id);
        Ok(Nothing {})
    }
}

/// Operations of this noun.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<CreateUsagePlan>(),
    Entry::of::<GetUsagePlan>(),
    Entry::of::<GetUsagePlans>(),
    Entry::of::<UpdateUsagePlan>(),
    Entry::of::<DeleteUsagePlan>(),
];

#[cfg(test)]
mod tests;
