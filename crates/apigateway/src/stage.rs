//! `Stage`: a name under which a deployment is served.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use service::patch::{Op, Step};
use service::{Cx, Entry, Operation, Parent, Record, Result, Timestamp, Tx};

use crate::deployment::{self, Deployment};
use crate::error::{bad_request, conflict, limit_exceeded, not_found, unsupported, unsupported_value};
use crate::limits::{STAGES_MAX, VARIABLES_MAX, check_tags, check_text};
use crate::method_setting::{self, MethodSettingOutput};
use crate::{Nothing, rest_api, usage_plan};

/// A stage; parent of the key is the API's id, id is its name. Changes are live at once, without a deployment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// `[A-Za-z0-9_-]{1,128}`.
    pub stage_name: String,
    pub deployment_id: String,
    /// SHA-256 (hex) of that deployment's snapshot, so that publishing needs no second look-up; not part of AWS's
    /// answer.
    pub snapshot: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    pub created_date: Timestamp,
    pub last_updated_date: Timestamp,
    /// Part of every authorizer cache key: FlushStageAuthorizersCache and each new deployment raise it, which drops
    /// all entries at once. Not part of AWS's answer.
    pub authorizers_epoch: u64,
    /// Settings of all methods under `*/*`, of one under its path with `~1` for each slash and its verb, such as
    /// `~1pets~1{id}/GET`. Read them with [`Stage::settings_of`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub method_settings: BTreeMap<String, MethodSetting>,
    /// How a method was spelled when it was set, where answers must show it otherwise than its key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub method_spellings: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log_settings: Option<AccessLogSettings>,
}

pub use crate::method_setting::{AccessLogSettings, MethodSetting};

impl Record for Stage {
    const NOUN: &'static str = "apigateway/Stage";
}

/// AWS's list of paths, printed when a path is none of them; three commas are missing there too.
const PATHS: &str = "/deploymentId, /description, /cacheClusterEnabled, /cacheClusterSize, /clientCertificateId, \
    /accessLogSettings, /accessLogSettings/destinationArn, /accessLogSettings/format, \
    /{resourcePath}/{httpMethod}/metrics/enabled, /{resourcePath}/{httpMethod}/logging/dataTrace, \
    /{resourcePath}/{httpMethod}/logging/loglevel, \
    /{resourcePath}/{httpMethod}/throttling/burstLimit/{resourcePath}/{httpMethod}/throttling/rateLimit/\
     {resourcePath}/{httpMethod}/caching/ttlInSeconds, \
    /{resourcePath}/{httpMethod}/caching/enabled, /{resourcePath}/{httpMethod}/caching/dataEncrypted, \
    /{resourcePath}/{httpMethod}/caching/requireAuthorizationForCacheControl, \
    /{resourcePath}/{httpMethod}/caching/unauthorizedCacheControlHeaderStrategy, /*/*/metrics/enabled, \
    /*/*/logging/dataTrace, /*/*/logging/loglevel, /*/*/throttling/burstLimit /*/*/throttling/rateLimit \
    /*/*/caching/ttlInSeconds, /*/*/caching/enabled, /*/*/caching/dataEncrypted, \
    /*/*/caching/requireAuthorizationForCacheControl, /*/*/caching/unauthorizedCacheControlHeaderStrategy, \
    /variables/{variable_name}, /tracingEnabled";

/// The stage of that name, in an API that was found already.
pub(crate) fn load(cx: &Cx<'_>, tx: &mut Tx<'_>, api: &str, name: &str) -> Result<Stage> {
    tx.get(&cx.scope(), api, name)?.ok_or_else(|| not_found("Invalid stage identifier specified"))
}

pub(crate) fn store(cx: &Cx<'_>, tx: &mut Tx<'_>, api: &str, stage: &Stage) -> Result<()> {
    tx.put(&cx.scope(), api, &stage.stage_name, stage)
}

/// Refuses what nothing enforces yet, of what CreateStage and CreateDeployment have in common.
pub(crate) fn check_refused(cache: Option<bool>, tracing: Option<bool>, canary: bool) -> Result<()> {
    if cache == Some(true) {
        return Err(unsupported_value("cacheClusterEnabled", "true"));
    }
    if tracing == Some(true) {
        return Err(unsupported_value("tracingEnabled", "true"));
    }
    if canary {
        return Err(unsupported("canarySettings"));
    }
    Ok(())
}

fn check_name(name: &str) -> Result<()> {
    let valid =
        (1..=128).contains(&name.len()) && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-');
    // [U]: the text is from before hyphens were allowed.
    if valid { Ok(()) } else { Err(bad_request("Stage name only allows a-zA-Z0-9_-")) }
}

pub(crate) fn check_variables(variables: &BTreeMap<String, String>) -> Result<()> {
    if variables.len() > VARIABLES_MAX {
        return Err(limit_exceeded("stage variables", "stage"));
    }
    for (name, value) in variables {
        let valid = (1..=64).contains(&name.len()) && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
        if !valid {
            // [U]: AWS's text is not recorded.
            return Err(bad_request(format!(
                "Invalid stage variable name: {name}. A name has 1 to 64 alphanumeric characters and underscores."
            )));
        }
        let valid = (1..=512).contains(&value.len())
            && value.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._~:/?#&=,".contains(&c));
        if !valid {
            return Err(bad_request(format!(
                "Invalid stage variable value of key {name}.  Please use values with alphanumeric characters and the \
                 symbols ' ', -', '.', '_', ':', '/', '?', '&', '=', and ','."
            )));
        }
    }
    Ok(())
}

/// Makes a stage, within the API's share.
fn create(cx: &mut Cx<'_>, tx: &mut Tx<'_>, api: &str, name: String, deployment: &Deployment) -> Result<Stage> {
    check_name(&name)?;
    if tx.list::<Stage>(&cx.scope(), &Parent::Exact(api))?.len() >= STAGES_MAX {
        return Err(limit_exceeded("stages", "API"));
    }
    // A stage of this name may have been here before. Beginning anywhere keeps answers cached for that one from being
    // taken for answers of this one.
    let mut drawn = [0u8; 6];
    cx.host.random(&mut drawn);
    let epoch = drawn.iter().fold(0u64, |epoch, byte| (epoch << 8) | u64::from(*byte));
    Ok(Stage {
        stage_name: name,
        deployment_id: deployment.id.clone(),
        snapshot: deployment.snapshot.clone(),
        description: None,
        variables: BTreeMap::new(),
        tags: BTreeMap::new(),
        created_date: cx.now,
        last_updated_date: cx.now,
        authorizers_epoch: epoch,
        method_settings: BTreeMap::new(),
        method_spellings: BTreeMap::new(),
        access_log_settings: None,
    })
}

/// Puts a deployment on a stage, which is made if it is not there.
pub(crate) fn deploy(
    cx: &mut Cx<'_>,
    tx: &mut Tx<'_>,
    api: &str,
    name: String,
    deployment: &Deployment,
    description: Option<String>,
    variables: Option<BTreeMap<String, String>>,
) -> Result<()> {
    let mut stage = match tx.get::<Stage>(&cx.scope(), api, &name)? {
        Some(mut stage) => {
            repoint(&mut stage, deployment);
            stage.last_updated_date = cx.now;
            stage
        }
        None => create(cx, tx, api, name, deployment)?,
    };
    if let Some(description) = description {
        check_text("stageDescription", &description)?;
        stage.description = Some(description);
    }
    if let Some(variables) = variables {
        check_variables(&variables)?;
        stage.variables = variables;
    }
    store(cx, tx, api, &stage)
}

fn repoint(stage: &mut Stage, deployment: &Deployment) {
    stage.deployment_id.clone_from(&deployment.id);
    stage.snapshot.clone_from(&deployment.snapshot);
    // Another deployment's authorizers may differ under the same id: their answers are not this one's.
    stage.authorizers_epoch = stage.authorizers_epoch.wrapping_add(1);
}

/// What clients see of a stage. Moments are epoch seconds on the wire.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StageOutput {
    deployment_id: String,
    stage_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    cache_cluster_enabled: bool,
    cache_cluster_status: &'static str,
    method_settings: BTreeMap<String, MethodSettingOutput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_log_settings: Option<AccessLogSettings>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    variables: BTreeMap<String, String>,
    tracing_enabled: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
    created_date: i64,
    last_updated_date: i64,
}

impl From<Stage> for StageOutput {
    fn from(stage: Stage) -> Self {
        Self {
            method_settings: method_setting::shown(&stage),
            access_log_settings: stage.access_log_settings,
            deployment_id: stage.deployment_id,
            stage_name: stage.stage_name,
            description: stage.description,
            cache_cluster_enabled: false,
            cache_cluster_status: "NOT_AVAILABLE",
            variables: stage.variables,
            tracing_enabled: false,
            tags: stage.tags,
            created_date: stage.created_date.s(),
            last_updated_date: stage.last_updated_date.s(),
        }
    }
}

/// Input of [`CreateStage`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateStageInput {
    rest_api_id: String,
    stage_name: String,
    deployment_id: String,
    description: Option<String>,
    cache_cluster_enabled: Option<bool>,
    variables: Option<BTreeMap<String, String>>,
    documentation_version: Option<String>,
    canary_settings: Option<Value>,
    tracing_enabled: Option<bool>,
    tags: Option<BTreeMap<String, String>>,
}

/// Puts a deployment under a new name.
pub struct CreateStage;

impl Operation for CreateStage {
    const NAME: &'static str = "CreateStage";
    type Input = CreateStageInput;
    type Output = StageOutput;
    const REFUSED: &'static [&'static str] = &["cacheClusterSize"];

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let api = rest_api::load(cx, tx, &input.rest_api_id)?;
        check_refused(input.cache_cluster_enabled, input.tracing_enabled, input.canary_settings.is_some())?;
        if input.documentation_version.is_some_and(|version| !version.is_empty()) {
            return Err(unsupported("documentationVersion"));
        }
        check_name(&input.stage_name)?;
        let deployment = existing_deployment(cx, tx, &api.id, &input.deployment_id)?;
        if tx.get::<Stage>(&cx.scope(), &api.id, &input.stage_name)?.is_some() {
            return Err(conflict("Stage already exists"));
        }
        let mut stage = create(cx, tx, &api.id, input.stage_name, &deployment)?;
        stage.description = input.description.filter(|text| !text.is_empty());
        check_text("description", stage.description.as_deref().unwrap_or_default())?;
        stage.variables = input.variables.unwrap_or_default();
        check_variables(&stage.variables)?;
        stage.tags = input.tags.unwrap_or_default();
        check_tags(&stage.tags)?;
        store(cx, tx, &api.id, &stage)?;
        Ok(stage.into())
    }
}

fn existing_deployment(cx: &Cx<'_>, tx: &mut Tx<'_>, api: &str, id: &str) -> Result<Deployment> {
    deployment::find(cx, tx, api, id)?.ok_or_else(|| bad_request("Deployment id does not exist"))
}

/// Names one stage.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageInput {
    rest_api_id: String,
    stage_name: String,
}

/// Shows a stage.
pub struct GetStage;

impl Operation for GetStage {
    const NAME: &'static str = "GetStage";
    type Input = StageInput;
    type Output = StageOutput;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let api = rest_api::load(cx, tx, &input.rest_api_id)?;
        Ok(load(cx, tx, &api.id, &input.stage_name)?.into())
    }
}

/// Input of [`GetStages`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetStagesInput {
    rest_api_id: String,
    deployment_id: Option<String>,
}

/// An API's stages. This list alone is called `item` in AWS's model.
#[derive(Debug, Serialize)]
pub struct StagesOutput {
    item: Vec<StageOutput>,
}

/// Lists an API's stages, all of them or those of one deployment, by name.
pub struct GetStages;

impl Operation for GetStages {
    const NAME: &'static str = "GetStages";
    type Input = GetStagesInput;
    type Output = StagesOutput;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let api = rest_api::load(cx, tx, &input.rest_api_id)?;
        let stages = tx.list::<Stage>(&cx.scope(), &Parent::Exact(&api.id))?;
        let wanted = |stage: &Stage| input.deployment_id.as_ref().is_none_or(|id| *id == stage.deployment_id);
        Ok(StagesOutput { item: stages.into_iter().filter(wanted).map(StageOutput::from).collect() })
    }
}

/// Input of [`UpdateStage`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateStageInput {
    rest_api_id: String,
    stage_name: String,
    #[serde(default)]
    patch_operations: Vec<Step>,
}

/// Changes a stage, which is live at once. Another `/deploymentId` is a roll-back or a roll-forward.
pub struct UpdateStage;

impl Operation for UpdateStage {
    const NAME: &'static str = "UpdateStage";
    type Input = UpdateStageInput;
    type Output = StageOutput;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let api = rest_api::load(cx, tx, &input.rest_api_id)?;
        let mut stage = load(cx, tx, &api.id, &input.stage_name)?;
        for step in &input.patch_operations {
            patch(&mut stage, step, cx, tx, &api.id)?;
        }
        check_variables(&stage.variables)?;
        if input.patch_operations.iter().any(method_setting::is_access_log) {
            method_setting::check_access_log(&stage, cx, tx)?;
        }
        stage.last_updated_date = cx.now;
        store(cx, tx, &api.id, &stage)?;
        Ok(stage.into())
    }
}

fn patch(stage: &mut Stage, step: &Step, cx: &Cx<'_>, tx: &mut Tx<'_>, api: &str) -> Result<()> {
    let pointer = step.pointer();
    let path: Vec<&str> = pointer.iter().map(String::as_str).collect();
    match (step.op, path.as_slice()) {
        (Op::Copy, _) => return Err(refuse_copy(step)),
        (Op::Replace | Op::Add, ["variables", name]) => {
            stage.variables.insert((*name).to_owned(), step.value.clone().unwrap_or_default());
        }
        (Op::Remove, ["variables", name]) => {
            if stage.variables.remove(*name).is_none() {
                return Err(nothing_to_remove(step));
            }
        }
        (Op::Remove, ["accessLogSettings"]) => {
            if stage.access_log_settings.take().is_none() {
                return Err(nothing_to_remove(step));
            }
        }
        (Op::Remove, ["canarySettings"]) => return Err(nothing_to_remove(step)),
        (Op::Remove, path) if method_setting::named(step, path).is_some_and(|named| named.setting.is_none()) => {
            let removed = method_setting::named(step, path).is_some_and(|named| method_setting::remove(stage, &named));
            if !removed {
                return Err(nothing_to_remove(step));
            }
        }
        (Op::Replace, ["deploymentId"]) => {
            let id = step.value.as_deref().unwrap_or_default();
            let deployment = existing_deployment(cx, tx, api, id)?;
            if deployment.id != stage.deployment_id {
                repoint(stage, &deployment);
            }
        }
        (Op::Replace, ["description"]) => {
            check_text("description", step.text().unwrap_or_default())?;
            stage.description = step.text().map(str::to_owned);
        }
        // Off and unset are what these are anyway.
        (Op::Replace, [member @ ("cacheClusterEnabled" | "tracingEnabled")]) if step.flag() => {
            return Err(unsupported_value(member, "true"));
        }
        (Op::Replace, ["cacheClusterEnabled" | "tracingEnabled"]) => {}
        (Op::Replace, [member @ ("cacheClusterSize" | "clientCertificateId" | "documentationVersion")]) => {
            if step.text().is_some() {
                return Err(unsupported(member));
            }
        }
        (Op::Replace | Op::Add, ["accessLogSettings", rest @ ..]) => {
            method_setting::patch_access_log(stage, step, rest)?;
        }
        (Op::Replace | Op::Add, ["canarySettings", rest @ ..]) if step.op == Op::Replace || rest.is_empty() => {
            return Err(unsupported("canarySettings"));
        }
        (Op::Add, [_, ..]) => return Err(bad_request(format!("Invalid add operation with path: {}", step.path()))),
        (op, path) => {
            let named = method_setting::named(step, path).filter(|named| op == Op::Replace && named.setting.is_some());
            let unknown =
                || bad_request(format!("Invalid method setting path: {}. Must be one of: [{PATHS}]", step.path()));
            method_setting::set(stage, named.ok_or_else(unknown)?, step, cx, tx)?;
        }
    }
    Ok(())
}

/// AWS's text for everything that cannot be removed because it is not set; the blank at its end belongs to it.
fn nothing_to_remove(step: &Step) -> service::ServiceError {
    let path = step.path().trim_start_matches('/');
    bad_request(format!("Cannot remove method setting {path} because there is no method setting for this method "))
}

/// Copying promotes a canary, of which there is none.
fn refuse_copy(step: &Step) -> service::ServiceError {
    let from = step.from.as_deref().unwrap_or("null");
    let promotes = matches!(step.path(), "/deploymentId" | "/variables")
        && matches!(from, "/canarySettings/deploymentId" | "/canarySettings/stageVariableOverrides");
    if promotes {
        return bad_request("Promotion not available. Canary does not exist.");
    }
    bad_request(format!(
        "Invalid copy operation with path: {} and from {from}. Valid copy:path are [/deploymentId, /variables] and \
         valid copy:from are [/canarySettings/deploymentId, /canarySettings/stageVariableOverrides]",
        step.path()
    ))
}

/// Deletes a stage; its URL stops answering at once.
pub struct DeleteStage;

impl Operation for DeleteStage {
    const NAME: &'static str = "DeleteStage";
    type Input = StageInput;
    type Output = Nothing;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let api = rest_api::load(cx, tx, &input.rest_api_id)?;
        let stage = load(cx, tx, &api.id, &input.stage_name)?;
        tx.delete::<Stage>(&cx.scope(), &api.id, &stage.stage_name);
        usage_plan::forget(cx, tx, &api.id, Some(&stage.stage_name))?;
        Ok(Nothing {})
    }
}

/// Drops every cached answer of every authorizer of a stage, on every node.
pub struct FlushStageAuthorizersCache;

impl Operation for FlushStageAuthorizersCache {
    const NAME: &'static str = "FlushStageAuthorizersCache";
    type Input = StageInput;
    type Output = Nothing;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let api = rest_api::load(cx, tx, &input.rest_api_id)?;
        let mut stage = load(cx, tx, &api.id, &input.stage_name)?;
        stage.authorizers_epoch = stage.authorizers_epoch.wrapping_add(1);
        store(cx, tx, &api.id, &stage)?;
        Ok(Nothing {})
    }
}

/// Operations of this noun.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<CreateStage>(),
    Entry::of::<GetStage>(),
    Entry::of::<GetStages>(),
    Entry::of::<UpdateStage>(),
    Entry::of::<DeleteStage>(),
    Entry::of::<FlushStageAuthorizersCache>(),
];

#[cfg(test)]
mod tests;
