//! `MethodResponse`: what a method declares to answer with one status. The record is part of [`crate::method`].
//!
//! Response models are taken and shown, and change nothing: AWS's data plane does not look at them either, only SDK
//! generators do. The models `Empty` and `Error`, which every API has, are the ones there are.

use std::collections::BTreeMap;

use serde::Deserialize;
use service::patch::{Op, Step};
use service::{Cx, Entry, Operation, Result, ServiceError, Tx};

use crate::error::{bad_request, conflict, not_found};
use crate::limits::check_entries;
use crate::mapping::{check_content_type, invalid_parameter, response_header};
use crate::method::{self, Method, MethodResponse};
use crate::{Nothing, integration_response};

/// The check of AWS's model, for texts that come here otherwise than through `wire`.
pub(crate) fn check_status_code(code: &str) -> Result<()> {
    if matches!(code.as_bytes(), [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9']) {
        return Ok(());
    }
    Err(ServiceError::new(
        "ValidationException",
        400,
        format!(
            "1 validation error detected: Value '{code}' at 'statusCode' failed to satisfy constraint: Member must \
             satisfy regular expression pattern: [1-5]\\d\\d"
        ),
    ))
}

fn check(response: &MethodResponse) -> Result<()> {
    check_entries("responseParameters", &response.response_parameters)?;
    check_entries("responseModels", &response.response_models)?;
    if let Some(parameter) = response.response_parameters.keys().find(|name| response_header(name).is_none()) {
        return Err(invalid_parameter(parameter));
    }
    for (content_type, model) in &response.response_models {
        check_content_type(content_type)?;
        if model != "Empty" && model != "Error" {
            return Err(bad_request(format!("Invalid model identifier specified: {model}")));
        }
    }
    Ok(())
}

/// Input of [`PutMethodResponse`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PutMethodResponseInput {
    rest_api_id: String,
    resource_id: String,
    http_method: String,
    status_code: String,
    response_parameters: Option<BTreeMap<String, bool>>,
    response_models: Option<BTreeMap<String, String>>,
}

/// Declares a status of a method.
pub struct PutMethodResponse;

impl Operation for PutMethodResponse {
    const NAME: &'static str = "PutMethodResponse";
    type Input = PutMethodResponseInput;
    type Output = MethodResponse;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        check_status_code(&input.status_code)?;
        let mut method = method::load(cx, tx, &input.rest_api_id, &input.resource_id, &input.http_method)?;
        let response = MethodResponse {
            status_code: input.status_code,
            response_parameters: input.response_parameters.unwrap_or_default(),
            response_models: input.response_models.unwrap_or_default(),
        };
        check(&response)?;
        if method.method_responses.contains_key(&response.status_code) {
            return Err(conflict("Response already exists for this resource"));
        }
        method.method_responses.insert(response.status_code.clone(), response.clone());
        method::store(cx, tx, &input.rest_api_id, &method)?;
        Ok(response)
    }
}

/// Names one response of one method.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResponseInput {
    pub(crate) rest_api_id: String,
    pub(crate) resource_id: String,
    pub(crate) http_method: String,
    pub(crate) status_code: String,
}

impl ResponseInput {
    pub(crate) fn load(&self, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Method> {
        check_status_code(&self.status_code)?;
        method::load(cx, tx, &self.rest_api_id, &self.resource_id, &self.http_method)
    }
}

pub(crate) fn absent() -> ServiceError {
    not_found("Invalid Response status code specified")
}

/// Shows a declared status.
pub struct GetMethodResponse;

impl Operation for GetMethodResponse {
    const NAME: &'static str = "GetMethodResponse";
    type Input = ResponseInput;
    type Output = MethodResponse;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        input.load(cx, tx)?.method_responses.remove(&input.status_code).ok_or_else(absent)
    }
}

/// Input of [`UpdateMethodResponse`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateMethodResponseInput {
    rest_api_id: String,
    resource_id: String,
    http_method: String,
    status_code: String,
    #[serde(default)]
    patch_operations: Vec<Step>,
}

/// Changes what is declared for a status.
pub struct UpdateMethodResponse;

impl Operation for UpdateMethodResponse {
    const NAME: &'static str = "UpdateMethodResponse";
    type Input = UpdateMethodResponseInput;
    type Output = MethodResponse;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        check_status_code(&input.status_code)?;
        let mut method = method::load(cx, tx, &input.rest_api_id, &input.resource_id, &input.http_method)?;
        let response = method.method_responses.get_mut(&input.status_code).ok_or_else(absent)?;
        for step in &input.patch_operations {
            patch(response, step)?;
        }
        check(response)?;
        let response = response.clone();
        // An integration response may map only what is declared.
        integration_response::check_declared(&method, &input.status_code)?;
        method::store(cx, tx, &input.rest_api_id, &method)?;
        Ok(response)
    }
}

fn patch(response: &mut MethodResponse, step: &Step) -> Result<()> {
    let pointer = step.pointer();
    let path: Vec<&str> = pointer.iter().map(String::as_str).collect();
    match (path.as_slice(), step.op) {
        (["responseParameters", name], Op::Add | Op::Replace) => {
            response.response_parameters.insert((*name).to_owned(), step.flag());
        }
        (["responseParameters", name], Op::Remove) => {
            let removed = response.response_parameters.remove(*name);
            removed.ok_or_else(|| not_found("Invalid parameter name specified"))?;
        }
        (["responseModels", content_type], Op::Add | Op::Replace) => {
            let model = step.value.clone().unwrap_or_default();
            response.response_models.insert((*content_type).to_owned(), model);
        }
        (["responseModels", content_type], Op::Remove) => {
            let removed = response.response_models.remove(*content_type);
            removed.ok_or_else(|| not_found("Content-Type specified was not found"))?;
        }
        (["responseParameters" | "responseModels", _], _) => {
            return Err(bad_request("Invalid patch operation specified. Must be one of: [add, remove, replace]"));
        }
        _ => return Err(bad_request(format!("Invalid patch path {}", step.path()))),
    }
    Ok(())
}

/// Takes a declared status away.
pub struct DeleteMethodResponse;

impl Operation for DeleteMethodResponse {
    const NAME: &'static str = "DeleteMethodResponse";
    type Input = ResponseInput;
    type Output = Nothing;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let mut method = input.load(cx, tx)?;
        method.method_responses.remove(&input.status_code).ok_or_else(absent)?;
        method::store(cx, tx, &input.rest_api_id, &method)?;
        Ok(Nothing {})
    }
}

/// Operations of this noun.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<PutMethodResponse>(),
    Entry::of::<GetMethodResponse>(),
    Entry::of::<UpdateMethodResponse>(),
    Entry::of::<DeleteMethodResponse>(),
];

#[cfg(test)]
mod tests;
