//! `IntegrationResponse`: how one outcome of the backend becomes a method response. The record is part of
//! [`crate::integration`].

use std::collections::BTreeMap;

use serde::Deserialize;
use service::patch::{Op, Step};
use service::{Cx, Entry, Operation, Result, Tx};

use crate::error::{bad_request, not_found, unsupported};
use crate::integration::{self, IntegrationResponse, check_template};
use crate::limits::{check_entries, check_text};
use crate::mapping::{self, invalid_parameter, response_header};
use crate::method::{self, Method};
use crate::method_response::{ResponseInput, absent, check_status_code};
use crate::{Nothing, pattern};

fn check(response: &IntegrationResponse) -> Result<()> {
    if let Some(pattern) = response.selection_pattern.as_deref().filter(|pattern| !pattern.is_empty()) {
        check_text("selectionPattern", pattern)?;
        pattern::check("selectionPattern", pattern)?;
    }
    check_entries("responseParameters", &response.response_parameters)?;
    for (parameter, expression) in &response.response_parameters {
        if response_header(parameter).is_none() {
            return Err(invalid_parameter(parameter));
        }
        if expression.is_empty() {
            return Err(bad_request("Invalid null or empty value in responseParameters"));
        }
        check_text("responseParameters", expression)?;
        mapping::check("responseParameters", expression)?;
    }
    check_entries("responseTemplates", &response.response_templates)?;
    for (content_type, text) in &response.response_templates {
        check_template("responseTemplates", content_type, text.as_deref().unwrap_or_default())?;
    }
    Ok(())
}

/// Checks that the integration response of this status maps declared headers only.
pub(crate) fn check_declared(method: &Method, status_code: &str) -> Result<()> {
    let mapped = method.method_integration.as_ref().and_then(|i| i.integration_responses.get(status_code));
    let declared = method.method_responses.get(status_code);
    let undeclared = mapped.into_iter().flat_map(|response| response.response_parameters.keys()).find(|parameter| {
        !declared.is_some_and(|response| response.response_parameters.contains_key(parameter.as_str()))
    });
    undeclared.map_or(Ok(()), |parameter| Err(invalid_parameter(parameter)))
}

/// An empty template is shown, and behaves, as one given as null.
fn no_text(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// Input of [`PutIntegrationResponse`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PutIntegrationResponseInput {
    rest_api_id: String,
    resource_id: String,
    http_method: String,
    status_code: String,
    selection_pattern: Option<String>,
    response_parameters: Option<BTreeMap<String, Option<String>>>,
    response_templates: Option<BTreeMap<String, Option<String>>>,
    content_handling: Option<String>,
}

/// Sets how an outcome is answered with a declared status, in place of what was set before.
pub struct PutIntegrationResponse;

impl Operation for PutIntegrationResponse {
    const NAME: &'static str = "PutIntegrationResponse";
    type Input = PutIntegrationResponseInput;
    type Output = IntegrationResponse;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        check_status_code(&input.status_code)?;
        let mut method = method::load(cx, tx, &input.rest_api_id, &input.resource_id, &input.http_method)?;
        let integration = method.method_integration.as_mut().ok_or_else(integration::absent)?;
        if !method.method_responses.contains_key(&input.status_code) {
            return Err(absent());
        }
        if input.content_handling.is_some_and(|handling| !handling.is_empty()) {
            return Err(unsupported("contentHandling"));
        }
        let parameters = input.response_parameters.unwrap_or_default();
        let templates = input.response_templates.unwrap_or_default();
        let response = IntegrationResponse {
            status_code: input.status_code,
            selection_pattern: input.selection_pattern,
            response_parameters: parameters.into_iter().map(|(k, v)| (k, v.unwrap_or_default())).collect(),
            response_templates: templates.into_iter().map(|(k, v)| (k, no_text(v))).collect(),
        };
        check(&response)?;
        integration.integration_responses.insert(response.status_code.clone(), response.clone());
        check_declared(&method, &response.status_code)?;
        method::store(cx, tx, &input.rest_api_id, &method)?;
        Ok(response)
    }
}

/// Shows how an outcome is answered.
pub struct GetIntegrationResponse;

impl Operation for GetIntegrationResponse {
    const NAME: &'static str = "GetIntegrationResponse";
    type Input = ResponseInput;
    type Output = IntegrationResponse;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let integration = input.load(cx, tx)?.method_integration.ok_or_else(integration::absent)?;
        integration.integration_responses.get(&input.status_code).cloned().ok_or_else(absent)
    }
}

/// Input of [`UpdateIntegrationResponse`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateIntegrationResponseInput {
    rest_api_id: String,
    resource_id: String,
    http_method: String,
    status_code: String,
    #[serde(default)]
    patch_operations: Vec<Step>,
}

/// Changes how an outcome is answered.
pub struct UpdateIntegrationResponse;

impl Operation for UpdateIntegrationResponse {
    const NAME: &'static str = "UpdateIntegrationResponse";
    type Input = UpdateIntegrationResponseInput;
    type Output = IntegrationResponse;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        check_status_code(&input.status_code)?;
        let mut method = method::load(cx, tx, &input.rest_api_id, &input.resource_id, &input.http_method)?;
        let integration = method.method_integration.as_mut().ok_or_else(integration::absent)?;
        let response = integration.integration_responses.get_mut(&input.status_code).ok_or_else(absent)?;
        for step in &input.patch_operations {
            patch(response, step)?;
        }
        check(response)?;
        let response = response.clone();
        check_declared(&method, &input.status_code)?;
        method::store(cx, tx, &input.rest_api_id, &method)?;
        Ok(response)
    }
}

fn patch(response: &mut IntegrationResponse, step: &Step) -> Result<()> {
    let pointer = step.pointer();
    let path: Vec<&str> = pointer.iter().map(String::as_str).collect();
    match (path.as_slice(), step.op) {
        (["selectionPattern"], Op::Replace) => response.selection_pattern.clone_from(&step.value),
        (["contentHandling"], Op::Replace) if step.text().is_none() => {}
        (["contentHandling"], Op::Replace) => return Err(unsupported("contentHandling")),
        (["responseParameters", name], Op::Add | Op::Replace) => {
            let expression = step.value.clone().unwrap_or_default();
            response.response_parameters.insert((*name).to_owned(), expression);
        }
        (["responseParameters", name], Op::Remove) => {
            let removed = response.response_parameters.remove(*name);
            removed.ok_or_else(|| not_found("Invalid parameter name specified"))?;
        }
        (["responseTemplates", content_type], Op::Add | Op::Replace) => {
            response.response_templates.insert((*content_type).to_owned(), no_text(step.value.clone()));
        }
        (["responseTemplates", content_type], Op::Remove) => {
            let removed = response.response_templates.remove(*content_type);
            removed.ok_or_else(|| not_found("Content-Type specified was not found"))?;
        }
        (["selectionPattern" | "contentHandling"], _) => {
            return Err(bad_request("Invalid patch operation specified. Must be one of: [replace]"));
        }
        (["responseParameters" | "responseTemplates", _], _) => {
            return Err(bad_request("Invalid patch operation specified. Must be one of: [add, remove, replace]"));
        }
        _ => return Err(bad_request(format!("Invalid patch path {}", step.path()))),
    }
    Ok(())
}

/// Takes away how an outcome is answered.
pub struct DeleteIntegrationResponse;

impl Operation for DeleteIntegrationResponse {
    const NAME: &'static str = "DeleteIntegrationResponse";
    type Input = ResponseInput;
    type Output = Nothing;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let mut method = input.load(cx, tx)?;
        let integration = method.method_integration.as_mut().ok_or_else(integration::absent)?;
        integration.integration_responses.remove(&input.status_code).ok_or_else(absent)?;
        method::store(cx, tx, &input.rest_api_id, &method)?;
        Ok(Nothing {})
    }
}

/// Operations of this noun.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<PutIntegrationResponse>(),
    Entry::of::<GetIntegrationResponse>(),
    Entry::of::<UpdateIntegrationResponse>(),
    Entry::of::<DeleteIntegrationResponse>(),
];

#[cfg(test)]
mod tests;
