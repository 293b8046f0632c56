//! `ApiKey`: a value by which a client is counted.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use service::patch::{Op, Step};
use service::{Cx, Entry, Operation, Parent, Record, Result, Timestamp, Tx};

use crate::error::{bad_request, conflict, limit_exceeded, not_found, patch_op, patch_path, unsupported};
use crate::limits::{API_KEYS_MAX, TEXT_CHARS_MAX, check_tags, check_text};
use crate::page::{self, Page};
use crate::{Nothing, tally, usage_plan};

/// An API key of an account in a region; the parent of the key is empty.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiKey {
    /// 10 characters.
    pub id: String,
    /// What clients send: 20 to 128 characters, unique within account and region. Not printed by `Debug`.
    pub value: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub enabled: bool,
    pub created_date: Timestamp,
    pub last_updated_date: Timestamp,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<String>,
}

impl Record for ApiKey {
    const NOUN: &'static str = "apigateway/ApiKey";
    const SECRET: bool = true;
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

/// The caller's key of that id.
pub(crate) fn load(cx: &Cx<'_>, tx: &mut Tx<'_>, id: &str) -> Result<ApiKey> {
    tx.get(&cx.scope(), "", id)?.ok_or_else(|| not_found("Invalid API Key identifier specified"))
}

pub(crate) fn store(cx: &Cx<'_>, tx: &mut Tx<'_>, key: &ApiKey) -> Result<()> {
    tx.put(&cx.scope(), "", &key.id, key)
}

/// Checks a value that was asked for. It must be one that a header can carry.
fn check_value(value: &str) -> Result<()> {
    match value.chars().count() {
        0..20 => Err(bad_request("API Key value should be at least 20 characters")),
        20..=128 if value.bytes().all(|c| c.is_ascii_graphic()) => Ok(()),
        // [U]: AWS's text is not recorded.
        20..=128 => Err(bad_request("API Key value may have printable ASCII characters only")),
        _ => Err(bad_request("API Key value exceeds maximum size of 128 characters")),
    }
}

fn check_name(name: Option<&str>) -> Result<()> {
    if name.is_some_and(|name| name.chars().count() > TEXT_CHARS_MAX) {
        return Err(bad_request(format!("Invalid API Key name, can be at most {TEXT_CHARS_MAX} characters.")));
    }
    Ok(())
}

fn check_description(description: Option<&str>) -> Result<()> {
    if description.is_some_and(|text| text.chars().count() > TEXT_CHARS_MAX) {
        return Err(bad_request("Invalid API Key description specified."));
    }
    Ok(())
}

/// What clients see of a key. Moments are epoch seconds on the wire.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyOutput {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    enabled: bool,
    created_date: i64,
    last_updated_date: i64,
    /// From the time before usage plans; always empty.
    stage_keys: [String; 0],
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<BTreeMap<String, String>>,
}

impl ApiKeyOutput {
    /// AWS leaves an empty `tags` out of CreateApiKey and of lists, and shows it elsewhere.
    fn new(key: ApiKey, value: bool, empty_tags: bool) -> Self {
        Self {
            id: key.id,
            value: value.then_some(key.value),
            name: key.name,
            customer_id: key.customer_id,
            description: key.description,
            enabled: key.enabled,
            created_date: key.created_date.s(),
            last_updated_date: key.last_updated_date.s(),
            stage_keys: [],
            tags: (empty_tags || !key.tags.is_empty()).then_some(key.tags),
        }
    }
}

/// What a trail may say of a key: everything but its value.
pub(crate) fn without_value(shown: &Value) -> Value {
    let mut shown = shown.clone();
    if let Some(members) = shown.as_object_mut() {
        members.shift_remove("value");
    }
    shown
}

/// Input of [`CreateApiKey`].
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateApiKeyInput {
    name: Option<String>,
    description: Option<String>,
    enabled: Option<bool>,
    value: Option<String>,
    stage_keys: Option<Vec<Value>>,
    customer_id: Option<String>,
    tags: Option<BTreeMap<String, String>>,
}

/// Makes a key, with the value asked for or one of 40 random characters. It is not enabled unless the call says so, and
/// counts for nothing until it is in a usage plan.
///
/// A value asked for is compared with those of all the account's keys in the region, which reads them.
pub struct CreateApiKey;

impl Operation for CreateApiKey {
    const NAME: &'static str = "CreateApiKey";
    type Input = CreateApiKeyInput;
    type Output = ApiKeyOutput;
    // Deprecated. Without it a key's id would be its value, which then would stand in paths and logs.
    const IGNORED: &'static [&'static str] = &["generateDistinctId"];

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        if input.stage_keys.is_some_and(|keys| !keys.is_empty()) {
            return Err(unsupported("stageKeys"));
        }
        check_name(input.name.as_deref())?;
        check_description(input.description.as_deref())?;
        check_text("customerId", input.customer_id.as_deref().unwrap_or_default())?;
        let tags = input.tags.unwrap_or_default();
        check_tags(&tags)?;
        let scope = cx.scope();
        if tally::count(tx, &scope, "", tally::API_KEYS)? >= API_KEYS_MAX {
            return Err(limit_exceeded("API Keys", "account"));
        }
        let value = match input.value.filter(|value| !value.is_empty()) {
            Some(value) => {
                check_value(&value)?;
                if tx.list::<ApiKey>(&scope, &Parent::Exact(""))?.iter().any(|key| key.value == value) {
                    return Err(conflict("API Key already exists"));
                }
                value
            }
            None => cx.id(40),
        };
        let id = loop {
            let id = cx.id(10);
            if tx.get::<ApiKey>(&scope, "", &id)?.is_none() {
                break id;
            }
        };
        let key = ApiKey {
            id,
            value,
            name: input.name.filter(|name| !name.is_empty()),
            description: input.description.filter(|text| !text.is_empty()),
            enabled: input.enabled.unwrap_or(false),
            created_date: cx.now,
            last_updated_date: cx.now,
            tags,
            customer_id: input.customer_id.filter(|id| !id.is_empty()),
        };
        store(cx, tx, &key)?;
        tally::step(tx, &scope, "", tally::API_KEYS, true)?;
        Ok(ApiKeyOutput::new(key, true, false))
    }

    fn trail_parameters(params: &Value) -> Value {
        without_value(params)
    }

    fn trail_response(output: &Value) -> Value {
        without_value(output)
    }
}

/// Input of [`GetApiKey`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetApiKeyInput {
    api_key: String,
    include_value: Option<bool>,
}

/// Shows a key, its value only when asked for.
pub struct GetApiKey;

impl Operation for GetApiKey {
    const NAME: &'static str = "GetApiKey";
    type Input = GetApiKeyInput;
    type Output = ApiKeyOutput;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let key = load(cx, tx, &input.api_key)?;
        Ok(ApiKeyOutput::new(key, input.include_value == Some(true), true))
    }
}

/// Input of [`GetApiKeys`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetApiKeysInput {
    position: Option<String>,
    limit: Option<i64>,
    name_query: Option<String>,
    customer_id: Option<String>,
    include_values: Option<bool>,
}

/// Lists the caller's keys in this region, the newest first: all, or those whose name begins with `nameQuery`, and of
/// those the ones of a customer.
pub struct GetApiKeys;

impl Operation for GetApiKeys {
    const NAME: &'static str = "GetApiKeys";
    type Input = GetApiKeysInput;
    type Output = Page<ApiKeyOutput>;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let mut keys = tx.list::<ApiKey>(&cx.scope(), &Parent::Exact(""))?;
        if let Some(query) = input.name_query.as_deref().filter(|query| !query.is_empty()) {
            keys.retain(|key| key.name.as_deref().is_some_and(|name| name.starts_with(query)));
        }
        if let Some(customer) = input.customer_id.as_deref().filter(|customer| !customer.is_empty()) {
            keys.retain(|key| key.customer_id.as_deref() == Some(customer));
        }
        // Counting down from the end of time puts the newest first.
        let place = |key: &ApiKey| format!("{:020}{}", i64::MAX.saturating_sub(key.created_date.ms()), key.id);
        keys.sort_by_cached_key(place);
        let page = page::of(cx, "", keys, place, input.position.as_deref(), input.limit)?;
        Ok(page.map(|key| ApiKeyOutput::new(key, input.include_values == Some(true), false)))
    }
}

/// Input of [`UpdateApiKey`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateApiKeyInput {
    api_key: String,
    #[serde(default)]
    patch_operations: Vec<Step>,
}

/// Changes a key; its value never changes.
pub struct UpdateApiKey;

impl Operation for UpdateApiKey {
    const NAME: &'static str = "UpdateApiKey";
    type Input = UpdateApiKeyInput;
    type Output = ApiKeyOutput;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let mut key = load(cx, tx, &input.api_key)?;
        for step in &input.patch_operations {
            patch(&mut key, step)?;
        }
        key.last_updated_date = cx.now;
        store(cx, tx, &key)?;
        Ok(ApiKeyOutput::new(key, false, true))
    }
}

fn patch(key: &mut ApiKey, step: &Step) -> Result<()> {
    const PATHS: [&str; 4] = ["/name", "/description", "/enabled", "/customerId"];
    let text = step.text().map(str::to_owned);
    match step.path() {
        "/stages" | "/labels" => return Err(unsupported(step.path().trim_start_matches('/'))),
        path if !PATHS.contains(&path) => return Err(patch_path(step, &PATHS)),
        _ if step.op != Op::Replace => return Err(patch_op(step)),
        "/name" => {
            check_name(text.as_deref())?;
            key.name = text;
        }
        "/description" => {
            check_description(text.as_deref())?;
            key.description = text;
        }
        "/enabled" => key.enabled = step.flag(),
        _ => {
            check_text("customerId", text.as_deref().unwrap_or_default())?;
            key.customer_id = text;
        }
    }
    Ok(())
}

/// Names one key.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyInput {
    api_key: String,
}

/// Deletes a key and takes it out of its usage plans; its value stops working at once.
pub struct DeleteApiKey;

impl Operation for DeleteApiKey {
    const NAME: &'static str = "DeleteApiKey";
    type Input = ApiKeyInput;
    type Output = Nothing;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let key = load(cx, tx, &input.api_key)?;
        let scope = cx.scope();
        for plan in usage_plan::of_key(cx, tx, &key.id)? {
            tx.delete::<usage_plan::UsagePlanKey>(&scope, &plan.id, &key.id);
        }
        tx.delete::<ApiKey>(&scope, "", &key.id);
        tally::step(tx, &scope, "", tally::API_KEYS, false)?;
        Ok(Nothing {})
    }
}

/// Operations of this noun.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<CreateApiKey>(),
    Entry::of::<GetApiKey>(),
    Entry::of::<GetApiKeys>(),
    Entry::of::<UpdateApiKey>(),
    Entry::of::<DeleteApiKey>(),
];

#[cfg(test)]
mod tests;
