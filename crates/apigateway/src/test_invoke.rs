//! TestInvokeAuthorizer and TestInvokeMethod: what is tried out of an API as it is now, deployed or not.
//!
//! Both wait for functions, so neither is a change of state: here the call is read and the API is narrowed down to the
//! one thing it tries, and the data plane runs that. Narrowed down, because whoever may test a method is not asked for
//! a token, a key or an address: the copy of the API has no authorization on the method and no resource policy, and the
//! data plane needs no way around either.
//!
//! Sources: API Gateway API Reference, "TestInvokeAuthorizer", "TestInvokeMethod"; API Gateway Developer Guide, "Use the
//! console to test a REST API method".

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};
use service::{Cx, Result, ServiceError, Tx};

use crate::authorizer::{self, Authorizer};
use crate::error::{bad_request, not_found, unsupported, unsupported_value};
use crate::gateway_response::GatewayResponse;
use crate::limits::{LONG_TEXT_CHARS_MAX, check_chars};
use crate::method::Method;
use crate::rest_api::{self, RestApi};
use crate::snapshot::Snapshot;
use crate::stage::{self, Stage};
use crate::{method, resource};

/// The stage a test runs on, in requests and in the source ARN integrations present to functions.
pub const STAGE: &str = "test-invoke-stage";

/// Input members of TestInvokeMethod that are refused.
pub const METHOD_REFUSED: &[&str] = &["clientCertificateId"];

/// Headers of one made-up request, each value of a repeated one counted. AWS names no number.
const HEADERS_MAX: usize = 200;

/// What both operations take of the request they make up.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct MadeUp {
    headers: BTreeMap<String, String>,
    multi_value_headers: BTreeMap<String, Vec<String>>,
    path_with_query_string: Option<String>,
    body: Option<String>,
    stage_variables: BTreeMap<String, String>,
}

/// Input of TestInvokeAuthorizer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestInvokeAuthorizerInput {
    rest_api_id: String,
    authorizer_id: String,
    #[serde(default)]
    additional_context: BTreeMap<String, String>,
    #[serde(flatten)]
    made_up: MadeUp,
}

/// Input of TestInvokeMethod.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestInvokeMethodInput {
    rest_api_id: String,
    resource_id: String,
    http_method: String,
    client_certificate_id: Option<String>,
    #[serde(flatten)]
    made_up: MadeUp,
}

/// A test that is ready to run.
#[derive(Debug)]
pub struct Test {
    /// The API with one method: the one tried, or one behind the authorizer tried.
    pub snapshot: Snapshot,
    /// Of name [`STAGE`], with the variables of the call.
    pub stage: Stage,
    pub request: Request,
}

/// The request to try with.
#[derive(Debug)]
pub struct Request {
    /// Never `ANY`.
    pub verb: String,
    /// Begins with a slash.
    pub path_with_query: String,
    /// Names are tokens, values hold no control characters.
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// Where the request claims to come from, if the call says.
    pub source_ip: Option<IpAddr>,
}

/// Answer of TestInvokeAuthorizer. `authorization` and `claims` are a Cognito user pool's and never there.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TestInvokeAuthorizerOutput {
    /// 0 if the authorizer answered, whatever its policy says; else the status a client would get.
    pub client_status: u16,
    pub log: String,
    /// Milliseconds.
    pub latency: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal_id: Option<String>,
    /// JSON text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

/// Answer of TestInvokeMethod.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TestInvokeMethodOutput {
    pub status: u16,
    pub body: String,
    /// The last value of each.
    pub headers: BTreeMap<String, String>,
    pub multi_value_headers: BTreeMap<String, Vec<String>>,
    pub log: String,
    /// Milliseconds.
    pub latency: i64,
}

/// Reads a call of TestInvokeAuthorizer. The method tried is `GET /`, whatever the path.
///
/// `additionalContext` may name the caller's address, user agent and API key, for REQUEST authorizers.
///
/// # Errors
/// `NotFoundException` for API and authorizer; `BadRequestException` for headers that are none, variables and context
/// that cannot be.
pub fn authorizer(input: TestInvokeAuthorizerInput, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Test> {
    let api = rest_api::load(cx, tx, &input.rest_api_id)?;
    let authorizer = authorizer::load(cx, tx, &api.id, &input.authorizer_id)?;
    let mut request = input.made_up.request("GET")?;
    for (name, value) in &input.additional_context {
        if authorizer.kind != "REQUEST" {
            return Err(unsupported("additionalContext of a TOKEN authorizer"));
        }
        add_context(&mut request, name.strip_prefix("context.").unwrap_or(name), value)?;
    }
    let method = Method {
        resource_id: api.root_resource_id.clone(),
        http_method: "GET".to_owned(),
        authorization_type: "CUSTOM".to_owned(),
        authorizer_id: Some(authorizer.id.clone()),
        api_key_required: false,
        operation_name: None,
        method_responses: BTreeMap::new(),
        method_integration: None,
    };
    Test::new(cx, tx, api, method, vec![authorizer], request, input.made_up.stage_variables)
}

/// Reads a call of TestInvokeMethod. Neither authorizer nor key nor resource policy is asked. A verb the resource has
/// no method for is taken by its ANY method; ANY itself is tried as GET \[U\].
///
/// # Errors
/// `NotFoundException` for API, resource and method; `BadRequestException` for headers that are none, variables that
/// cannot be, and a client certificate, which nothing presents yet.
pub fn method(input: TestInvokeMethodInput, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Test> {
    let api = rest_api::load(cx, tx, &input.rest_api_id)?;
    let resource = resource::load(cx, tx, &api.id, &input.resource_id)?;
    method::check_verb(&input.http_method)?;
    if input.client_certificate_id.is_some_and(|id| !id.is_empty()) {
        return Err(unsupported("clientCertificateId"));
    }
    let methods = method::of_resource(cx, tx, &api.id, &resource.id)?;
    let of = |verb: &str| methods.iter().find(|method| method.http_method == verb);
    let found = of(&input.http_method).or_else(|| of("ANY")).cloned();
    let found = found.ok_or_else(|| not_found("Invalid Method identifier specified"))?;
    let verb = if input.http_method == "ANY" { "GET" } else { &input.http_method };
    let mut request = input.made_up.request(verb)?;
    let pathless = input.made_up.path_with_query_string.as_deref().unwrap_or_default().is_empty();
    // A template's braces are no value of its parameters: those stay empty then.
    if pathless && !resource.path.contains('{') {
        request.path_with_query = resource.path;
    }
    let method =
        Method { authorization_type: "NONE".to_owned(), authorizer_id: None, api_key_required: false, ..found };
    Test::new(cx, tx, api, method, Vec::new(), request, input.made_up.stage_variables)
}

impl Test {
    fn new(
        cx: &Cx<'_>,
        tx: &mut Tx<'_>,
        api: RestApi,
        method: Method,
        authorizers: Vec<Authorizer>,
        request: Request,
        variables: BTreeMap<String, String>,
    ) -> Result<Self> {
        stage::check_variables(&variables)?;
        let resources = resource::all(cx, tx, &api.id)?;
        let gateway_responses = tx.list::<GatewayResponse>(&cx.scope(), &service::Parent::Exact(&api.id))?;
        let snapshot = Snapshot {
            account: cx.account().to_owned(),
            region: cx.region.as_str().to_owned(),
            deployment_id: String::new(),
            rest_api: RestApi { policy: None, policy_principals: BTreeMap::new(), ..api },
            resources,
            methods: vec![method],
            authorizers,
            gateway_responses,
        };
        let stage = Stage {
            stage_name: STAGE.to_owned(),
            deployment_id: String::new(),
            snapshot: String::new(),
            description: None,
            variables,
            tags: BTreeMap::new(),
            created_date: cx.now,
            last_updated_date: cx.now,
            authorizers_epoch: 0,
            method_settings: BTreeMap::new(),
            method_spellings: BTreeMap::new(),
            access_log_settings: None,
        };
        Ok(Self { snapshot, stage, request })
    }
}

impl MadeUp {
    fn request(&self, verb: &str) -> Result<Request> {
        let path = self.path_with_query_string.as_deref().unwrap_or_default();
        check_chars("pathWithQueryString", path, LONG_TEXT_CHARS_MAX)?;
        if path.chars().any(|c| c.is_control() || c == ' ') {
            return Err(invalid("pathWithQueryString"));
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        let mut headers = Vec::new();
        // A name in both maps has the values of the second one, which is the more exact.
        let several = |name: &str| self.multi_value_headers.keys().any(|other| other.eq_ignore_ascii_case(name));
        for (name, value) in self.headers.iter().filter(|(name, _)| !several(name)) {
            push(&mut headers, name, value)?;
        }
        for (name, values) in &self.multi_value_headers {
            values.iter().try_for_each(|value| push(&mut headers, name, value))?;
        }
        Ok(Request {
            verb: verb.to_owned(),
            path_with_query: format!("{slash}{path}"),
            headers,
            body: self.body.clone().unwrap_or_default(),
            source_ip: None,
        })
    }
}

/// \[U\]: AWS's texts are not recorded.
fn invalid(member: &str) -> ServiceError {
    bad_request(format!("Invalid {member} specified"))
}

/// Adds a field, if it can be one.
fn push(headers: &mut Vec<(String, String)>, name: &str, value: &str) -> Result<()> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let sound = !name.is_empty() && name.bytes().all(token) && !value.chars().any(|c| c.is_control() && c != '\t');
    if !sound || headers.len() >= HEADERS_MAX {
        return Err(invalid("headers"));
    }
    headers.push((name.to_owned(), value.to_owned()));
    Ok(())
}

/// Puts a context variable where the data plane reads it. The others are made by the gateway of the request itself, and
/// none of them is taken from a call.
fn add_context(request: &mut Request, variable: &str, value: &str) -> Result<()> {
    let field = match variable {
        "identity.sourceIp" => {
            request.source_ip = Some(value.parse().map_err(|_| invalid("additionalContext"))?);
            return Ok(());
        }
        "identity.userAgent" => "User-Agent",
        "identity.apiKey" => "x-api-key",
        other => return Err(unsupported_value("additionalContext", other)),
    };
    request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case(field));
    push(&mut request.headers, field, value)
}

#[cfg(test)]
mod tests;
