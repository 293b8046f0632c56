//! `Integration` and `IntegrationResponse`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use service::patch::{Op, Step};
use service::{Cx, Entry, Need, Operation, Result, ServiceError, Tx};

use crate::error::{bad_request, not_found, unsupported, unsupported_value};
use crate::function_uri::FunctionUri;
use crate::limits::{LONG_TEXT_CHARS_MAX, TEMPLATE_BYTES_MAX, check_chars, check_entries, check_text};
use crate::mapping::check_content_type;
use crate::method::{self, Method, MethodInput, check_verb};
use crate::template::{Template, Unsupported};
use crate::{Nothing, role};

/// What answers a method. Lives inside its [`crate::method::Method`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Integration {
    /// `MOCK` or `AWS_PROXY` (others are refused until they are enforced).
    #[serde(rename = "type")]
    pub kind: String,
    /// Verb towards the backend; absent for MOCK.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_method: Option<String>,
    /// Lambda invocation URI for AWS_PROXY.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Role ARN through which the function is called instead of its resource policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<String>,
    /// Content type to template text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub request_templates: BTreeMap<String, String>,
    /// `WHEN_NO_MATCH`, `WHEN_NO_TEMPLATES` or `NEVER`.
    pub passthrough_behavior: String,
    /// 50-29000.
    pub timeout_in_millis: u32,
    pub cache_namespace: String,
    #[serde(default)]
    pub cache_key_parameters: Vec<String>,
    /// By status code.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub integration_responses: BTreeMap<String, IntegrationResponse>,
}

/// How one outcome of the backend becomes a method response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IntegrationResponse {
    pub status_code: String,
    /// Absent or empty: the default response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection_pattern: Option<String>,
    /// `method.response.header.X` to `'literal'`, `context.x`, `stageVariables.x` or `integration.response.header.x`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub response_parameters: BTreeMap<String, String>,
    /// Content type to template text; a template given as null or empty comes back as null.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub response_templates: BTreeMap<String, Option<String>>,
}

const TIMEOUT_MS_DEFAULT: i64 = 29_000;

/// Refuses a template that is too long or that holds more of Velocity than is understood.
pub(crate) fn check_template(member: &str, content_type: &str, text: &str) -> Result<()> {
    check_content_type(content_type)?;
    if text.len() > TEMPLATE_BYTES_MAX {
        return Err(bad_request(format!("Invalid {member} specified, can be at most {TEMPLATE_BYTES_MAX} bytes.")));
    }
    Template::parse(text).map(drop).map_err(|Unsupported(found)| {
        bad_request(format!(
            "{member} for {content_type} uses {found}, which is not supported by this version of Portcullis: a \
             template may hold literal text, $context and $stageVariables until the template engine is there."
        ))
    })
}

impl Integration {
    /// Checks everything that does not depend on who calls, in the order in which AWS was seen to complain.
    fn check(&self) -> Result<()> {
        match self.kind.as_str() {
            "MOCK" => self.http_method.as_deref().map_or(Ok(()), check_verb)?,
            "AWS_PROXY" | "AWS" => self.check_target()?,
            "HTTP" | "HTTP_PROXY" => {
                self.check_http_method()?;
                let uri = self.uri.as_deref().unwrap_or_default();
                if !uri.starts_with("http://") && !uri.starts_with("https://") {
                    return Err(bad_request("Invalid HTTP endpoint specified for URI"));
                }
                return Err(unsupported_value("Integration type", &self.kind));
            }
            kind => {
                let values = "HTTP, MOCK, AWS_PROXY, HTTP_PROXY, AWS";
                return Err(crate::error::not_in_enum(kind, "putIntegrationInput.type", values));
            }
        }
        check_chars("uri", self.uri.as_deref().unwrap_or_default(), LONG_TEXT_CHARS_MAX)?;
        check_text("cacheNamespace", &self.cache_namespace)?;
        if !["WHEN_NO_MATCH", "WHEN_NO_TEMPLATES", "NEVER"].contains(&self.passthrough_behavior.as_str()) {
            // [U]: AWS's text is not recorded.
            return Err(bad_request(
                "Invalid passthroughBehavior specified. Valid options are WHEN_NO_MATCH,WHEN_NO_TEMPLATES,NEVER",
            ));
        }
        check_entries("requestTemplates", &self.request_templates)?;
        for (content_type, text) in &self.request_templates {
            check_template("requestTemplates", content_type, text)?;
        }
        Ok(())
    }

    fn check_http_method(&self) -> Result<()> {
        match self.http_method.as_deref() {
            Some(verb) => check_verb(verb),
            None => Err(bad_request("Enumeration value for HttpMethod must be non-empty")),
        }
    }

    /// Checks the ARN of `AWS` and `AWS_PROXY`.
    fn check_target(&self) -> Result<()> {
        self.check_http_method()?;
        let uri = self.uri.as_deref().unwrap_or_default();
        let mut parts = uri.splitn(6, ':');
        let mut part = || parts.next().unwrap_or_default();
        let (scheme, partition, service, region, target, path) = (part(), part(), part(), part(), part(), part());
        if scheme != "arn" || partition.is_empty() || service != "apigateway" || region.is_empty() || target.is_empty()
        {
            return Err(bad_request("Invalid ARN specified in the request"));
        }
        if !path.starts_with("path/") && !path.starts_with("action/") {
            return Err(bad_request("AWS ARN for integration must contain path or action"));
        }
        if self.kind == "AWS" {
            if target != "lambda" && self.credentials.is_none() {
                return Err(bad_request("Role ARN must be specified for AWS integrations"));
            }
            return Err(unsupported_value("Integration type", "AWS"));
        }
        match target {
            "lambda" if FunctionUri::parse(uri).is_some() => Ok(()),
            "lambda" => Err(bad_request("Invalid ARN specified in the request")),
            "firehose" => Err(unsupported("A Firehose stream as integration")),
            _ => Err(bad_request(
                "Integrations of type 'AWS_PROXY' currently only supports Lambda function and Firehose stream \
                 invocations.",
            )),
        }
    }
}

fn check_timeout(timeout_ms: i64) -> Result<u32> {
    match u32::try_from(timeout_ms) {
        Ok(timeout_ms @ 50..=29_000) => Ok(timeout_ms),
        _ => Err(bad_request("Timeout should be between 50 ms and 29000 ms")),
    }
}

pub(crate) fn absent() -> ServiceError {
    not_found("Invalid Integration identifier specified")
}

/// `tlsConfig` as it is sent.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsConfig {
    insecure_skip_verification: Option<bool>,
}

/// Input of [`PutIntegration`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PutIntegrationInput {
    rest_api_id: String,
    resource_id: String,
    http_method: String,
    #[serde(rename = "type")]
    kind: String,
    integration_http_method: Option<String>,
    uri: Option<String>,
    connection_type: Option<String>,
    connection_id: Option<String>,
    credentials: Option<String>,
    request_parameters: Option<BTreeMap<String, String>>,
    request_templates: Option<BTreeMap<String, Option<String>>>,
    passthrough_behavior: Option<String>,
    cache_namespace: Option<String>,
    cache_key_parameters: Option<Vec<String>>,
    content_handling: Option<String>,
    timeout_in_millis: Option<i64>,
    tls_config: Option<TlsConfig>,
    response_transfer_mode: Option<String>,
}

fn filled(text: Option<&String>) -> Option<&String> {
    text.filter(|text| !text.is_empty())
}

impl PutIntegrationInput {
    /// Refuses what nothing enforces yet; a value that says what holds anyway is let through.
    fn check_refused(&self) -> Result<()> {
        if let Some(kind) = filled(self.connection_type.as_ref()).filter(|kind| *kind != "INTERNET") {
            return Err(unsupported_value("connectionType", kind));
        }
        if let Some(mode) = filled(self.response_transfer_mode.as_ref()).filter(|mode| *mode != "BUFFERED") {
            return Err(unsupported_value("responseTransferMode", mode));
        }
        let insecure = self.tls_config.as_ref().and_then(|config| config.insecure_skip_verification);
        let refused = [
            ("connectionId", filled(self.connection_id.as_ref()).is_some()),
            ("requestParameters", self.request_parameters.as_ref().is_some_and(|map| !map.is_empty())),
            ("cacheKeyParameters", self.cache_key_parameters.as_ref().is_some_and(|list| !list.is_empty())),
            ("contentHandling", filled(self.content_handling.as_ref()).is_some()),
            ("tlsConfig.insecureSkipVerification", insecure == Some(true)),
        ];
        match refused.iter().find(|(_, sent)| *sent) {
            Some((member, _)) => Err(unsupported(member)),
            None => Ok(()),
        }
    }
}

/// Sets what answers a method, in place of what answered it before with its responses.
///
/// The role needs the caller's `iam:PassRole`. Whether function and role exist is not asked, as on AWS.
pub struct PutIntegration;

impl Operation for PutIntegration {
    const NAME: &'static str = "PutIntegration";
    type Input = PutIntegrationInput;
    type Output = Integration;
    const REFUSED: &'static [&'static str] = &["integrationTarget"];

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let mut needs = vec![default];
        if let Some(role) = filled(input.credentials.as_ref()) {
            needs.push(role::need("credentials", role, cx)?);
        }
        Ok(needs)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let mut method = method::load(cx, tx, &input.rest_api_id, &input.resource_id, &input.http_method)?;
        input.check_refused()?;
        if let Some(role) = filled(input.credentials.as_ref()) {
            role::check("credentials", role, cx)?;
        }
        let templates = input.request_templates.unwrap_or_default();
        let integration = Integration {
            kind: input.kind,
            http_method: input.integration_http_method.filter(|verb| !verb.is_empty()),
            uri: input.uri.filter(|uri| !uri.is_empty()),
            credentials: input.credentials.filter(|role| !role.is_empty()),
            request_templates: templates.into_iter().map(|(key, text)| (key, text.unwrap_or_default())).collect(),
            passthrough_behavior: input.passthrough_behavior.unwrap_or_else(|| "WHEN_NO_MATCH".to_owned()),
            timeout_in_millis: check_timeout(input.timeout_in_millis.unwrap_or(TIMEOUT_MS_DEFAULT))?,
            cache_namespace: input.cache_namespace.unwrap_or_else(|| method.resource_id.clone()),
            cache_key_parameters: Vec::new(),
            integration_responses: BTreeMap::new(),
        };
        integration.check()?;
        method.method_integration = Some(integration.clone());
        method::store(cx, tx, &input.rest_api_id, &method)?;
        Ok(integration)
    }
}

/// Shows what answers a method.
pub struct GetIntegration;

impl Operation for GetIntegration {
    const NAME: &'static str = "GetIntegration";
    type Input = MethodInput;
    type Output = Integration;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        input.load(cx, tx)?.method_integration.ok_or_else(absent)
    }
}

/// Input of [`UpdateIntegration`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateIntegrationInput {
    rest_api_id: String,
    resource_id: String,
    http_method: String,
    #[serde(default)]
    patch_operations: Vec<Step>,
}

/// Changes what answers a method; its type stays.
pub struct UpdateIntegration;

impl Operation for UpdateIntegration {
    const NAME: &'static str = "UpdateIntegration";
    type Input = UpdateIntegrationInput;
    type Output = Integration;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let mut needs = vec![default];
        let roles = input.patch_operations.iter().filter(|step| step.path() == "/credentials");
        for role in roles.filter_map(Step::text) {
            needs.push(role::need("credentials", role, cx)?);
        }
        Ok(needs)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let mut method: Method = method::load(cx, tx, &input.rest_api_id, &input.resource_id, &input.http_method)?;
        let integration = method.method_integration.as_mut().ok_or_else(absent)?;
        for step in &input.patch_operations {
            patch(integration, step, cx)?;
        }
        integration.check()?;
        let integration = integration.clone();
        method::store(cx, tx, &input.rest_api_id, &method)?;
        Ok(integration)
    }
}

fn patch(integration: &mut Integration, step: &Step, cx: &Cx<'_>) -> Result<()> {
    let pointer = step.pointer();
    let path: Vec<&str> = pointer.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["requestTemplates", content_type] => match step.op {
            Op::Add | Op::Replace => {
                let text = step.value.clone().unwrap_or_default();
                integration.request_templates.insert((*content_type).to_owned(), text);
            }
            Op::Remove => {
                let removed = integration.request_templates.remove(*content_type);
                removed.ok_or_else(|| not_found("Content-Type specified was not found"))?;
            }
            _ => return Err(bad_request("Invalid patch operation specified. Must be one of: [add, remove, replace]")),
        },
        ["requestParameters" | "cacheKeyParameters", _] if step.op == Op::Remove => {
            return Err(not_found("Invalid parameter name specified"));
        }
        [member @ ("requestParameters" | "cacheKeyParameters"), _] => return Err(unsupported(member)),
        ["tlsConfig", "insecureSkipVerification"] if step.flag() => {
            return Err(unsupported("tlsConfig.insecureSkipVerification"));
        }
        ["tlsConfig", "insecureSkipVerification"] => {}
        [member] => patch_member(integration, step, member, cx)?,
        _ => return Err(bad_request(format!("Invalid patch path {}", step.path()))),
    }
    Ok(())
}

fn patch_member(integration: &mut Integration, step: &Step, member: &str, cx: &Cx<'_>) -> Result<()> {
    const KNOWN: [&str; 11] = [
        "uri",
        "httpMethod",
        "credentials",
        "connectionType",
        "connectionId",
        "contentHandling",
        "passthroughBehavior",
        "timeoutInMillis",
        "cacheNamespace",
        "integrationTarget",
        "responseTransferMode",
    ];
    if !KNOWN.contains(&member) {
        return Err(bad_request(format!("Invalid patch path {}", step.path())));
    }
    if step.op != Op::Replace {
        return Err(bad_request("Invalid patch operation specified. Must be one of: [replace]"));
    }
    let text = step.text().map(str::to_owned);
    match member {
        "uri" => integration.uri = text,
        "httpMethod" => integration.http_method = text,
        "credentials" => {
            text.as_deref().map_or(Ok(()), |role| role::check("credentials", role, cx))?;
            integration.credentials = text;
        }
        "passthroughBehavior" => integration.passthrough_behavior = text.unwrap_or_default(),
        "timeoutInMillis" => {
            integration.timeout_in_millis = check_timeout(text.and_then(|text| text.parse().ok()).unwrap_or(0))?;
        }
        "cacheNamespace" => integration.cache_namespace = text.unwrap_or_default(),
        _ => {
            // The rest can only be set to what holds anyway.
            let holds = text.as_deref().is_none_or(|text| {
                (member == "connectionType" && text == "INTERNET")
                    || (member == "responseTransferMode" && text == "BUFFERED")
            });
            if !holds {
                return Err(unsupported(member));
            }
        }
    }
    Ok(())
}

/// Takes away what answers a method. It cannot be deployed again until it has another.
pub struct DeleteIntegration;

impl Operation for DeleteIntegration {
    const NAME: &'static str = "DeleteIntegration";
    type Input = MethodInput;
    type Output = Nothing;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let mut method = input.load(cx, tx)?;
        method.method_integration.take().ok_or_else(absent)?;
        method::store(cx, tx, &input.rest_api_id, &method)?;
        Ok(Nothing {})
    }
}

/// Operations of this noun.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<PutIntegration>(),
    Entry::of::<GetIntegration>(),
    Entry::of::<UpdateIntegration>(),
    Entry::of::<DeleteIntegration>(),
];

#[cfg(test)]
mod tests;
