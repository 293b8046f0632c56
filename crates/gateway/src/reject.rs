//! `Rejection` -> `Answer`: the one place where a refusal becomes bytes.
//!
//! Source: API Gateway Developer Guide, "Gateway response types"; answers recorded on AWS.

use std::borrow::Cow;

use bytes::Bytes;

use crate::{
    Answer, Text,
    context::Scope,
    envelope::Envelope,
    gateway_response::GatewayResponse,
    texts,
    transform::{FIELDS_BYTES_MAX, mime, remapped},
};

/// AWS's kinds of refusal; each may be customised by a gateway response of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResponseType {
    AccessDenied,
    ApiConfigurationError,
    AuthorizerConfigurationError,
    AuthorizerFailure,
    BadRequestBody,
    BadRequestParameters,
    Default4xx,
    Default5xx,
    ExpiredToken,
    IntegrationFailure,
    IntegrationTimeout,
    InvalidApiKey,
    InvalidSignature,
    MissingAuthenticationToken,
    QuotaExceeded,
    RequestTooLarge,
    ResourceNotFound,
    Throttled,
    Unauthorized,
    UnsupportedMediaType,
    WafFiltered,
}

/// Name, status, default message (`None` is JSON null) and error type of one kind.
type Row = (&'static str, u16, Option<&'static str>, &'static str);

impl ResponseType {
    /// All kinds, in the order AWS lists them.
    pub const ALL: [Self; 21] = [
        Self::AccessDenied,
        Self::ApiConfigurationError,
        Self::AuthorizerConfigurationError,
        Self::AuthorizerFailure,
        Self::BadRequestBody,
        Self::BadRequestParameters,
        Self::Default4xx,
        Self::Default5xx,
        Self::ExpiredToken,
        Self::IntegrationFailure,
        Self::IntegrationTimeout,
        Self::InvalidApiKey,
        Self::InvalidSignature,
        Self::MissingAuthenticationToken,
        Self::QuotaExceeded,
        Self::RequestTooLarge,
        Self::ResourceNotFound,
        Self::Throttled,
        Self::Unauthorized,
        Self::UnsupportedMediaType,
        Self::WafFiltered,
    ];

    // `INTEGRATION_FAILURE` is listed with 504 by the control plane, but the data plane was seen to answer 500.
    const fn row(self) -> Row {
        match self {
            Self::AccessDenied => ("ACCESS_DENIED", 403, Some(texts::NOT_AUTHORIZED), "AccessDeniedException"),
            Self::ApiConfigurationError => {
                ("API_CONFIGURATION_ERROR", 500, Some(texts::INTERNAL_SERVER_ERROR), "InternalServerErrorException")
            }
            Self::AuthorizerConfigurationError => {
                ("AUTHORIZER_CONFIGURATION_ERROR", 500, None, "AuthorizerConfigurationException")
            }
            Self::AuthorizerFailure => ("AUTHORIZER_FAILURE", 500, None, "AuthorizerFailureException"),
            Self::BadRequestBody => ("BAD_REQUEST_BODY", 400, Some(texts::INVALID_BODY), "BadRequestException"),
            Self::BadRequestParameters => ("BAD_REQUEST_PARAMETERS", 400, None, "BadRequestException"),
            Self::Default4xx => ("DEFAULT_4XX", 400, None, "BadRequestException"),
            Self::Default5xx => ("DEFAULT_5XX", 500, None, "InternalServerErrorException"),
            Self::ExpiredToken => (
                "EXPIRED_TOKEN",
                403,
                Some("The security token included in the request is expired"),
                "ExpiredTokenException",
            ),
            Self::IntegrationFailure => {
                ("INTEGRATION_FAILURE", 500, Some(texts::INTERNAL_SERVER_ERROR), "InternalServerErrorException")
            }
            Self::IntegrationTimeout => {
                ("INTEGRATION_TIMEOUT", 504, Some(texts::ENDPOINT_TIMED_OUT), "InternalServerErrorException")
            }
            Self::InvalidApiKey => ("INVALID_API_KEY", 403, Some(texts::FORBIDDEN), "ForbiddenException"),
            Self::InvalidSignature => (
                "INVALID_SIGNATURE",
                403,
                Some("The request signature we calculated does not match the signature you provided."),
                "InvalidSignatureException",
            ),
            Self::MissingAuthenticationToken => (
                "MISSING_AUTHENTICATION_TOKEN",
                403,
                Some(texts::MISSING_AUTHENTICATION_TOKEN),
                "MissingAuthenticationTokenException",
            ),
            Self::QuotaExceeded => ("QUOTA_EXCEEDED", 429, Some("Limit Exceeded"), "LimitExceededException"),
            Self::RequestTooLarge => ("REQUEST_TOO_LARGE", 413, None, "RequestTooLargeException"),
            Self::ResourceNotFound => ("RESOURCE_NOT_FOUND", 404, None, "ResourceNotFoundException"),
            Self::Throttled => ("THROTTLED", 429, Some("Too Many Requests"), "TooManyRequestsException"),
            Self::Unauthorized => ("UNAUTHORIZED", 401, Some(texts::UNAUTHORIZED), "UnauthorizedException"),
            Self::UnsupportedMediaType => {
                ("UNSUPPORTED_MEDIA_TYPE", 415, Some(texts::UNSUPPORTED_MEDIA_TYPE), "BadRequestException")
            }
            Self::WafFiltered => ("WAF_FILTERED", 403, Some(texts::FORBIDDEN), "WafFilteredException"),
        }
    }

    /// `ACCESS_DENIED` and the like.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// The status the data plane answers by default. The two `DEFAULT_` kinds have none of their own; they are never
    /// answered with, only customised.
    #[must_use]
    pub const fn status(self) -> u16 {
        self.row().1
    }

    /// Value of `x-amzn-ErrorType`.
    #[must_use]
    pub const fn error_type(self) -> &'static str {
        self.row().3
    }
}

/// Why a request goes no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// `None` for refusals before any API is involved; no gateway response customises those.
    kind: Option<ResponseType>,
    status: u16,
    message: Option<Text>,
    error_type: Option<Text>,
    causes: Vec<Text>,
}

impl Rejection {
    /// A refusal of that kind with its usual status and message.
    pub(crate) fn of(kind: ResponseType) -> Self {
        let (_, status, message, error_type) = kind.row();
        let message = message.map(Cow::Borrowed);
        Self { kind: Some(kind), status, message, error_type: Some(error_type.into()), causes: Vec::new() }
    }

    /// 403 in the form AWS gives to a host or stage that serves nothing.
    pub(crate) fn forbidden() -> Self {
        Self::bare(403, texts::FORBIDDEN, Some("ForbiddenException"))
    }

    // [U] Neither status of the next two was recorded with its `x-amzn-ErrorType`, so none is sent.

    pub(crate) fn uri_too_long() -> Self {
        Self::bare(414, texts::URI_TOO_LONG, None)
    }

    pub(crate) fn headers_too_large() -> Self {
        Self::bare(431, texts::HEADERS_TOO_LARGE, None)
    }

    fn bare(status: u16, message: &'static str, error_type: Option<&'static str>) -> Self {
        Self {
            kind: None,
            status,
            message: Some(message.into()),
            error_type: error_type.map(Cow::Borrowed),
            causes: Vec::new(),
        }
    }

    /// A fault of the API's own configuration, named in the log and hidden from the client.
    pub(crate) fn api_configuration(reason: &str) -> Self {
        Self::of(ResponseType::ApiConfigurationError).because(texts::configuration_error(reason))
    }

    /// 502 for an answer that is none of AWS_PROXY's.
    pub(crate) fn malformed_proxy_response() -> Self {
        Self { status: 502, ..Self::of(ResponseType::IntegrationFailure) }
            .because(texts::configuration_error(texts::MALFORMED_PROXY_RESPONSE))
    }

    pub(crate) fn with_message(mut self, message: impl Into<Text>) -> Self {
        self.message = Some(message.into());
        self
    }

    pub(crate) fn with_error_type(mut self, error_type: impl Into<Text>) -> Self {
        self.error_type = Some(error_type.into());
        self
    }

    /// `None` for refusals before any API is involved.
    pub(crate) fn kind(&self) -> Option<ResponseType> {
        self.kind
    }

    /// What the client is told by default; `None` is JSON null.
    pub(crate) fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    pub(crate) fn causes(&self) -> &[Text] {
        &self.causes
    }

    /// Adds a line for the log.
    pub(crate) fn because(mut self, cause: impl Into<Text>) -> Self {
        self.causes.push(cause.into());
        self
    }
}

/// Answers a refusal: with the stage's gateway response for its kind where one was set, else with the built-in one.
///
/// `scope` is `None` where no stage was found, which nothing can customise. A body over the size limit is refused in its
/// built-in form always. Source: API Gateway Developer Guide, "Important notes".
pub(crate) fn answer(rejection: Rejection, envelope: &Envelope, scope: Option<Scope<'_>>) -> Answer {
    let dressed = rejection.kind.filter(|kind| *kind != ResponseType::RequestTooLarge).zip(scope);
    let custom = dressed.and_then(|(kind, scope)| {
        let scope = Scope { error: Some(&rejection), ..scope };
        scope.matched.program().responses().find(kind).map(|custom| Custom::render(custom, &scope))
    });
    let Custom { status, headers: own, body: own_body } = custom.unwrap_or_default();
    let (content_type, body) = own_body.unwrap_or_else(|| {
        let (content_type, body) = body(&rejection);
        (Cow::Borrowed(content_type), body)
    });
    let mut headers: Vec<(Text, Text)> = Vec::with_capacity(5 + own.len());
    if !own.iter().any(|(name, _)| name.eq_ignore_ascii_case("Content-Type")) {
        headers.push(("Content-Type".into(), content_type));
    }
    headers.push(("x-amzn-RequestId".into(), envelope.request_id().to_owned().into()));
    if let Some(error_type) = rejection.error_type {
        headers.push(("x-amzn-ErrorType".into(), error_type));
    }
    headers.push(("x-amz-apigw-id".into(), envelope.extended_id().to_owned().into()));
    headers.extend(own);
    let status = status.unwrap_or(rejection.status);
    Answer { status, headers, body, refusal: rejection.kind, causes: rejection.causes, decision: None }
}

/// A customised gateway response, rendered for one refusal; what it leaves out is built in.
#[derive(Default)]
struct Custom {
    status: Option<u16>,
    headers: Vec<(Text, Text)>,
    body: Option<(Text, Bytes)>,
}

impl Custom {
    fn render(custom: &GatewayResponse, scope: &Scope<'_>) -> Self {
        let mut bytes = 0;
        let headers = custom.headers.iter().filter_map(|(name, source)| {
            let value = source.value(scope);
            bytes += name.len() + value.len();
            if bytes > FIELDS_BYTES_MAX {
                return None;
            }
            // What is no field value (a line break from a context value, say) is left out rather than sent.
            let sound = !value.is_empty() && http::HeaderValue::from_bytes(value.as_bytes()).is_ok();
            sound.then(|| (Cow::Owned(remapped(name).into_owned()), Cow::Owned(value.into_owned())))
        });
        let accept = mime(scope.matched.arrived().headers.last("Accept"));
        let body = custom.body(accept, scope);
        Self {
            status: custom.status,
            headers: headers.collect(),
            body: body.map(|(media, body)| (Cow::Owned(media.to_owned()), Bytes::from(body))),
        }
    }
}

fn body(rejection: &Rejection) -> (&'static str, Bytes) {
    let message = rejection.message.as_deref();
    let (member, bytes) = match (rejection.kind, message) {
        // The limit is enforced before any API is involved: plain text, and no template applies.
        (Some(ResponseType::RequestTooLarge), Some(text)) => {
            return ("text/plain", Bytes::copy_from_slice(text.as_bytes()));
        }
        (Some(ResponseType::AuthorizerConfigurationError), None) => {
            return ("application/json", Bytes::from_static(b"{\"message\":null}"));
        }
        (Some(ResponseType::AccessDenied), text) => ("Message", text),
        (_, text) => ("message", text),
    };
    let text = bytes.map_or_else(|| "null".to_owned(), |text| serde_json::Value::from(text).to_string());
    ("application/json", Bytes::from(format!("{{\"{member}\":{text}}}")))
}

#[cfg(test)]
mod tests {
    use super::{Rejection, ResponseType, answer};
    use crate::{envelope::Envelope, tests::Zeros, texts};

    fn check(rejection: Rejection, status: u16, error_type: Option<&str>, body: &str) {
        let answer = answer(rejection, &Envelope::new(0, &Zeros), None);
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("x-amzn-ErrorType"), error_type);
        assert_eq!(std::str::from_utf8(&answer.body).unwrap(), body);
    }

    #[test]
    fn refusals_have_the_recorded_bodies_to_the_byte() {
        use ResponseType as T;
        let of = Rejection::of;
        check(of(T::Unauthorized), 401, Some("UnauthorizedException"), r#"{"message":"Unauthorized"}"#);
        check(
            of(T::AccessDenied),
            403,
            Some("AccessDeniedException"),
            r#"{"Message":"User is not authorized to access this resource"}"#,
        );
        let denied = of(T::AccessDenied).with_message(texts::EXPLICIT_DENY);
        let expected = r#"{"Message":"User is not authorized to access this resource with an explicit deny in an identity-based policy"}"#;
        check(denied, 403, Some("AccessDeniedException"), expected);
        assert_eq!(expected.len(), 110);
        check(
            of(T::MissingAuthenticationToken),
            403,
            Some("MissingAuthenticationTokenException"),
            r#"{"message":"Missing Authentication Token"}"#,
        );
        check(
            of(T::AuthorizerConfigurationError),
            500,
            Some("AuthorizerConfigurationException"),
            r#"{"message":null}"#,
        );
        check(
            Rejection::api_configuration("x"),
            500,
            Some("InternalServerErrorException"),
            r#"{"message":"Internal server error"}"#,
        );
        check(
            Rejection::malformed_proxy_response(),
            502,
            Some("InternalServerErrorException"),
            r#"{"message":"Internal server error"}"#,
        );
        check(Rejection::forbidden(), 403, Some("ForbiddenException"), r#"{"message":"Forbidden"}"#);
        check(Rejection::uri_too_long(), 414, None, r#"{"message":"Request URI too long"}"#);
        check(
            of(T::RequestTooLarge).with_message(texts::content_too_long(10_485_760)),
            413,
            Some("RequestTooLargeException"),
            "HTTP content length exceeded 10485760 bytes.",
        );
    }

    #[test]
    fn headers_come_in_the_order_aws_sends_them() {
        let answer = answer(Rejection::of(ResponseType::Unauthorized), &Envelope::new(0, &Zeros), None);
        let names: Vec<&str> = answer.headers.iter().map(|(name, _)| name.as_ref()).collect();
        assert_eq!(names, ["Content-Type", "x-amzn-RequestId", "x-amzn-ErrorType", "x-amz-apigw-id"]);
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<&str> = ResponseType::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), 21);
    }
}
