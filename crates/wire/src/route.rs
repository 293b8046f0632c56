//! Which service and operation a request names.
//!
//! Everything here works on the raw path: labels are decoded only after the operation is chosen, since an ARN inside a
//! path arrives with its slashes encoded.

use crate::ServiceError;
use crate::form;
use crate::table::{self, Operation, Protocol, Service};

/// What is known of a request before its body is read.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// HTTP method in upper case.
    pub method: &'a str,
    /// Path as it stood on the request line, still percent-encoded.
    pub raw_path: &'a str,
    /// Query as sent, without the question mark.
    pub raw_query: Option<&'a str>,
    /// Headers in order of arrival; names in any case.
    pub headers: &'a [(&'a str, &'a str)],
}

/// What [`service_of`] found.
#[derive(Debug, Clone, PartialEq)]
pub enum Routed {
    /// One of the table's services.
    Service(&'static Service),
    /// Signed for `execute-api`: the data plane, or `/@connections/`.
    ExecuteApi,
    /// Signed for, or aimed at, a service that is not served: its name. [`unsupported`] is the answer.
    Unsupported(String),
}

impl<'a> Head<'a> {
    /// The first header of that name, ignoring case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// The query's bytes; none is empty.
    pub(crate) fn query(&self) -> &'a [u8] {
        self.raw_query.unwrap_or_default().as_bytes()
    }
}

/// Decides which service a request is for.
///
/// In this order: the service of the SigV4 credential scope (header, then `X-Amz-Credential` of the query);
/// `X-Amz-Target`; rpcv2Cbor, which none of the services speaks; `Action` and `Version` of a form or query; a path that
/// only one service knows; and s3 for all else. `body_prefix` is the body, or as much of it as has been read: query
/// clients write `Action` and `Version` first. Hosts and paths of the data plane are told apart before this is called.
#[must_use]
pub fn service_of(head: &Head<'_>, body_prefix: &[u8]) -> Routed {
    if let Some(scope) = scope_service(head) {
        return signed_for(&scope, head);
    }
    if let Some(target) = head.header("x-amz-target") {
        let prefix = target.rsplit_once('.').map_or("", |(prefix, _)| prefix);
        let found = table::services().iter().find(|service| same_target(service, prefix));
        return found.map_or_else(|| Routed::Unsupported(bounded(prefix)), |service| Routed::Service(service));
    }
    if head.header("smithy-protocol").is_some_and(|value| value.eq_ignore_ascii_case("rpc-v2-cbor")) {
        let name = head.raw_path.split('/').nth(2).unwrap_or_default();
        return Routed::Unsupported(bounded(name));
    }
    if let Some(routed) = query_service(head, body_prefix) {
        return routed;
    }
    if let Some(service) = known_path(head) {
        return Routed::Service(service);
    }
    table::service("s3").map_or_else(|| Routed::Unsupported("s3".to_owned()), Routed::Service)
}

/// The answer to [`Routed::Unsupported`]: a clean 404 whatever the protocol of the client.
#[must_use]
pub fn unsupported(service: &str) -> ServiceError {
    let message = format!("The service {service} is not served here.");
    ServiceError::new("UnknownOperationException", 404, message)
}

fn bounded(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// `AKID/date/region/SERVICE/aws4_request`, counted from the end.
fn scope_service(head: &Head<'_>) -> Option<String> {
    let from_scope = |scope: &str| -> Option<String> {
        let mut parts = scope.rsplit('/');
        let terminator = parts.next()?;
        let service = parts.next()?;
        (terminator == "aws4_request" && !service.is_empty()).then(|| bounded(service))
    };
    let header = head.header("authorization").filter(|value| value.starts_with("AWS4-"));
    if let Some(service) = header
        .and_then(|value| value.split_once("Credential="))
        .and_then(|(_, rest)| rest.split([',', ' ']).next())
        .and_then(from_scope)
    {
        return Some(service);
    }
    form::first(head.query(), "X-Amz-Credential").and_then(|scope| from_scope(&scope))
}

fn signed_for(scope: &str, head: &Head<'_>) -> Routed {
    let name = match scope {
        "execute-api" => return Routed::ExecuteApi,
        // Both generations of API Gateway sign alike; only the path tells them apart.
        "apigateway" if head.raw_path.starts_with("/v2/") => "apigatewayv2",
        other => other,
    };
    let found = table::service(name).filter(|service| service.signing_name == scope);
    found.map_or_else(|| Routed::Unsupported(scope.to_owned()), Routed::Service)
}

/// Whether `prefix` is the service's target prefix. SDK generations differ in what precedes its last part.
fn same_target(service: &Service, prefix: &str) -> bool {
    let last = |text: &'static str| text.rsplit('.').next();
    service.protocol == Protocol::AwsJson && last(service.target_prefix) == prefix.rsplit('.').next()
}

fn is_form(head: &Head<'_>) -> bool {
    let kind = head.header("content-type").and_then(|value| value.split(';').next()).map(str::trim);
    kind.is_none_or(|kind| kind.eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

fn query_service(head: &Head<'_>, body_prefix: &[u8]) -> Option<Routed> {
    let form: &[u8] = if head.method == "POST" && is_form(head) { body_prefix } else { &[] };
    let find = |key: &str| form::first(form, key).or_else(|| form::first(head.query(), key));
    let (action, version) = (find("Action")?, find("Version")?);
    let by_version = || {
        table::services()
            .iter()
            .filter(|service| service.protocol == Protocol::AwsQuery && service.api_version == version)
    };
    let found = by_version().find(|service| service.operation(&action).is_some()).or_else(|| by_version().next());
    Some(found.map_or_else(|| Routed::Unsupported(bounded(&version)), |service| Routed::Service(service)))
}

/// Unsigned requests whose path belongs to one service. A bucket could bear most of these names, so but for the two
/// roots that every API lives under, the whole path must be one of the service's own.
fn known_path(head: &Head<'_>) -> Option<&'static Service> {
    let under =
        |root: &str| head.raw_path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if under("/restapis") {
        return table::service("apigateway");
    }
    if under("/v2/apis") {
        return table::service("apigatewayv2");
    }
    let rest = table::services().iter().filter(|service| service.protocol == Protocol::RestJson);
    rest.copied().find(|service| best_match(service, head).is_some())
}

/// Decides which operation of `service` a request names.
///
/// REST services: by method and path, a literal segment before a label, then by the literals of the query. awsJson: what
/// follows the last dot of `X-Amz-Target`. awsQuery: `Action`, with the model's `Version`.
///
/// # Errors
/// AWS's answer to an unknown operation, by protocol. Source for awsQuery: IAM API Reference, "Common Errors".
pub fn operation(service: &'static Service, head: &Head<'_>, body: &[u8]) -> Result<&'static Operation, ServiceError> {
    match service.protocol {
        Protocol::RestJson | Protocol::RestXml => best_match(service, head).ok_or_else(|| unknown_path(service, head)),
        Protocol::AwsJson => {
            let unknown = || ServiceError::new("UnknownOperationException", 400, "");
            let target = head.header("x-amz-target").ok_or_else(unknown)?;
            let (prefix, name) = target.rsplit_once('.').ok_or_else(unknown)?;
            if head.method != "POST" || !same_target(service, prefix) {
                return Err(unknown());
            }
            service.operation(name).ok_or_else(unknown)
        }
        Protocol::AwsQuery => by_action(service, head, body),
    }
}

fn unknown_path(service: &Service, head: &Head<'_>) -> ServiceError {
    if service.name == "lambda" {
        return ServiceError::new("UnknownOperationException", 404, "");
    }
    if service.protocol == Protocol::RestXml {
        let text = "The specified method is not allowed against this resource.";
        return ServiceError::new("MethodNotAllowed", 405, text);
    }
    // API Gateway's own control plane stands behind API Gateway, whose answer to a path it does not know this is.
    ServiceError::new("MissingAuthenticationTokenException", 403, "Missing Authentication Token")
        .with_cause(format!("no operation for {} {}", head.method, head.raw_path))
}

fn by_action(service: &'static Service, head: &Head<'_>, body: &[u8]) -> Result<&'static Operation, ServiceError> {
    let form: &[u8] = if head.method == "POST" { body } else { &[] };
    let find = |key: &str| form::first(form, key).or_else(|| form::first(head.query(), key));
    let Some(action) = find("Action").filter(|action| !action.is_empty()) else {
        let text = "The request is missing an action or a required parameter.";
        return Err(ServiceError::new("MissingAction", 400, text));
    };
    let version = find("Version").filter(|version| !version.is_empty());
    let found = service.operation(&action).filter(|_| version.as_deref() == Some(service.api_version));
    found.ok_or_else(|| {
        let (action, version) = (bounded(&action), bounded(version.as_deref().unwrap_or("NO_VERSION_SPECIFIED")));
        ServiceError::new("InvalidAction", 400, format!("Could not find operation {action} for version {version}"))
    })
}

/// Segments of a path. A slash at the end counts for nothing, but for s3 where it may be part of a key.
fn segments(raw_path: &str, keep_last: bool) -> Vec<&str> {
    let mut segments: Vec<&str> = raw_path.strip_prefix('/').unwrap_or(raw_path).split('/').collect();
    if segments.last().is_some_and(|last| last.is_empty()) && (!keep_last || segments.len() <= 2) {
        segments.pop();
    }
    segments
}

fn best_match(service: &'static Service, head: &Head<'_>) -> Option<&'static Operation> {
    let path = segments(head.raw_path, service.protocol == Protocol::RestXml);
    // Backwards, since the last of equals is taken: what only a host tells apart (ListDirectoryBuckets from ListBuckets)
    // goes to the first by name.
    let fitting =
        service.operations.iter().rev().filter_map(|operation| Some((fit(operation, head, &path)?, operation)));
    fitting.max_by_key(|(rank, _)| *rank).map(|(_, operation)| operation)
}

/// How well an operation fits, best greatest: its path, then how much of the query it names, then whether it is current.
type Rank = (u64, usize, bool);

fn fit(operation: &Operation, head: &Head<'_>, path: &[&str]) -> Option<Rank> {
    if operation.method != head.method {
        return None;
    }
    let (template, query) = operation.uri.split_once('?').unwrap_or((operation.uri, ""));
    let path_rank = fit_path(template, path)?;
    let mut constraints = 0;
    for (key, value) in form::raw_pairs(query.as_bytes()) {
        let sent = form::pairs(head.query()).find(|(found, _)| found.as_bytes() == key)?;
        if !value.is_empty() && sent.1.as_bytes() != value {
            return None;
        }
        constraints += 1;
    }
    if !operation.route_query.iter().all(|key| form::first(head.query(), key).is_some())
        || !operation.route_headers.iter().all(|name| head.header(name).is_some())
    {
        return None;
    }
    constraints += operation.route_query.len() + operation.route_headers.len();
    Some((path_rank, constraints, !operation.deprecated))
}

/// Two bits a segment from the left: 3 a literal, 2 a label, 1 a label that takes the rest.
fn fit_path(template: &str, path: &[&str]) -> Option<u64> {
    let mut rank: u64 = 0;
    let mut shift = 62u32;
    let mut place = |kind: u64| {
        rank |= kind << shift;
        shift = shift.saturating_sub(2);
    };
    let mut path = path.iter();
    for part in template.strip_prefix('/').unwrap_or(template).split('/').filter(|part| !part.is_empty()) {
        let segment = path.next()?;
        if part.ends_with("+}") {
            if segment.is_empty() && path.len() == 0 {
                return None;
            }
            place(1);
            return Some(rank);
        }
        let is_label = part.starts_with('{') && part.ends_with('}');
        match is_label {
            true if !segment.is_empty() => place(2),
            false if part == *segment => place(3),
            _ => return None,
        }
    }
    (path.len() == 0).then_some(rank)
}

/// The labels of an operation's path with their undecoded values.
pub(crate) fn labels<'a>(operation: &Operation, raw_path: &'a str) -> Vec<(&'static str, &'a str)> {
    let template = operation.uri.split('?').next().unwrap_or_default();
    let mut found = Vec::new();
    let mut rest = raw_path.strip_prefix('/').unwrap_or(raw_path);
    for part in template.strip_prefix('/').unwrap_or(template).split('/') {
        let (segment, after) = rest.split_once('/').unwrap_or((rest, ""));
        if let Some(label) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            match label.strip_suffix('+') {
                Some(label) => {
                    found.push((label, rest));
                    break;
                }
                None => found.push((label, segment)),
            }
        }
        rest = after;
    }
    found
}

#[cfg(test)]
mod tests;
