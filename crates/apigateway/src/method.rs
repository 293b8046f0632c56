//! `Method` and `MethodResponse`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use service::patch::{Op, Step};
use service::{Cx, Entry, Operation, Parent, Record, Result, Tx};

use crate::authorizer::Authorizer;
use crate::error::{bad_request, conflict, not_found, unsupported, unsupported_value};
use crate::integration::Integration;
use crate::limits::{METHOD_BYTES_MAX, check_text};
use crate::{Nothing, resource, rest_api};

/// A method; parent of the key is `api/resource`, id is the verb. Embeds its integration and responses as GetMethod
/// shows them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Method {
    /// Not part of AWS's answer; the noun's operations leave it out.
    pub resource_id: String,
    /// Verb or `ANY`.
    pub http_method: String,
    /// `NONE`, `CUSTOM` or `AWS_IAM` (others are refused until they are enforced).
    pub authorization_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorizer_id: Option<String>,
    pub api_key_required: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation_name: Option<String>,
    /// By status code.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub method_responses: BTreeMap<String, MethodResponse>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method_integration: Option<Integration>,
}

impl Record for Method {
    const NOUN: &'static str = "apigateway/Method";
}

/// What a method may answer with one status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MethodResponse {
    pub status_code: String,
    /// `method.response.header.X` to whether it is required.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub response_parameters: BTreeMap<String, bool>,
    /// Content type to model name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub response_models: BTreeMap<String, String>,
}

/// What clients see of a method: all but the resource it is of.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MethodOutput {
    http_method: String,
    authorization_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorizer_id: Option<String>,
    api_key_required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation_name: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    method_responses: BTreeMap<String, MethodResponse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method_integration: Option<Integration>,
}

impl From<Method> for MethodOutput {
    fn from(method: Method) -> Self {
        Self {
            http_method: method.http_method,
            authorization_type: method.authorization_type,
            authorizer_id: method.authorizer_id,
            api_key_required: method.api_key_required,
            operation_name: method.operation_name,
            method_responses: method.method_responses,
            method_integration: method.method_integration,
        }
    }
}

/// Every method of an API.
pub(crate) fn all(cx: &Cx<'_>, tx: &mut Tx<'_>, api: &str) -> Result<Vec<Method>> {
    // The slash ends the id, so that no other API's methods begin alike.
    tx.list(&cx.scope(), &Parent::Prefix(&format!("{api}/")))
}

/// The methods of one resource.
pub(crate) fn of_resource(cx: &Cx<'_>, tx: &mut Tx<'_>, api: &str, resource: &str) -> Result<Vec<Method>> {
    tx.list(&cx.scope(), &Parent::Exact(&format!("{api}/{resource}")))
}

/// Finds API, resource and method, in that order.
pub(crate) fn load(cx: &Cx<'_>, tx: &mut Tx<'_>, api: &str, resource: &str, verb: &str) -> Result<Method> {
    rest_api::load(cx, tx, api)?;
    resource::load(cx, tx, api, resource)?;
    tx.get(&cx.scope(), &format!("{api}/{resource}"), verb)?
        .ok_or_else(|| not_found("Invalid Method identifier specified"))
}

pub(crate) fn store(cx: &Cx<'_>, tx: &mut Tx<'_>, api: &str, method: &Method) -> Result<()> {
    let bytes = serde_json::to_vec(method).map_or(usize::MAX, |document| document.len());
    if bytes > METHOD_BYTES_MAX {
        return Err(bad_request(format!(
            "The method with its integration and responses is too large, can be at most {METHOD_BYTES_MAX} bytes."
        )));
    }
    tx.put(&cx.scope(), &format!("{api}/{}", method.resource_id), &method.http_method, method)
}

pub(crate) const VERBS: [&str; 8] = ["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "HEAD", "ANY"];

/// Checks a verb, `ANY` included.
pub(crate) fn check_verb(verb: &str) -> Result<()> {
    if VERBS.contains(&verb) {
        return Ok(());
    }
    Err(bad_request(format!("Invalid HttpMethod specified. Valid options are {}", VERBS.join(","))))
}

/// Checks the authorization of a method as a whole and drops an authorizer that does not count.
fn settle_authorization(method: &mut Method, cx: &Cx<'_>, tx: &mut Tx<'_>, api: &str) -> Result<()> {
    match method.authorization_type.as_str() {
        "NONE" | "AWS_IAM" => {
            // AWS takes an authorizer's id beside these and ignores it.
            method.authorizer_id = None;
            Ok(())
        }
        kind @ ("CUSTOM" | "COGNITO_USER_POOLS") => {
            let known = match method.authorizer_id.as_deref() {
                Some(id) => tx.get::<Authorizer>(&cx.scope(), api, id)?.is_some(),
                None => false,
            };
            if !known {
                return Err(bad_request(
                    "Invalid authorizer ID specified. Setting the authorization type to CUSTOM or COGNITO_USER_POOLS \
                     requires a valid authorizer.",
                ));
            }
            if kind == "CUSTOM" { Ok(()) } else { Err(unsupported_value("authorizationType", kind)) }
        }
        kind @ "JWT" => Err(unsupported_value("authorizationType", kind)),
        // [U]: AWS's text is not recorded.
        _ => Err(bad_request(
            "Invalid AuthorizationType specified. Valid options are NONE,AWS_IAM,CUSTOM,COGNITO_USER_POOLS,JWT",
        )),
    }
}

/// Input of [`PutMethod`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PutMethodInput {
    rest_api_id: String,
    resource_id: String,
    http_method: String,
    authorization_type: String,
    authorizer_id: Option<String>,
    api_key_required: Option<bool>,
    operation_name: Option<String>,
    request_parameters: Option<BTreeMap<String, bool>>,
    request_models: Option<BTreeMap<String, String>>,
    request_validator_id: Option<String>,
    authorization_scopes: Option<Vec<String>>,
}

/// Adds a method to a resource; nothing answers it until it has an integration.
pub struct PutMethod;

impl Operation for PutMethod {
    const NAME: &'static str = "PutMethod";
    type Input = PutMethodInput;
    type Output = MethodOutput;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let api = rest_api::load(cx, tx, &input.rest_api_id)?;
        let resource = resource::load(cx, tx, &api.id, &input.resource_id)?;
        check_verb(&input.http_method)?;
        // An empty map or text is what tools send for none.
        let refused = [
            ("requestParameters", input.request_parameters.is_some_and(|map| !map.is_empty())),
            ("requestModels", input.request_models.is_some_and(|map| !map.is_empty())),
            ("requestValidatorId", input.request_validator_id.is_some_and(|id| !id.is_empty())),
            ("authorizationScopes", input.authorization_scopes.is_some_and(|scopes| !scopes.is_empty())),
        ];
        if let Some((member, _)) = refused.iter().find(|(_, sent)| *sent) {
            return Err(unsupported(member));
        }
        input.operation_name.as_deref().map_or(Ok(()), |name| check_text("operationName", name))?;
        let mut method = Method {
            resource_id: resource.id,
            http_method: input.http_method,
            authorization_type: input.authorization_type,
            authorizer_id: input.authorizer_id.filter(|id| !id.is_empty()),
            api_key_required: input.api_key_required.unwrap_or(false),
            operation_name: input.operation_name.filter(|name| !name.is_empty()),
            method_responses: BTreeMap::new(),
            method_integration: None,
        };
        settle_authorization(&mut method, cx, tx, &api.id)?;
        let parent = format!("{}/{}", api.id, method.resource_id);
        if tx.get::<Method>(&cx.scope(), &parent, &method.http_method)?.is_some() {
            return Err(conflict("Method already exists for this resource"));
        }
        store(cx, tx, &api.id, &method)?;
        Ok(method.into())
    }
}

/// Names one method.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MethodInput {
    pub(crate) rest_api_id: String,
    pub(crate) resource_id: String,
    pub(crate) http_method: String,
}

impl MethodInput {
    pub(crate) fn load(&self, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Method> {
        load(cx, tx, &self.rest_api_id, &self.resource_id, &self.http_method)
    }
}

/// Shows a method with its responses and its integration.
pub struct GetMethod;

impl Operation for GetMethod {
    const NAME: &'static str = "GetMethod";
    type Input = MethodInput;
    type Output = MethodOutput;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        Ok(input.load(cx, tx)?.into())
    }
}

/// Input of [`UpdateMethod`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateMethodInput {
    rest_api_id: String,
    resource_id: String,
    http_method: String,
    #[serde(default)]
    patch_operations: Vec<Step>,
}

/// Changes a method; the steps count together, so that type and authorizer may come in either order.
pub struct UpdateMethod;

impl Operation for UpdateMethod {
    const NAME: &'static str = "UpdateMethod";
    type Input = UpdateMethodInput;
    type Output = MethodOutput;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let mut method = load(cx, tx, &input.rest_api_id, &input.resource_id, &input.http_method)?;
        for step in &input.patch_operations {
            patch(&mut method, step)?;
        }
        settle_authorization(&mut method, cx, tx, &input.rest_api_id)?;
        store(cx, tx, &input.rest_api_id, &method)?;
        Ok(method.into())
    }
}

fn patch(method: &mut Method, step: &Step) -> Result<()> {
    let pointer = step.pointer();
    let path: Vec<&str> = pointer.iter().map(String::as_str).collect();
    let member = match path.as_slice() {
        ["requestParameters", _] if step.op == Op::Remove => {
            return Err(not_found("Invalid parameter name specified"));
        }
        ["requestModels", _] if step.op == Op::Remove => return Err(not_found("Content-Type specified was not found")),
        [member @ ("requestParameters" | "requestModels"), _] => return Err(unsupported(member)),
        ["authorizationScopes"] => return Err(unsupported("authorizationScopes")),
        [
            member @ ("authorizationType" | "authorizerId" | "apiKeyRequired" | "operationName" | "requestValidatorId"),
        ] => *member,
        _ => return Err(bad_request(format!("Invalid patch path {}", step.path()))),
    };
    if step.op != Op::Replace {
        return Err(bad_request("Invalid patch operation specified. Must be one of: [replace]"));
    }
    match member {
        "authorizationType" => method.authorization_type = step.value.clone().unwrap_or_default(),
        "authorizerId" => method.authorizer_id = step.text().map(str::to_owned),
        "apiKeyRequired" => method.api_key_required = step.flag(),
        "operationName" => {
            check_text("operationName", step.text().unwrap_or_default())?;
            method.operation_name = step.text().map(str::to_owned);
        }
        "requestValidatorId" if step.text().is_some() => return Err(unsupported("requestValidatorId")),
        // Without a validator the method is already.
        _ => {}
    }
    Ok(())
}

/// Deletes a method with its integration and responses.
pub struct DeleteMethod;

impl Operation for DeleteMethod {
    const NAME: &'static str = "DeleteMethod";
    type Input = MethodInput;
    type Output = Nothing;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let method = input.load(cx, tx)?;
        let parent = format!("{}/{}", input.rest_api_id, method.resource_id);
        tx.delete::<Method>(&cx.scope(), &parent, &method.http_method);
        Ok(Nothing {})
    }
}

/// Operations of this noun.
pub const OPERATIONS: &[Entry] =
    &[Entry::of::<PutMethod>(), Entry::of::<GetMethod>(), Entry::of::<UpdateMethod>(), Entry::of::<DeleteMethod>()];

#[cfg(test)]
mod tests;
