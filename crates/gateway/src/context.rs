//! `$context`: the variables of a request that templates, mappings and identity sources may read.
//!
//! Source: API Gateway Developer Guide, "$context variables for data models, authorizers, mapping templates, and
//! CloudWatch access logging".

use std::borrow::Cow;

use crate::{authorize::Granted, envelope::Envelope, route::Matched};

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
    ExtendedRequestId,
    HttpMethod,
    IdentityApiKey,
    IdentitySourceIp,
    IdentityUserAgent,
    Path,
    Protocol,
    RequestId,
    RequestTime,
    RequestTimeEpoch,
    ResourceId,
    ResourcePath,
    Stage,
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
            "extendedRequestId" => Self::ExtendedRequestId,
            "httpMethod" => Self::HttpMethod,
            "identity.apiKey" => Self::IdentityApiKey,
            "identity.sourceIp" => Self::IdentitySourceIp,
            "identity.userAgent" => Self::IdentityUserAgent,
            "path" => Self::Path,
            "protocol" => Self::Protocol,
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
            Self::HttpMethod => matched.verb(),
            Self::IdentityApiKey => headers.last("x-api-key").unwrap_or_default(),
            Self::IdentitySourceIp => return Cow::Owned(matched.arrived().client.to_string()),
            Self::IdentityUserAgent => headers.last("User-Agent").unwrap_or_default(),
            Self::Path => return Cow::Owned(matched.stage_path()),
            Self::Protocol => "HTTP/1.1",
            Self::RequestId => scope.envelope.request_id(),
            Self::RequestTime => return Cow::Owned(scope.envelope.time_clf()),
            Self::RequestTimeEpoch => return Cow::Owned(scope.envelope.time_ms.to_string()),
            Self::ResourceId => &matched.method().resource_id,
            Self::ResourcePath => &matched.method().resource_path,
            Self::Stage => program.stage(),
            Self::Absent => "",
        })
    }
}

/// First label of a domain name.
pub(crate) fn domain_prefix(domain: &str) -> &str {
    domain.split('.').next().unwrap_or_default()
}
