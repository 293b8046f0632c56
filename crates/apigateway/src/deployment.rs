//! `Deployment`: a frozen copy of an API.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use service::patch::{Op, Step};
use service::{Cx, Entry, Operation, Parent, Record, Result, ServiceError, Timestamp, Tx};

use crate::authorizer::Authorizer;
use crate::error::{bad_request, limit_exceeded, not_found, patch_op, patch_path};
use crate::gateway_response::GatewayResponse;
use crate::limits::{DEPLOYMENTS_MAX, SNAPSHOT_BYTES_MAX, check_text};
use crate::page::{self, Page};
use crate::rest_api::{self, RestApi};
use crate::snapshot::Snapshot;
use crate::stage::{self, Stage};
use crate::{Nothing, method, resource, tally};

/// A deployment; parent of the key is the API's id. The frozen copy itself is a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// 6 characters.
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub created_date: Timestamp,
    /// SHA-256 (hex) of the [`crate::snapshot::Snapshot`] as JSON; not part of AWS's answer.
    pub snapshot: String,
}

impl Record for Deployment {
    const NOUN: &'static str = "apigateway/Deployment";
}

/// Path to verb to what a summary says of a method.
type Summary = BTreeMap<String, BTreeMap<String, MethodSummary>>;

/// What a summary says of a method.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MethodSummary {
    authorization_type: String,
    api_key_required: bool,
}

/// What clients see of a deployment. Moments are epoch seconds on the wire.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentOutput {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    created_date: i64,
    /// There only when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_summary: Option<Summary>,
}

impl From<Deployment> for DeploymentOutput {
    fn from(deployment: Deployment) -> Self {
        Self {
            id: deployment.id,
            description: deployment.description,
            created_date: deployment.created_date.s(),
            api_summary: None,
        }
    }
}

/// The deployment of that id, in an API that was found already.
pub(crate) fn find(cx: &Cx<'_>, tx: &mut Tx<'_>, api: &str, id: &str) -> Result<Option<Deployment>> {
    tx.get(&cx.scope(), api, id)
}

fn load(cx: &Cx<'_>, tx: &mut Tx<'_>, api: &str, id: &str) -> Result<Deployment> {
    find(cx, tx, api, id)?.ok_or_else(|| not_found("Invalid Deployment identifier specified"))
}

/// Copies an API as it is now, and stores the copy; its hash comes back.
fn freeze(cx: &Cx<'_>, tx: &mut Tx<'_>, api: RestApi, deployment_id: &str) -> Result<String> {
    let resources = resource::all(cx, tx, &api.id)?;
    let methods = method::all(cx, tx, &api.id)?;
    if methods.is_empty() {
        return Err(bad_request("The REST API doesn't contain any methods"));
    }
    if methods.iter().any(|method| method.method_integration.is_none()) {
        return Err(bad_request("No integration defined for method"));
    }
    let authorizers = tx.list::<Authorizer>(&cx.scope(), &Parent::Exact(&api.id))?;
    let gateway_responses = tx.list::<GatewayResponse>(&cx.scope(), &Parent::Exact(&api.id))?;
    let snapshot = Snapshot {
        account: cx.account().to_owned(),
        region: cx.region.as_str().to_owned(),
        deployment_id: deployment_id.to_owned(),
        rest_api: api,
        resources,
        methods,
        authorizers,
        gateway_responses,
    };
    let bytes = serde_json::to_vec(&snapshot)
        .map_err(|error| ServiceError::internal(format!("encoding a snapshot: {error}")))?;
    if bytes.len() > SNAPSHOT_BYTES_MAX {
        return Err(bad_request(format!("The API is too large to deploy, can be at most {SNAPSHOT_BYTES_MAX} bytes.")));
    }
    Ok(tx.put_blob(bytes))
}

/// Input of [`CreateDeployment`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateDeploymentInput {
    rest_api_id: String,
    stage_name: Option<String>,
    stage_description: Option<String>,
    description: Option<String>,
    cache_cluster_enabled: Option<bool>,
    variables: Option<BTreeMap<String, String>>,
    canary_settings: Option<Value>,
    tracing_enabled: Option<bool>,
}

/// Freezes an API and, when a stage is named, puts the copy there: a new stage is made, one that is there is repointed
/// and forgets its authorizers' answers.
///
/// Variables and a description sent along replace those of a stage that is there \[U\]; left out, they stay.
pub struct CreateDeployment;

impl Operation for CreateDeployment {
    const NAME: &'static str = "CreateDeployment";
    type Input = CreateDeploymentInput;
    type Output = DeploymentOutput;
    const REFUSED: &'static [&'static str] = &["cacheClusterSize"];

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let api = rest_api::load(cx, tx, &input.rest_api_id)?;
        stage::check_refused(input.cache_cluster_enabled, input.tracing_enabled, input.canary_settings.is_some())?;
        let description = input.description.filter(|text| !text.is_empty());
        check_text("description", description.as_deref().unwrap_or_default())?;
        let stage_name = input.stage_name.filter(|name| !name.is_empty());
        let stage_description = input.stage_description.filter(|text| !text.is_empty());
        let variables = input.variables.filter(|variables| !variables.is_empty());
        if stage_name.is_none() && (stage_description.is_some() || variables.is_some()) {
            // [U]: AWS's answer is not recorded; without a stage there is nothing they could be of.
            return Err(bad_request("stageDescription and variables need a stageName"));
        }
        let scope = cx.scope();
        if tally::count(tx, &scope, &api.id, tally::DEPLOYMENTS)? >= DEPLOYMENTS_MAX {
            return Err(limit_exceeded("deployments", "API"));
        }
        let api_id = api.id.clone();
        let id = resource::fresh_id::<Deployment>(cx, tx, &api_id)?;
        let snapshot = freeze(cx, tx, api, &id)?;
        let deployment = Deployment { id, description, created_date: cx.now, snapshot };
        tx.put(&scope, &api_id, &deployment.id, &deployment)?;
        tally::step(tx, &scope, &api_id, tally::DEPLOYMENTS, true)?;
        if let Some(name) = stage_name {
            stage::deploy(cx, tx, &api_id, name, &deployment, stage_description, variables)?;
        }
        Ok(deployment.into())
    }
}

/// Input of [`GetDeployment`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetDeploymentInput {
    rest_api_id: String,
    deployment_id: String,
    embed: Option<Vec<String>>,
}

/// Shows a deployment, with a summary of what it froze when asked for `apisummary`.
pub struct GetDeployment;

impl Operation for GetDeployment {
    const NAME: &'static str = "GetDeployment";
    type Input = GetDeploymentInput;
    type Output = DeploymentOutput;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let api = rest_api::load(cx, tx, &input.rest_api_id)?;
        let deployment = load(cx, tx, &api.id, &input.deployment_id)?;
        let api_summary = resource::embeds(input.embed.as_deref(), "apisummary")?
            .then(|| summarise(tx, &deployment.snapshot))
            .transpose()?;
        Ok(DeploymentOutput { api_summary, ..deployment.into() })
    }
}

fn summarise(tx: &mut Tx<'_>, hash: &str) -> Result<Summary> {
    let bytes = tx.blob(hash)?.ok_or_else(|| ServiceError::internal(format!("snapshot {hash} is not there")))?;
    let snapshot: Snapshot = serde_json::from_slice(&bytes)
        .map_err(|error| ServiceError::internal(format!("snapshot {hash} does not decode: {error}")))?;
    let paths: BTreeMap<String, String> = snapshot.resources.into_iter().map(|r| (r.id, r.path)).collect();
    let mut summary = Summary::new();
    for method in snapshot.methods {
        let path = paths.get(&method.resource_id).cloned().unwrap_or_default();
        let shown =
            MethodSummary { authorization_type: method.authorization_type, api_key_required: method.api_key_required };
        summary.entry(path).or_default().insert(method.http_method, shown);
    }
    Ok(summary)
}

/// Input of [`GetDeployments`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetDeploymentsInput {
    rest_api_id: String,
    position: Option<String>,
    limit: Option<i64>,
}

/// Lists an API's deployments, by id.
pub struct GetDeployments;

impl Operation for GetDeployments {
    const NAME: &'static str = "GetDeployments";
    type Input = GetDeploymentsInput;
    type Output = Page<DeploymentOutput>;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let api = rest_api::load(cx, tx, &input.rest_api_id)?;
        let page = page::read::<Deployment>(cx, tx, &api.id, input.position.as_deref(), input.limit)?;
        Ok(page.map(DeploymentOutput::from))
    }
}

/// Input of [`UpdateDeployment`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateDeploymentInput {
    rest_api_id: String,
    deployment_id: String,
    #[serde(default)]
    patch_operations: Vec<Step>,
}

/// Changes a deployment's description, which is all that is not frozen.
pub struct UpdateDeployment;

impl Operation for UpdateDeployment {
    const NAME: &'static str = "UpdateDeployment";
    type Input = UpdateDeploymentInput;
    type Output = DeploymentOutput;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let api = rest_api::load(cx, tx, &input.rest_api_id)?;
        let mut deployment = load(cx, tx, &api.id, &input.deployment_id)?;
        for step in &input.patch_operations {
            if step.path() != "/description" {
                return Err(patch_path(step, &["/description"]));
            }
            if step.op != Op::Replace {
                return Err(patch_op(step));
            }
            check_text("description", step.text().unwrap_or_default())?;
            deployment.description = step.text().map(str::to_owned);
        }
        tx.put(&cx.scope(), &api.id, &deployment.id, &deployment)?;
        Ok(deployment.into())
    }
}

/// Input of [`DeleteDeployment`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeleteDeploymentInput {
    rest_api_id: String,
    deployment_id: String,
}

/// Deletes a deployment that no stage serves.
pub struct DeleteDeployment;

impl Operation for DeleteDeployment {
    const NAME: &'static str = "DeleteDeployment";
    type Input = DeleteDeploymentInput;
    type Output = Nothing;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let api = rest_api::load(cx, tx, &input.rest_api_id)?;
        let deployment = load(cx, tx, &api.id, &input.deployment_id)?;
        let scope = cx.scope();
        let stages = tx.list::<Stage>(&scope, &Parent::Exact(&api.id))?;
        if stages.iter().any(|stage| stage.deployment_id == deployment.id) {
            return Err(bad_request("Active stages pointing to this deployment must be moved or deleted"));
        }
        tx.delete::<Deployment>(&scope, &api.id, &deployment.id);
        tally::step(tx, &scope, &api.id, tally::DEPLOYMENTS, false)?;
        Ok(Nothing {})
    }
}

/// Operations of this noun.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<CreateDeployment>(),
    Entry::of::<GetDeployment>(),
    Entry::of::<GetDeployments>(),
    Entry::of::<UpdateDeployment>(),
    Entry::of::<DeleteDeployment>(),
];

#[cfg(test)]
mod tests;
