//! `UsagePlanKey`: an API key in a usage plan. The record is part of [`crate::usage_plan`].

use serde::{Deserialize, Serialize};
use serde_json::Value;
use service::{Cx, Entry, Operation, Parent, Result, Tx};

use crate::Nothing;
use crate::api_key::{self, ApiKey, without_value};
use crate::error::{bad_request, conflict, limit_exceeded, not_found};
use crate::limits::PLANS_OF_KEY_MAX;
use crate::page::{self, Page};
use crate::usage_plan::{self, UsagePlanKey, two_plans};

/// What clients see of a key in a plan.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UsagePlanKeyOutput {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

impl UsagePlanKeyOutput {
    fn new(key: ApiKey, value: bool) -> Self {
        Self { id: key.id, kind: "API_KEY", value: value.then_some(key.value), name: key.name }
    }
}

/// Input of [`CreateUsagePlanKey`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateUsagePlanKeyInput {
    usage_plan_id: String,
    key_id: String,
    key_type: String,
}

/// Puts a key into a plan. A key may be in ten plans, no two of them with the same stage.
pub struct CreateUsagePlanKey;

impl Operation for CreateUsagePlanKey {
    const NAME: &'static str = "CreateUsagePlanKey";
    type Input = CreateUsagePlanKeyInput;
    type Output = UsagePlanKeyOutput;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let plan = usage_plan::find(cx, tx, &input.usage_plan_id)?;
        if input.key_type != "API_KEY" {
            // [U]: AWS's text is not recorded.
            return Err(bad_request("Invalid keyType specified. Valid options are API_KEY"));
        }
        let key = api_key::load(cx, tx, &input.key_id)?;
        let others = usage_plan::of_key(cx, tx, &key.id)?;
        if others.iter().any(|other| other.id == plan.id) {
            // [U]: AWS's text is not recorded.
            return Err(conflict(format!("API Key {} is in usage plan {} already.", key.id, plan.id)));
        }
        if others.len() >= PLANS_OF_KEY_MAX {
            return Err(limit_exceeded("Usage Plans", "API Key"));
        }
        let theirs = others.iter().flat_map(|other| &other.api_stages);
        let same = |at: &&usage_plan::ApiStage| {
            plan.api_stages.iter().any(|own| own.api_id == at.api_id && own.stage == at.stage)
        };
        if let Some(at) = theirs.into_iter().find(same) {
            return Err(two_plans(&key.id, &at.api_id, &at.stage));
        }
        let member = UsagePlanKey { id: key.id.clone(), plan_id: plan.id };
        tx.put(&cx.scope(), &member.plan_id, &member.id, &member)?;
        Ok(UsagePlanKeyOutput::new(key, true))
    }

    fn trail_response(output: &Value) -> Value {
        without_value(output)
    }
}

/// Names one key of a plan.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsagePlanKeyInput {
    usage_plan_id: String,
    key_id: String,
}

impl UsagePlanKeyInput {
    fn load(&self, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<UsagePlanKey> {
        let plan = usage_plan::find(cx, tx, &self.usage_plan_id)?;
        // [U]: whether AWS's text differs for a key that is in another plan only.
        let found = tx.get(&cx.scope(), &plan.id, &self.key_id)?;
        found.ok_or_else(|| not_found("Invalid API Key identifier specified"))
    }
}

/// Shows a key of a plan.
pub struct GetUsagePlanKey;

impl Operation for GetUsagePlanKey {
    const NAME: &'static str = "GetUsagePlanKey";
    type Input = UsagePlanKeyInput;
    type Output = UsagePlanKeyOutput;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let member = input.load(cx, tx)?;
        Ok(UsagePlanKeyOutput::new(api_key::load(cx, tx, &member.id)?, true))
    }
}

/// Input of [`GetUsagePlanKeys`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetUsagePlanKeysInput {
    usage_plan_id: String,
    position: Option<String>,
    limit: Option<i64>,
    name_query: Option<String>,
}

/// Lists a plan's keys by id, without their values: all, or those whose name begins with `nameQuery`.
pub struct GetUsagePlanKeys;

impl Operation for GetUsagePlanKeys {
    const NAME: &'static str = "GetUsagePlanKeys";
    type Input = GetUsagePlanKeysInput;
    type Output = Page<UsagePlanKeyOutput>;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let plan = usage_plan::find(cx, tx, &input.usage_plan_id)?;
        let page: Page<ApiKey> = match input.name_query.as_deref().filter(|query| !query.is_empty()) {
            None => {
                let page = page::read::<UsagePlanKey>(cx, tx, &plan.id, input.position.as_deref(), input.limit)?;
                Page { items: keys(cx, tx, page.items)?, position: page.position }
            }
            Some(query) => {
                let members = tx.list::<UsagePlanKey>(&cx.scope(), &Parent::Exact(&plan.id))?;
                let mut named = keys(cx, tx, members)?;
                named.retain(|key| key.name.as_deref().is_some_and(|name| name.starts_with(query)));
                page::of(cx, &plan.id, named, |key| key.id.clone(), input.position.as_deref(), input.limit)?
            }
        };
        Ok(page.map(|key| UsagePlanKeyOutput::new(key, false)))
    }
}

fn keys(cx: &Cx<'_>, tx: &mut Tx<'_>, members: Vec<UsagePlanKey>) -> Result<Vec<ApiKey>> {
    members.iter().map(|member| api_key::load(cx, tx, &member.id)).collect()
}

/// Takes a key out of a plan.
pub struct DeleteUsagePlanKey;

impl Operation for DeleteUsagePlanKey {
    const NAME: &'static str = "DeleteUsagePlanKey";
    type Input = UsagePlanKeyInput;
    type Output = Nothing;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let member = input.load(cx, tx)?;
        tx.delete::<UsagePlanKey>(&cx.scope(), &member.plan_id, &member.id);
        Ok(Nothing {})
    }
}

/// Operations of this noun.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<CreateUsagePlanKey>(),
    Entry::of::<GetUsagePlanKey>(),
    Entry::of::<GetUsagePlanKeys>(),
    Entry::of::<DeleteUsagePlanKey>(),
];
