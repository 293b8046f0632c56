//! `Authorizer`.

use serde::{Deserialize, Serialize};
use service::patch::{Op, Step};
use service::{Cx, Entry, Need, Operation, Parent, Record, Result, Tx};

use crate::error::{bad_request, conflict, limit_exceeded, not_found, not_in_enum};
use crate::error::{patch_op, patch_path, unsupported, unsupported_value};
use crate::function_uri::FunctionUri;
use crate::identity_source::{IdentitySource, Invalid};
use crate::limits::{AUTHORIZERS_MAX, LONG_TEXT_CHARS_MAX, check_chars, check_text};
use crate::page::{self, Page};
use crate::{Nothing, method, pattern, resource, rest_api, role};

/// An authorizer; parent of the key is the API's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Authorizer {
    /// 6 characters.
    pub id: String,
    pub name: String,
    /// `TOKEN` or `REQUEST` (others are refused until they are enforced).
    #[serde(rename = "type")]
    pub kind: String,
    pub auth_type: String,
    pub authorizer_uri: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorizer_credentials: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_validation_expression: Option<String>,
    /// Absent when it was not sent; behaves as 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorizer_result_ttl_in_seconds: Option<u32>,
}

impl Record for Authorizer {
    const NOUN: &'static str = "apigateway/Authorizer";
}

/// Seconds for which an answer is kept when the authorizer does not say.
pub const TTL_S_DEFAULT: u32 = 300;
const TTL_S_MAX: i64 = 3600;

impl Authorizer {
    /// Seconds for which an answer is kept; none for 0.
    #[must_use]
    pub fn ttl_s(&self) -> u32 {
        self.authorizer_result_ttl_in_seconds.unwrap_or(TTL_S_DEFAULT)
    }
}

/// The authorizer of that id, in an API that was found already.
pub(crate) fn load(cx: &Cx<'_>, tx: &mut Tx<'_>, api: &str, id: &str) -> Result<Authorizer> {
    tx.get(&cx.scope(), api, id)?.ok_or_else(|| not_found("Invalid Authorizer identifier specified"))
}

fn check_kind(kind: &str, member: &str) -> Result<()> {
    match kind {
        "TOKEN" | "REQUEST" => Ok(()),
        "COGNITO_USER_POOLS" | "JWT" => Err(unsupported_value("Authorizer type", kind)),
        _ => Err(not_in_enum(kind, member, "TOKEN, REQUEST, COGNITO_USER_POOLS, JWT")),
    }
}

fn check_uri(uri: &str) -> Result<()> {
    check_chars("authorizerUri", uri, LONG_TEXT_CHARS_MAX)?;
    FunctionUri::parse(uri).map(drop).ok_or_else(|| {
        bad_request(format!(
            "Invalid Authorizer URI: {uri}. Authorizer URI should be a valid API Gateway ARN that represents a Lambda \
             function invocation."
        ))
    })
}

/// \[U\]: AWS's text is not recorded.
fn check_ttl(ttl_s: i64) -> Result<u32> {
    u32::try_from(ttl_s)
        .ok()
        .filter(|_| (0..=TTL_S_MAX).contains(&ttl_s))
        .ok_or_else(|| bad_request("Invalid authorizerResultTtlInSeconds specified, must be between 0 and 3600"))
}

/// Checks what members demand of each other. The texts are not recorded \[U\].
fn check_identity(authorizer: &Authorizer) -> Result<()> {
    let text = authorizer.identity_source.as_deref().unwrap_or_default();
    check_chars("identitySource", text, LONG_TEXT_CHARS_MAX)?;
    let sources = IdentitySource::parse(text)
        .map_err(|Invalid(expression)| bad_request(format!("Invalid identity source specified: {expression}")))?;
    if authorizer.kind == "TOKEN" {
        let [IdentitySource::Header(_)] = sources.as_slice() else {
            return Err(bad_request(
                "Invalid identity source specified: a TOKEN authorizer needs exactly one method.request.header \
                 expression",
            ));
        };
        // AWS reads the expression for TOKEN only; elsewhere it may be anything.
        if let Some(expression) = authorizer.identity_validation_expression.as_deref() {
            pattern::check("identityValidationExpression", expression)?;
        }
    } else if sources.is_empty() && authorizer.ttl_s() > 0 {
        return Err(bad_request(
            "Invalid identity source specified: a REQUEST authorizer needs one unless its answers are not cached",
        ));
    }
    check_text(
        "identityValidationExpression",
        authorizer.identity_validation_expression.as_deref().unwrap_or_default(),
    )?;
    check_text("authType", &authorizer.auth_type)
}

/// Checks a name against the other authorizers of the API.
fn check_name(own: &Authorizer, others: &[Authorizer]) -> Result<()> {
    let name = &own.name;
    if name.trim().is_empty() {
        // [U]: AWS's text is not recorded.
        return Err(bad_request("Authorizer name cannot be empty"));
    }
    check_text("name", name)?;
    if others.iter().any(|other| other.name == *name && other.id != own.id) {
        return Err(bad_request(format!(
            "Authorizer name must be unique. Authorizer {name} already exists in this RestApi."
        )));
    }
    Ok(())
}

/// Input of [`CreateAuthorizer`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateAuthorizerInput {
    rest_api_id: String,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename = "providerARNs")]
    provider_arns: Option<Vec<String>>,
    auth_type: Option<String>,
    authorizer_uri: Option<String>,
    authorizer_credentials: Option<String>,
    identity_source: Option<String>,
    identity_validation_expression: Option<String>,
    authorizer_result_ttl_in_seconds: Option<i64>,
}

fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// Makes an authorizer. Its function may belong to another account and is not asked for permission here: that is
/// decided at every call.
pub struct CreateAuthorizer;

impl Operation for CreateAuthorizer {
    const NAME: &'static str = "CreateAuthorizer";
    type Input = CreateAuthorizerInput;
    type Output = Authorizer;
    const REFUSED: &'static [&'static str] = &["jwtConfiguration"];

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let mut needs = vec![default];
        if let Some(role) = input.authorizer_credentials.as_deref().filter(|role| !role.is_empty()) {
            needs.push(role::need("authorizerCredentials", role, cx)?);
        }
        Ok(needs)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        check_kind(&input.kind, "createAuthorizerInput.type")?;
        // AWS was recorded to check the URI's form before it looks for the API.
        let uri = input.authorizer_uri.unwrap_or_default();
        check_uri(&uri)?;
        if tx.get::<rest_api::RestApi>(&cx.scope(), "", &input.rest_api_id)?.is_none() {
            return Err(conflict(
                "Unable to complete operation due to concurrent modification. Please try again later.",
            ));
        }
        if input.provider_arns.is_some_and(|arns| !arns.is_empty()) {
            return Err(unsupported("providerARNs"));
        }
        let credentials = filled(input.authorizer_credentials);
        credentials.as_deref().map_or(Ok(()), |role| role::check("authorizerCredentials", role, cx))?;
        let mut authorizer = Authorizer {
            id: String::new(),
            name: input.name,
            kind: input.kind,
            auth_type: filled(input.auth_type).unwrap_or_else(|| "custom".to_owned()),
            authorizer_uri: uri,
            authorizer_credentials: credentials,
            identity_source: filled(input.identity_source),
            identity_validation_expression: filled(input.identity_validation_expression),
            authorizer_result_ttl_in_seconds: input.authorizer_result_ttl_in_seconds.map(check_ttl).transpose()?,
        };
        check_identity(&authorizer)?;
        let others = tx.list::<Authorizer>(&cx.scope(), &Parent::Exact(&input.rest_api_id))?;
        check_name(&authorizer, &others)?;
        if others.len() >= AUTHORIZERS_MAX {
            return Err(limit_exceeded("Authorizers", "API"));
        }
        authorizer.id = resource::fresh_id::<Authorizer>(cx, tx, &input.rest_api_id)?;
        tx.put(&cx.scope(), &input.rest_api_id, &authorizer.id, &authorizer)?;
        Ok(authorizer)
    }
}

/// Names one authorizer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorizerInput {
    rest_api_id: String,
    authorizer_id: String,
}

/// Shows an authorizer.
pub struct GetAuthorizer;

impl Operation for GetAuthorizer {
    const NAME: &'static str = "GetAuthorizer";
    type Input = AuthorizerInput;
    type Output = Authorizer;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let api = rest_api::load(cx, tx, &input.rest_api_id)?;
        load(cx, tx, &api.id, &input.authorizer_id)
    }
}

/// Input of [`GetAuthorizers`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetAuthorizersInput {
    rest_api_id: String,
    position: Option<String>,
    limit: Option<i64>,
}

/// Lists an API's authorizers, by id.
pub struct GetAuthorizers;

impl Operation for GetAuthorizers {
    const NAME: &'static str = "GetAuthorizers";
    type Input = GetAuthorizersInput;
    type Output = Page<Authorizer>;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let api = rest_api::load(cx, tx, &input.rest_api_id)?;
        page::read(cx, tx, &api.id, input.position.as_deref(), input.limit)
    }
}

/// Input of [`UpdateAuthorizer`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateAuthorizerInput {
    rest_api_id: String,
    authorizer_id: String,
    #[serde(default)]
    patch_operations: Vec<Step>,
}

/// Changes an authorizer. Stages see the change with the next deployment.
pub struct UpdateAuthorizer;

impl Operation for UpdateAuthorizer {
    const NAME: &'static str = "UpdateAuthorizer";
    type Input = UpdateAuthorizerInput;
    type Output = Authorizer;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let mut needs = vec![default];
        let roles = input.patch_operations.iter().filter(|step| step.path() == "/authorizerCredentials");
        for role in roles.filter_map(Step::text) {
            needs.push(role::need("authorizerCredentials", role, cx)?);
        }
        Ok(needs)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let api = rest_api::load(cx, tx, &input.rest_api_id)?;
        let mut authorizer = load(cx, tx, &api.id, &input.authorizer_id)?;
        for step in &input.patch_operations {
            patch(&mut authorizer, step, cx)?;
        }
        check_uri(&authorizer.authorizer_uri)?;
        check_identity(&authorizer)?;
        let others = tx.list::<Authorizer>(&cx.scope(), &Parent::Exact(&api.id))?;
        check_name(&authorizer, &others)?;
        tx.put(&cx.scope(), &api.id, &authorizer.id, &authorizer)?;
        Ok(authorizer)
    }
}

fn patch(authorizer: &mut Authorizer, step: &Step, cx: &Cx<'_>) -> Result<()> {
    const PATHS: [&str; 8] = [
        "/name",
        "/type",
        "/authType",
        "/authorizerUri",
        "/authorizerCredentials",
        "/authorizerResultTtlInSeconds",
        "/identitySource",
        "/identityValidationExpression",
    ];
    let path = step.path();
    if path == "/providerARNs" || path.starts_with("/providerARNs/") {
        return Err(unsupported("providerARNs"));
    }
    if !PATHS.contains(&path) {
        return Err(patch_path(step, &PATHS));
    }
    if step.op != Op::Replace {
        return Err(patch_op(step));
    }
    let text = step.text().map(str::to_owned);
    match path {
        "/name" => authorizer.name = text.unwrap_or_default(),
        "/type" => {
            let kind = text.unwrap_or_default();
            check_kind(&kind, "updateAuthorizerInput.type")?;
            authorizer.kind = kind;
        }
        "/authType" => authorizer.auth_type = text.unwrap_or_else(|| "custom".to_owned()),
        "/authorizerUri" => authorizer.authorizer_uri = text.unwrap_or_default(),
        "/authorizerCredentials" => {
            text.as_deref().map_or(Ok(()), |role| role::check("authorizerCredentials", role, cx))?;
            authorizer.authorizer_credentials = text;
        }
        "/identitySource" => authorizer.identity_source = text,
        "/identityValidationExpression" => authorizer.identity_validation_expression = text,
        // An empty one goes back to the default; what is no number is out of range.
        _ => {
            let ttl = text.map(|text| check_ttl(text.parse().unwrap_or(-1)));
            authorizer.authorizer_result_ttl_in_seconds = ttl.transpose()?;
        }
    }
    Ok(())
}

/// Deletes an authorizer that no method of the API names. Deployments made before go on using it.
pub struct DeleteAuthorizer;

impl Operation for DeleteAuthorizer {
    const NAME: &'static str = "DeleteAuthorizer";
    type Input = AuthorizerInput;
    type Output = Nothing;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let api = rest_api::load(cx, tx, &input.rest_api_id)?;
        let authorizer = load(cx, tx, &api.id, &input.authorizer_id)?;
        let methods = method::all(cx, tx, &api.id)?;
        if let Some(method) = methods.iter().find(|method| method.authorizer_id.as_ref() == Some(&authorizer.id)) {
            let path = resource::load(cx, tx, &api.id, &method.resource_id)?.path;
            return Err(conflict(format!(
                "Cannot delete authorizer '{}', is referenced in method: {path}/{}",
                authorizer.name, method.http_method
            )));
        }
        tx.delete::<Authorizer>(&cx.scope(), &api.id, &authorizer.id);
        Ok(Nothing {})
    }
}

/// Operations of this noun.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<CreateAuthorizer>(),
    Entry::of::<GetAuthorizer>(),
    Entry::of::<GetAuthorizers>(),
    Entry::of::<UpdateAuthorizer>(),
    Entry::of::<DeleteAuthorizer>(),
];

#[cfg(test)]
pub(crate) mod tests;
