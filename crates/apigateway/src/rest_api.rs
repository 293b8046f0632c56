//! `RestApi`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use service::patch::{Op, Step};
use service::{Cx, Entry, Need, Operation, Parent, Record, Result, Scope, Timestamp, Tx};

use crate::error::{bad_request, conflict, limit_exceeded, not_found, unsupported, unsupported_value};
use crate::limits::{REST_APIS_MAX, check_tags, check_text};
use crate::page::{self, Page};
use crate::{Nothing, authorizer::Authorizer, deployment::Deployment, gateway_response::GatewayResponse};
use crate::{method::Method, resource::Resource, resource_policy, stage::Stage, tally, usage_plan};

/// A REST API. Lives under its account and region; found by id alone through [`Owner`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestApi {
    /// 10 characters `[a-z0-9]`.
    pub id: String,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub created_date: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `HEADER` or `AUTHORIZER`.
    pub api_key_source: String,
    pub endpoint_configuration: EndpointConfiguration,
    pub disable_execute_api_endpoint: bool,
    pub root_resource_id: String,
    /// The resource policy as JSON text, with abbreviated resources expanded to whole ARNs; counts from the next
    /// deployment on. Read it for a decision with [`crate::resource_policy::compile`], which binds its principals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The unique ids of the users and roles the policy names, by ARN, as they were when it was written.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub policy_principals: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

impl Record for RestApi {
    const NOUN: &'static str = "apigateway/RestApi";
}

/// How clients reach the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointConfiguration {
    /// One of `EDGE`, `REGIONAL`.
    pub types: Vec<String>,
    /// `ipv4` or `dualstack`.
    pub ip_address_type: String,
}

/// Which account and region an API id belongs to. Ids are unique over the installation so that a host name finds its
/// API without an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    pub account: String,
    pub region: String,
}

impl Record for Owner {
    const NOUN: &'static str = "apigateway/RestApiOwner";
}

/// Tag by which tests and development tools choose an API's id, as they do with other local gateways.
const CUSTOM_ID: &str = "_custom_id_";
/// What the data plane finds an API by holds so many characters.
const CUSTOM_ID_CHARS_MAX: usize = 24;

/// The caller's API of that id.
///
/// # Errors
/// `NotFoundException` when the caller's account has none in this region; whose it is otherwise is not told.
pub(crate) fn load(cx: &Cx<'_>, tx: &mut Tx<'_>, id: &str) -> Result<RestApi> {
    tx.get(&cx.scope(), "", id)?
        .ok_or_else(|| not_found(format!("Invalid API identifier specified {}:{id}", cx.account())))
}

pub(crate) fn store(cx: &Cx<'_>, tx: &mut Tx<'_>, api: &RestApi) -> Result<()> {
    tx.put(&cx.scope(), "", &api.id, api)
}

/// Reads an optional text of a patch or of an input: an empty one unsets.
fn optional(member: &str, text: Option<&str>) -> Result<Option<String>> {
    text.map_or(Ok(()), |text| check_text(member, text))?;
    Ok(text.map(str::to_owned))
}

fn check_name(name: &str) -> Result<()> {
    if name.trim().is_empty() {
        // [U]: AWS's text is not recorded.
        return Err(bad_request("Name cannot be empty"));
    }
    check_text("name", name)
}

fn check_api_key_source(source: &str) -> Result<()> {
    match source {
        "HEADER" | "AUTHORIZER" => Ok(()),
        // [U]: AWS's text is not recorded.
        _ => Err(bad_request("Invalid apiKeySource specified. Valid options are HEADER,AUTHORIZER")),
    }
}

/// `None` is AWS's way to say that nothing is compressed, which is all there is here.
fn check_compression(size: Option<i64>) -> Result<()> {
    match size {
        None => Ok(()),
        Some(size) if (0..=10_485_760).contains(&size) => Err(unsupported("minimumCompressionSize")),
        Some(_) => Err(bad_request("Invalid minimum compression size, must be between 0 and 10485760")),
    }
}

/// What clients see of an API. Moments are epoch seconds on the wire.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RestApiOutput {
    id: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    created_date: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    api_key_source: String,
    endpoint_configuration: EndpointConfiguration,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<BTreeMap<String, String>>,
    disable_execute_api_endpoint: bool,
    root_resource_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
}

impl RestApiOutput {
    /// AWS leaves an empty `tags` out of CreateRestApi and of lists, and shows it elsewhere.
    fn new(api: RestApi, empty_tags: bool) -> Self {
        Self {
            id: api.id,
            name: api.name,
            description: api.description,
            created_date: api.created_date.s(),
            version: api.version,
            api_key_source: api.api_key_source,
            endpoint_configuration: api.endpoint_configuration,
            tags: (empty_tags || !api.tags.is_empty()).then_some(api.tags),
            disable_execute_api_endpoint: api.disable_execute_api_endpoint,
            root_resource_id: api.root_resource_id,
            policy: api.policy.as_deref().map(resource_policy::escaped),
        }
    }
}

/// `endpointConfiguration` as it is sent.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointConfigurationInput {
    types: Option<Vec<String>>,
    ip_address_type: Option<String>,
    #[serde(default)]
    vpc_endpoint_ids: Vec<String>,
}

impl EndpointConfigurationInput {
    fn check(self) -> Result<EndpointConfiguration> {
        let types = self.types.unwrap_or_else(|| vec!["EDGE".to_owned()]);
        let [kind] = types.as_slice() else {
            return Err(bad_request(if types.is_empty() {
                "REGIONAL Configuration and EDGE Configuration cannot be both DISABLED."
            } else {
                "Cannot create an api with multiple Endpoint Types."
            }));
        };
        check_endpoint_type(kind, self.ip_address_type.as_deref())?;
        if !self.vpc_endpoint_ids.is_empty() {
            return Err(unsupported("endpointConfiguration.vpcEndpointIds"));
        }
        let ip_address_type = self.ip_address_type.unwrap_or_else(|| "ipv4".to_owned());
        check_ip_address_type(&ip_address_type)?;
        Ok(EndpointConfiguration { types, ip_address_type })
    }
}

fn check_endpoint_type(kind: &str, ip_address_type: Option<&str>) -> Result<()> {
    match kind {
        "EDGE" | "REGIONAL" => Ok(()),
        "PRIVATE" if ip_address_type == Some("ipv4") => {
            Err(bad_request("Only dualstack ipAddressType is supported for Private APIs."))
        }
        "PRIVATE" => Err(unsupported_value("endpointConfiguration.types", "PRIVATE")),
        _ => Err(bad_request("Invalid EndpointTypes specified. Valid options are REGIONAL,EDGE,PRIVATE")),
    }
}

fn check_ip_address_type(kind: &str) -> Result<()> {
    match kind {
        "ipv4" | "dualstack" => Ok(()),
        _ => Err(bad_request("ipAddressType must be either ipv4 or dualstack.")),
    }
}

/// Input of [`CreateRestApi`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateRestApiInput {
    name: String,
    description: Option<String>,
    version: Option<String>,
    binary_media_types: Option<Vec<String>>,
    minimum_compression_size: Option<i64>,
    api_key_source: Option<String>,
    endpoint_configuration: Option<EndpointConfigurationInput>,
    policy: Option<String>,
    tags: Option<BTreeMap<String, String>>,
    disable_execute_api_endpoint: Option<bool>,
}

/// Makes an API with its root resource, which has no method yet.
pub struct CreateRestApi;

impl Operation for CreateRestApi {
    const NAME: &'static str = "CreateRestApi";
    type Input = CreateRestApiInput;
    type Output = RestApiOutput;
    const REFUSED: &'static [&'static str] = &["cloneFrom", "securityPolicy", "endpointAccessMode"];

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let mut needs = vec![default];
        if input.policy.as_deref().is_some_and(|policy| !policy.is_empty()) {
            needs.push(resource_policy::need("*", cx));
        }
        Ok(needs)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        check_name(&input.name)?;
        if input.description.as_deref() == Some("") {
            return Err(bad_request("Description cannot be an empty string"));
        }
        let endpoint_configuration = input.endpoint_configuration.unwrap_or_default().check()?;
        check_compression(input.minimum_compression_size)?;
        if input.binary_media_types.is_some_and(|types| !types.is_empty()) {
            return Err(unsupported("binaryMediaTypes"));
        }
        let api_key_source = input.api_key_source.unwrap_or_else(|| "HEADER".to_owned());
        check_api_key_source(&api_key_source)?;
        let tags = input.tags.unwrap_or_default();
        check_tags(&tags)?;
        let scope = cx.scope();
        if tally::count(tx, &scope, "", tally::REST_APIS)? >= REST_APIS_MAX {
            return Err(limit_exceeded("APIs", "account"));
        }
        let id = free_id(cx, tx, tags.get(CUSTOM_ID).map(String::as_str))?;
        let root = Resource { id: cx.id(10), parent_id: None, path_part: None, path: "/".to_owned() };
        let mut api = RestApi {
            id,
            name: input.name,
            description: optional("description", input.description.as_deref())?,
            created_date: cx.now,
            version: optional("version", input.version.as_deref().filter(|version| !version.is_empty()))?,
            api_key_source,
            endpoint_configuration,
            disable_execute_api_endpoint: input.disable_execute_api_endpoint.unwrap_or(false),
            root_resource_id: root.id.clone(),
            policy: None,
            policy_principals: BTreeMap::new(),
            tags,
        };
        resource_policy::set(&mut api, input.policy.as_deref().unwrap_or_default(), cx, tx)?;
        let owner = Owner { account: scope.account.clone(), region: scope.region.clone() };
        tx.put(&Scope::installation(), "", &api.id, &owner)?;
        tx.put(&scope, &api.id, &root.id, &root)?;
        tally::step(tx, &scope, "", tally::REST_APIS, true)?;
        store(cx, tx, &api)?;
        Ok(RestApiOutput::new(api, false))
    }
}

/// The id asked for, or a drawn one; either way nobody's in the whole installation.
fn free_id(cx: &mut Cx<'_>, tx: &mut Tx<'_>, wanted: Option<&str>) -> Result<String> {
    let installation = Scope::installation();
    if let Some(id) = wanted {
        // The id becomes a label of host names and a part of ARNs and keys.
        let label = (1..=CUSTOM_ID_CHARS_MAX).contains(&id.len())
            && id.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
            && !id.starts_with('-')
            && !id.ends_with('-');
        if !label {
            return Err(bad_request(format!(
                "Invalid value of the tag {CUSTOM_ID}: 1 to {CUSTOM_ID_CHARS_MAX} of a-z, 0-9 and inner hyphens make an API identifier."
            )));
        }
        if tx.get::<Owner>(&installation, "", id)?.is_some() {
            return Err(conflict(format!("An API with the identifier {id} already exists.")));
        }
        return Ok(id.to_owned());
    }
    loop {
        let id = cx.id(10);
        if tx.get::<Owner>(&installation, "", &id)?.is_none() {
            return Ok(id);
        }
    }
}

/// Names one API.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestApiInput {
    rest_api_id: String,
}

/// Shows an API.
pub struct GetRestApi;

impl Operation for GetRestApi {
    const NAME: &'static str = "GetRestApi";
    type Input = RestApiInput;
    type Output = RestApiOutput;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        Ok(RestApiOutput::new(load(cx, tx, &input.rest_api_id)?, true))
    }
}

/// Input of [`GetRestApis`].
#[derive(Debug, Deserialize)]
pub struct GetRestApisInput {
    position: Option<String>,
    limit: Option<i64>,
}

/// Lists the caller's APIs in this region, by id.
pub struct GetRestApis;

impl Operation for GetRestApis {
    const NAME: &'static str = "GetRestApis";
    type Input = GetRestApisInput;
    type Output = Page<RestApiOutput>;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let page = page::read::<RestApi>(cx, tx, "", input.position.as_deref(), input.limit)?;
        Ok(page.map(|api| RestApiOutput::new(api, false)))
    }
}

/// Input of [`UpdateRestApi`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateRestApiInput {
    rest_api_id: String,
    #[serde(default)]
    patch_operations: Vec<Step>,
}

/// Changes an API. What the data plane uses of it counts from the next deployment on.
pub struct UpdateRestApi;

impl Operation for UpdateRestApi {
    const NAME: &'static str = "UpdateRestApi";
    type Input = UpdateRestApiInput;
    type Output = RestApiOutput;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let mut needs = vec![default];
        if input.patch_operations.iter().any(|step| step.path() == "/policy") {
            needs.push(resource_policy::need(&input.rest_api_id, cx));
        }
        Ok(needs)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let mut api = load(cx, tx, &input.rest_api_id)?;
        for step in &input.patch_operations {
            patch(&mut api, step, cx, tx)?;
        }
        store(cx, tx, &api)?;
        Ok(RestApiOutput::new(api, true))
    }
}

fn patch(api: &mut RestApi, step: &Step, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<()> {
    let pointer = step.pointer();
    let path: Vec<&str> = pointer.iter().map(String::as_str).collect();
    if let ["endpointConfiguration", rest @ ..] = path.as_slice() {
        return patch_endpoint(&mut api.endpoint_configuration, step, rest);
    }
    if let ["binaryMediaTypes", _] = path.as_slice() {
        return Err(unsupported("binaryMediaTypes"));
    }
    let known = ["name", "description", "version", "apiKeySource", "policy", "minimumCompressionSize"];
    let known = known.iter().chain(&["disableExecuteApiEndpoint", "securityPolicy"]);
    let [member] = path.as_slice() else {
        return Err(bad_request(format!("Invalid patch path {}", step.path())));
    };
    if !known.into_iter().any(|known| known == member) {
        return Err(bad_request(format!("Invalid patch path {}", step.path())));
    }
    if *member == "policy" && step.op == Op::Remove {
        return resource_policy::set(api, "", cx, tx);
    }
    if step.op != Op::Replace {
        return Err(bad_request("Invalid patch operation specified. Must be one of: [replace]"));
    }
    match *member {
        "name" => {
            check_name(step.text().unwrap_or_default())?;
            api.name = step.text().unwrap_or_default().to_owned();
        }
        "description" => api.description = optional("description", step.text())?,
        "version" => api.version = optional("version", step.text())?,
        "apiKeySource" => {
            let source = step.value.as_deref().unwrap_or("null");
            check_api_key_source(source)?;
            source.clone_into(&mut api.api_key_source);
        }
        "policy" => resource_policy::set(api, step.text().unwrap_or_default(), cx, tx)?,
        "disableExecuteApiEndpoint" => api.disable_execute_api_endpoint = step.flag(),
        "minimumCompressionSize" => {
            let size = step.text().map(|text| text.parse::<i64>().unwrap_or(-1));
            check_compression(size)?;
        }
        member if step.text().is_some() => return Err(unsupported(member)),
        // An empty one takes away what cannot be there.
        _ => {}
    }
    Ok(())
}

fn patch_endpoint(endpoint: &mut EndpointConfiguration, step: &Step, path: &[&str]) -> Result<()> {
    let value = step.value.as_deref().unwrap_or("null");
    match path {
        ["types", entry] => {
            // The entry is named by its value or by its place, of which there is one.
            if *entry != "0" && !endpoint.types.iter().any(|kind| kind == entry) {
                return Err(bad_request(format!("Invalid patch path {}", step.path())));
            }
            match step.op {
                Op::Replace => {
                    check_endpoint_type(value, Some(&endpoint.ip_address_type))?;
                    endpoint.types = vec![value.to_owned()];
                    Ok(())
                }
                Op::Add => Err(bad_request("Cannot create an api with multiple Endpoint Types.")),
                Op::Remove => {
                    Err(bad_request("REGIONAL Configuration and EDGE Configuration cannot be both DISABLED."))
                }
                _ => Err(bad_request("Invalid patch operation specified. Must be 'add'|'remove'|'replace'")),
            }
        }
        ["ipAddressType"] if step.op == Op::Replace => {
            check_ip_address_type(value)?;
            endpoint.ip_address_type = value.to_owned();
            Ok(())
        }
        ["vpcEndpointIds", ..] => Err(unsupported("endpointConfiguration.vpcEndpointIds")),
        ["ipAddressType"] => Err(bad_request("Invalid patch operation specified. Must be 'add'|'remove'|'replace'")),
        _ => Err(bad_request(format!("Invalid patch path {}", step.path()))),
    }
}

/// Deletes an API with everything of it, running stages included. AWS allows one call in 30 seconds; here there is no
/// such limit.
pub struct DeleteRestApi;

impl Operation for DeleteRestApi {
    const NAME: &'static str = "DeleteRestApi";
    type Input = RestApiInput;
    type Output = Nothing;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let api = load(cx, tx, &input.rest_api_id)?;
        let scope = cx.scope();
        let own = Parent::Exact(&api.id);
        tx.delete_all::<Stage>(&scope, &own)?;
        tx.delete_all::<Deployment>(&scope, &own)?;
        tx.delete_all::<Authorizer>(&scope, &own)?;
        tx.delete_all::<GatewayResponse>(&scope, &own)?;
        tx.delete_all::<Resource>(&scope, &own)?;
        tx.delete_all::<tally::Tally>(&scope, &own)?;
        // The slash ends the id, so that no other API's methods begin alike.
        tx.delete_all::<Method>(&scope, &Parent::Prefix(&format!("{}/", api.id)))?;
        usage_plan::forget(cx, tx, &api.id, None)?;
        tx.delete::<RestApi>(&scope, "", &api.id);
        tx.delete::<Owner>(&Scope::installation(), "", &api.id);
        tally::step(tx, &scope, "", tally::REST_APIS, false)?;
        Ok(Nothing {})
    }
}

/// Operations of this noun.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<CreateRestApi>(),
    Entry::of::<GetRestApi>(),
    Entry::of::<GetRestApis>(),
    Entry::of::<UpdateRestApi>(),
    Entry::of::<DeleteRestApi>(),
];

#[cfg(test)]
mod tests;
