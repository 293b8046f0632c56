//! `GatewayResponse`: what the gateway answers by itself, of the 21 types.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use service::patch::{Op, Step};
use service::{Cx, Entry, Operation, Parent, Record, Result, Tx};

use crate::error::{bad_request, not_found, not_in_enum};
use crate::limits::{GATEWAY_RESPONSE_BYTES_MAX, TEMPLATE_BYTES_MAX, check_entries, check_text};
use crate::mapping::{self, invalid_parameter};
use crate::method_response::check_status_code;
use crate::page::Page;
use crate::{Nothing, rest_api};

/// A customised answer; parent of the key is the API's id, id is the type. A type without one answers as built in, or
/// as the API's `DEFAULT_4XX` or `DEFAULT_5XX` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayResponse {
    /// One of AWS's 21, such as `ACCESS_DENIED`.
    pub response_type: String,
    /// Three digits; the type's own when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_code: Option<String>,
    /// `gatewayresponse.header.X` to `'text'`, `method.request.{header,querystring,path}.x`, `context.x` or
    /// `stageVariables.x`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub response_parameters: BTreeMap<String, String>,
    /// Content type to text, in which `$context.x`, `$stageVariables.x` and `$method.request.{kind}.x` are replaced and
    /// everything else stands for itself. Empty: the built-in one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub response_templates: BTreeMap<String, String>,
}

impl Record for GatewayResponse {
    const NOUN: &'static str = "apigateway/GatewayResponse";
}

/// AWS's 21 types with the status each answers with; the two defaults have none of their own.
///
/// Source: API Gateway Developer Guide, "Gateway response types for API Gateway".
pub const TYPES: [(&str, Option<&str>); 21] = [
    ("DEFAULT_4XX", None),
    ("DEFAULT_5XX", None),
    ("RESOURCE_NOT_FOUND", Some("404")),
    ("UNAUTHORIZED", Some("401")),
    ("INVALID_API_KEY", Some("403")),
    ("ACCESS_DENIED", Some("403")),
    ("AUTHORIZER_FAILURE", Some("500")),
    ("AUTHORIZER_CONFIGURATION_ERROR", Some("500")),
    ("INVALID_SIGNATURE", Some("403")),
    ("EXPIRED_TOKEN", Some("403")),
    ("MISSING_AUTHENTICATION_TOKEN", Some("403")),
    ("INTEGRATION_FAILURE", Some("504")),
    ("INTEGRATION_TIMEOUT", Some("504")),
    ("API_CONFIGURATION_ERROR", Some("500")),
    ("UNSUPPORTED_MEDIA_TYPE", Some("415")),
    ("BAD_REQUEST_PARAMETERS", Some("400")),
    ("BAD_REQUEST_BODY", Some("400")),
    ("REQUEST_TOO_LARGE", Some("413")),
    ("THROTTLED", Some("429")),
    ("QUOTA_EXCEEDED", Some("429")),
    ("WAF_FILTERED", Some("403")),
];

/// The built-in template of every type, under `application/json`.
pub const TEMPLATE: &str = r#"{"message":$context.error.messageString}"#;

/// Where a header of a gateway response takes its value from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `'text'`, without the quotes.
    Literal(String),
    /// `context.{path}`.
    Context(String),
    /// `stageVariables.{name}`.
    StageVariable(String),
    /// `method.request.header.{name}`.
    Header(String),
    /// `method.request.querystring.{name}`.
    Query(String),
    /// `method.request.path.{name}`.
    Path(String),
}

impl Source {
    /// Parses the right-hand side of a response parameter; `None` for what is none.
    ///
    /// Source: API Gateway Developer Guide, "Gateway responses for REST APIs in API Gateway".
    #[must_use]
    pub fn parse(expression: &str) -> Option<Self> {
        use crate::mapping::Mapping;
        let request = |place: &str| {
            let name = expression.strip_prefix("method.request.")?.strip_prefix(place)?.strip_prefix('.')?;
            mapping::is_dotted_name(name).then(|| name.to_owned())
        };
        if let Some(name) = request("header") {
            return Some(Self::Header(name));
        }
        if let Some(name) = request("querystring") {
            return Some(Self::Query(name));
        }
        if let Some(name) = request("path") {
            return Some(Self::Path(name));
        }
        match Mapping::parse(expression).ok()? {
            Mapping::Literal(text) => Some(Self::Literal(text)),
            Mapping::Context(path) => Some(Self::Context(path)),
            Mapping::StageVariable(name) => Some(Self::StageVariable(name)),
            // There is no backend's answer to take a header from.
            Mapping::Header(_) => None,
        }
    }
}

/// The header name of `gatewayresponse.header.{name}`.
#[must_use]
pub fn header(parameter: &str) -> Option<&str> {
    parameter.strip_prefix("gatewayresponse.header.").filter(|name| mapping::is_header_name(name))
}

impl GatewayResponse {
    fn new(response_type: &str) -> Self {
        Self {
            response_type: response_type.to_owned(),
            status_code: None,
            response_parameters: BTreeMap::new(),
            response_templates: BTreeMap::new(),
        }
    }
}

/// What clients see of a gateway response.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayResponseOutput {
    response_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<String>,
    response_parameters: BTreeMap<String, String>,
    response_templates: BTreeMap<String, String>,
    /// Whether this type was left as it is.
    default_response: bool,
}

/// What a type answers: its own customisation, with the built-in values for what that leaves out; else that of the
/// type for its class of status; else the built-in answer.
fn shown(response_type: &str, own: &BTreeMap<String, GatewayResponse>) -> GatewayResponseOutput {
    let built_in = built_in_status(response_type);
    let class = match built_in.map(str::as_bytes) {
        Some([b'4', ..]) => "DEFAULT_4XX",
        Some(_) => "DEFAULT_5XX",
        None => "",
    };
    let customised = own.get(response_type);
    let found = customised.or_else(|| own.get(class)).cloned().unwrap_or_else(|| GatewayResponse::new(response_type));
    let templates = match found.response_templates {
        templates if templates.is_empty() => BTreeMap::from([("application/json".to_owned(), TEMPLATE.to_owned())]),
        templates => templates,
    };
    GatewayResponseOutput {
        response_type: response_type.to_owned(),
        status_code: found.status_code.or_else(|| built_in.map(str::to_owned)),
        response_parameters: found.response_parameters,
        response_templates: templates,
        default_response: customised.is_none(),
    }
}

fn built_in_status(response_type: &str) -> Option<&'static str> {
    TYPES.iter().find(|(name, _)| *name == response_type).and_then(|(_, status)| *status)
}

fn check_type(response_type: &str) -> Result<()> {
    if TYPES.iter().any(|(name, _)| *name == response_type) {
        return Ok(());
    }
    let names: Vec<&str> = TYPES.iter().map(|(name, _)| *name).collect();
    Err(not_in_enum(response_type, "responseType", &names.join(", ")))
}

fn check(response: &GatewayResponse) -> Result<()> {
    if let Some(code) = response.status_code.as_deref() {
        check_status_code(code)?;
        // [U]: AWS's text is not recorded. An informational status cannot end an exchange.
        if code.starts_with('1') {
            return Err(bad_request(format!("Invalid statusCode specified: {code}")));
        }
    }
    check_entries("responseParameters", &response.response_parameters)?;
    for (parameter, expression) in &response.response_parameters {
        if header(parameter).is_none() {
            return Err(invalid_parameter(parameter));
        }
        if expression.is_empty() {
            return Err(bad_request("Invalid null or empty value in responseParameters"));
        }
        check_text("responseParameters", expression)?;
        if Source::parse(expression).is_none() {
            return Err(mapping::invalid(expression));
        }
    }
    check_entries("responseTemplates", &response.response_templates)?;
    for (content_type, text) in &response.response_templates {
        mapping::check_content_type(content_type)?;
        if text.len() > TEMPLATE_BYTES_MAX {
            return Err(bad_request(format!(
                "Invalid responseTemplates specified, can be at most {TEMPLATE_BYTES_MAX} bytes."
            )));
        }
    }
    Ok(())
}

/// The customised responses of an API, by type.
fn customised(cx: &Cx<'_>, tx: &mut Tx<'_>, api: &str) -> Result<BTreeMap<String, GatewayResponse>> {
    let own = tx.list::<GatewayResponse>(&cx.scope(), &Parent::Exact(api))?;
    Ok(own.into_iter().map(|response| (response.response_type.clone(), response)).collect())
}

fn store(cx: &Cx<'_>, tx: &mut Tx<'_>, api: &str, response: GatewayResponse) -> Result<GatewayResponseOutput> {
    check(&response)?;
    let bytes = serde_json::to_vec(&response).map_or(usize::MAX, |document| document.len());
    if bytes > GATEWAY_RESPONSE_BYTES_MAX {
        return Err(bad_request(format!(
            "The gateway response is too large, can be at most {GATEWAY_RESPONSE_BYTES_MAX} bytes."
        )));
    }
    tx.put(&cx.scope(), api, &response.response_type, &response)?;
    let response_type = response.response_type.clone();
    Ok(shown(&response_type, &BTreeMap::from([(response_type.clone(), response)])))
}

/// Input of [`PutGatewayResponse`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PutGatewayResponseInput {
    rest_api_id: String,
    response_type: String,
    status_code: Option<String>,
    response_parameters: Option<BTreeMap<String, Option<String>>>,
    response_templates: Option<BTreeMap<String, Option<String>>>,
}

/// Customises what the gateway answers for a type, in place of what was there. Counts from the next deployment on.
pub struct PutGatewayResponse;

impl Operation for PutGatewayResponse {
    const NAME: &'static str = "PutGatewayResponse";
    type Input = PutGatewayResponseInput;
    type Output = GatewayResponseOutput;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        check_type(&input.response_type)?;
        let api = rest_api::load(cx, tx, &input.rest_api_id)?;
        let plain = |map: Option<BTreeMap<String, Option<String>>>| -> BTreeMap<String, String> {
            map.unwrap_or_default().into_iter().map(|(name, text)| (name, text.unwrap_or_default())).collect()
        };
        let response = GatewayResponse {
            response_type: input.response_type,
            status_code: input.status_code.filter(|code| !code.is_empty()),
            response_parameters: plain(input.response_parameters),
            response_templates: plain(input.response_templates),
        };
        store(cx, tx, &api.id, response)
    }
}

/// Names one gateway response.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayResponseInput {
    rest_api_id: String,
    response_type: String,
}

/// Shows what the gateway answers for a type.
pub struct GetGatewayResponse;

impl Operation for GetGatewayResponse {
    const NAME: &'static str = "GetGatewayResponse";
    type Input = GatewayResponseInput;
    type Output = GatewayResponseOutput;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        check_type(&input.response_type)?;
        let api = rest_api::load(cx, tx, &input.rest_api_id)?;
        Ok(shown(&input.response_type, &customised(cx, tx, &api.id)?))
    }
}

/// Input of [`GetGatewayResponses`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetGatewayResponsesInput {
    rest_api_id: String,
}

/// Shows what the gateway answers, for all types.
pub struct GetGatewayResponses;

impl Operation for GetGatewayResponses {
    const NAME: &'static str = "GetGatewayResponses";
    type Input = GetGatewayResponsesInput;
    type Output = Page<GatewayResponseOutput>;
    // The API Reference says that this list has no pages.
    const IGNORED: &'static [&'static str] = &["position", "limit"];

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let api = rest_api::load(cx, tx, &input.rest_api_id)?;
        let own = customised(cx, tx, &api.id)?;
        Ok(Page { items: TYPES.iter().map(|(name, _)| shown(name, &own)).collect(), position: None })
    }
}

/// Input of [`UpdateGatewayResponse`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateGatewayResponseInput {
    rest_api_id: String,
    response_type: String,
    #[serde(default)]
    patch_operations: Vec<Step>,
}

/// Changes what the gateway answers for a type; one that was left as it is becomes customised.
pub struct UpdateGatewayResponse;

impl Operation for UpdateGatewayResponse {
    const NAME: &'static str = "UpdateGatewayResponse";
    type Input = UpdateGatewayResponseInput;
    type Output = GatewayResponseOutput;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        check_type(&input.response_type)?;
        let api = rest_api::load(cx, tx, &input.rest_api_id)?;
        let found = tx.get::<GatewayResponse>(&cx.scope(), &api.id, &input.response_type)?;
        let mut response = found.unwrap_or_else(|| GatewayResponse::new(&input.response_type));
        for step in &input.patch_operations {
            patch(&mut response, step)?;
        }
        store(cx, tx, &api.id, response)
    }
}

fn patch(response: &mut GatewayResponse, step: &Step) -> Result<()> {
    let pointer = step.pointer();
    let path: Vec<&str> = pointer.iter().map(String::as_str).collect();
    match (path.as_slice(), step.op) {
        (["statusCode"], Op::Replace | Op::Add) => response.status_code = step.text().map(str::to_owned),
        (["responseParameters", name], Op::Add | Op::Replace) => {
            response.response_parameters.insert((*name).to_owned(), step.value.clone().unwrap_or_default());
        }
        (["responseParameters", name], Op::Remove) => {
            let removed = response.response_parameters.remove(*name);
            removed.ok_or_else(|| not_found("Invalid parameter name specified"))?;
        }
        (["responseTemplates", content_type], Op::Add | Op::Replace) => {
            response.response_templates.insert((*content_type).to_owned(), step.value.clone().unwrap_or_default());
        }
        (["responseTemplates", content_type], Op::Remove) => {
            let removed = response.response_templates.remove(*content_type);
            removed.ok_or_else(|| not_found("Content-Type specified was not found"))?;
        }
        (["statusCode"], _) => {
            return Err(bad_request("Invalid patch operation specified. Must be one of: [replace]"));
        }
        (["responseParameters" | "responseTemplates", _], _) => {
            return Err(bad_request("Invalid patch operation specified. Must be one of: [add, remove, replace]"));
        }
        _ => return Err(bad_request(format!("Invalid patch path {}", step.path()))),
    }
    Ok(())
}

/// Takes a customisation away; the type answers as built in, or as its class does.
pub struct DeleteGatewayResponse;

impl Operation for DeleteGatewayResponse {
    const NAME: &'static str = "DeleteGatewayResponse";
    type Input = GatewayResponseInput;
    type Output = Nothing;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        check_type(&input.response_type)?;
        let api = rest_api::load(cx, tx, &input.rest_api_id)?;
        let scope = cx.scope();
        if tx.get::<GatewayResponse>(&scope, &api.id, &input.response_type)?.is_none() {
            return Err(not_found("Gateway response type not defined on api"));
        }
        tx.delete::<GatewayResponse>(&scope, &api.id, &input.response_type);
        Ok(Nothing {})
    }
}

/// Operations of this noun.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<PutGatewayResponse>(),
    Entry::of::<GetGatewayResponse>(),
    Entry::of::<GetGatewayResponses>(),
    Entry::of::<UpdateGatewayResponse>(),
    Entry::of::<DeleteGatewayResponse>(),
];

#[cfg(test)]
mod tests;
