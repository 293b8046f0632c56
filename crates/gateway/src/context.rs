//! `$context`: the variables of a request that templates, mappings and identity sources may read.
//!
//! Source: API Gateway Developer Guide, "$context variables for data models, authorizers, mapping templates, and
//! CloudWatch access logging".

use std::borrow::Cow;

use crate::{
    authorize::{Granted, IamCaller},
    envelope::Envelope,
    reject::{Rejection, ResponseType},
    route::Matched,
};

/// A compiled `$context` path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Variable {
    AccountId,
    ApiId,
    Authorizer(Box<str>),
    AuthorizerLatency,
    AuthorizerPrincipal,
    DeploymentId,
    DomainName,
    DomainPrefix,
    ErrorMessage,
    /// The message as JSON, quotes included; `null` where there is none.
    ErrorMessageString,
    ErrorResponseType,
    ExtendedRequestId,
    HttpMethod,
    IdentityAccessKey,
    IdentityAccountId,
    IdentityApiKey,
    IdentityCaller,
    IdentitySourceIp,
    IdentityUser,
    IdentityUserArn,
    IdentityUserAgent,
    Path,
    Protocol,
    RequestId,
    RequestTime,
    RequestTimeEpoch,
    ResourceId,
    ResourcePath,
    ResponseLatency,
    ResponseLength,
    Stage,
    Status,
    /// Never has a value here: unknown, or of a kind of request this version does not serve.
    Absent,
}

/// What a variable may look at.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) matched: &'a Matched,
    pub(crate) envelope: &'a Envelope,
    /// `None` before authorization and without it.
    pub(crate) granted: Option<&'a Granted>,
    /// The caller of a signed call to an AWS_IAM method.
    pub(crate) caller: Option<&'a IamCaller>,
    /// Why the gateway refused, while it answers a refusal.
    pub(crate) error: Option<&'a Rejection>,
    /// How the request ended, for the access log alone.
    pub(crate) ended: Option<&'a Ended>,
}

/// How a request ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) status: u16,
    pub(crate) body_bytes: usize,
    pub(crate) latency_ms: i64,
}

impl<'a> Scope<'a> {
    /// A request about which nothing but its arrival is known yet.
    pub(crate) fn early(matched: &'a Matched, envelope: &'a Envelope) -> Self {
        Self { matched, envelope, granted: None, caller: None, error: None, ended: None }
    }
}

impl Variable {
    /// From the path after `$context.`.
    pub(crate) fn parse(path: &str) -> Self {
        match path {
            "accountId" => Self::AccountId,
            "apiId" => Self::ApiId,
            "authorizer.principalId" => Self::AuthorizerPrincipal,
            "authorizer.integrationLatency" => Self::AuthorizerLatency,
            "deploymentId" => Self::DeploymentId,
            "domainName" => Self::DomainName,
            "domainPrefix" => Self::DomainPrefix,
            "error.message" => Self::ErrorMessage,
            "error.messageString" => Self::ErrorMessageString,
            "error.responseType" => Self::ErrorResponseType,
            "extendedRequestId" => Self::ExtendedRequestId,
            "httpMethod" => Self::HttpMethod,
            "identity.accessKey" => Self::IdentityAccessKey,
            "identity.accountId" => Self::IdentityAccountId,
            "identity.apiKey" => Self::IdentityApiKey,
            "identity.caller" => Self::IdentityCaller,
            "identity.user" => Self::IdentityUser,
            "identity.userArn" => Self::IdentityUserArn,
            "identity.sourceIp" => Self::IdentitySourceIp,
            "identity.userAgent" => Self::IdentityUserAgent,
            "path" => Self::Path,
            "protocol" => Self::Protocol,
            "responseLatency" => Self::ResponseLatency,
            "responseLength" => Self::ResponseLength,
            "status" => Self::Status,
            "requestId" => Self::RequestId,
            "requestTime" => Self::RequestTime,
            "requestTimeEpoch" => Self::RequestTimeEpoch,
            "resourceId" => Self::ResourceId,
            "resourcePath" => Self::ResourcePath,
            "stage" => Self::Stage,
            _ => path.strip_prefix("authorizer.").map_or(Self::Absent, |key| Self::Authorizer(key.into())),
        }
    }

    /// The variable's text for one request; empty where it has no value.
    pub(crate) fn value<'a>(&'a self, scope: &Scope<'a>) -> Cow<'a, str> {
        let (matched, program) = (scope.matched, scope.matched.program());
        let headers = &matched.arrived().headers;
        Cow::Borrowed(match self {
            Self::AccountId => program.account(),
            Self::ApiId => program.api_id(),
            Self::Authorizer(key) => scope.granted.and_then(|granted| granted.value(key)).unwrap_or_default(),
            Self::AuthorizerLatency => {
                let latency = scope.granted.map(|granted| granted.latency_ms().to_string());
                return Cow::Owned(latency.unwrap_or_default());
            }
            Self::AuthorizerPrincipal => scope.granted.and_then(Granted::principal).unwrap_or_default(),
            Self::DeploymentId => program.deployment_id(),
            Self::DomainName => matched.domain(),
            Self::DomainPrefix => domain_prefix(matched.domain()),
            Self::ExtendedRequestId => scope.envelope.extended_id(),
            Self::ErrorMessage => scope.error.and_then(Rejection::message).unwrap_or_default(),
            Self::ErrorMessageString => {
                let message = scope.error.and_then(Rejection::message);
                return Cow::Owned(
                    message.map_or_else(|| "null".to_owned(), |text| serde_json::Value::from(text).to_string()),
                );
            }
            Self::ErrorResponseType => {
                scope.error.and_then(Rejection::kind).map(ResponseType::name).unwrap_or_default()
            }
            Self::HttpMethod => return matched.asked(),
            Self::IdentityAccessKey => scope.caller.map(|caller| caller.access_key_id.as_str()).unwrap_or_default(),
            Self::IdentityAccountId => scope.caller.map(|caller| caller.account.as_str()).unwrap_or_default(),
            Self::IdentityApiKey => headers.last("x-api-key").unwrap_or_default(),
            Self::IdentityCaller | Self::IdentityUser => {
                scope.caller.map(|caller| caller.user_id.as_str()).unwrap_or_default()
            }
            Self::IdentityUserArn => scope.caller.map(|caller| caller.arn.as_str()).unwrap_or_default(),
            Self::IdentitySourceIp => return Cow::Owned(matched.arrived().client.to_string()),
            Self::IdentityUserAgent => headers.last("User-Agent").unwrap_or_default(),
            Self::Path => return Cow::Owned(matched.stage_path()),
            Self::Protocol => "HTTP/1.1",
            Self::RequestId => scope.envelope.request_id(),
            Self::RequestTime => return Cow::Owned(scope.envelope.time_clf()),
            Self::RequestTimeEpoch => return Cow::Owned(scope.envelope.time_ms.to_string()),
            Self::ResourceId => &matched.method().resource_id,
            Self::ResourcePath => &matched.method().resource_path,
            Self::ResponseLatency => return number(scope.ended.map(|ended| ended.latency_ms)),
            Self::ResponseLength => return number(scope.ended.map(|ended| ended.body_bytes)),
            Self::Stage => program.stage(),
            Self::Status => return number(scope.ended.map(|ended| ended.status)),
            Self::Absent => "",
        })
    }
}

fn number<'a>(value: Option<impl ToString>) -> Cow<'a, str> {
    Cow::Owned(value.map(|value| value.to_string()).unwrap_or_default())
}

/// First label of a domain name.
pub(crate) fn domain_prefix(domain: &str) -> &str {
    domain.split('.').next().unwrap_or_default()
}
