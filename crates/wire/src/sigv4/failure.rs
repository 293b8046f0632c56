//! Why a signature was refused, and how each protocol spells it.
//!
//! Codes, statuses and texts follow the control-plane contract, 2.2; S3's follow the Amazon S3 API Reference,
//! "Error responses".

use std::borrow::Cow;

use super::parse::Parts;
use super::time::{basic_text, extended_text};
use crate::ServiceError;

/// The four families of spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// restJson1: API Gateway and Lambda.
    RestJson,
    /// awsJson1.1: CloudTrail, Logs, Organizations.
    AwsJson,
    /// awsQuery: IAM, STS, CloudFormation.
    Query,
    /// S3.
    S3,
}

/// What did not parse: the common text, and S3's own code and text for the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    text: String,
    s3_status: u16,
    s3_code: &'static str,
    s3_text: Cow<'static, str>,
}

const S3_HEADER: &str = "AuthorizationHeaderMalformed";
const S3_QUERY: &str = "AuthorizationQueryParametersError";

impl Malformed {
    /// A fault of a header, in words of our own.
    pub(super) fn header(text: impl Into<String>) -> Self {
        let text = text.into();
        let s3_text = format!("The authorization header is malformed; {text}").into();
        Self { text, s3_status: 400, s3_code: S3_HEADER, s3_text }
    }

    /// A fault of the query, in the same words everywhere.
    pub(super) fn query(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { s3_text: text.clone().into(), text, s3_status: 400, s3_code: S3_QUERY }
    }

    pub(super) fn repeated(name: &str) -> Self {
        Self::header(format!("'{name}' must not be repeated."))
    }

    pub(super) fn not_a_pair(token: &str, sent: &str) -> Self {
        Self {
            text: format!(
                "'{token}' not a valid key=value pair (missing equal-sign) in Authorization header: '{sent}'."
            ),
            ..Self::s3_scheme()
        }
    }

    pub(super) fn scheme(sent: &str) -> Self {
        Self { text: format!("Unsupported AWS 'algorithm': '{sent}'."), ..Self::s3_scheme() }
    }

    fn s3_scheme() -> Self {
        Self {
            text: String::new(),
            s3_status: 400,
            s3_code: "InvalidArgument",
            s3_text: "Unsupported Authorization Type".into(),
        }
    }

    /// AWS names every missing part at once.
    pub(super) fn missing(sent: &str, parts: Parts<'_>, dated: bool) -> Self {
        let mut text = String::new();
        let named =
            [("Credential", parts.credential), ("Signature", parts.signature), ("SignedHeaders", parts.signed_headers)];
        for (name, _) in named.iter().filter(|(_, value)| value.is_none()) {
            text.push_str(&format!("Authorization header requires '{name}' parameter. "));
        }
        if !dated {
            text.push_str("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ");
        }
        let whole = named.iter().all(|(_, value)| value.is_some());
        text.push_str("Authorization=");
        text.push_str(sent);
        if whole {
            return Self { text, ..Self::s3_date() };
        }
        let s3_text = "The authorization header is malformed; the authorization header requires three components: \
                       Credential, SignedHeaders, and Signature.";
        Self { text, s3_status: 400, s3_code: S3_HEADER, s3_text: s3_text.into() }
    }

    fn s3_date() -> Self {
        Self {
            text: String::new(),
            s3_status: 403,
            s3_code: "AccessDenied",
            s3_text: "AWS authentication requires a valid Date or x-amz-date header".into(),
        }
    }

    pub(super) fn missing_in_query(present: &[(&str, bool)]) -> Self {
        let mut text = String::new();
        for (name, _) in present.iter().filter(|(_, there)| !there) {
            text.push_str(&format!("AWS query-string parameters must include '{name}'. "));
        }
        text.push_str("Re-examine the query-string parameters.");
        let s3_text = "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, \
                       X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.";
        Self { text, s3_status: 400, s3_code: S3_QUERY, s3_text: s3_text.into() }
    }

    pub(super) fn algorithm() -> Self {
        Self {
            text: "Unsupported AWS 'algorithm'. Re-examine the query-string parameters.".to_owned(),
            s3_status: 400,
            s3_code: S3_QUERY,
            s3_text: "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256 and AWS4-ECDSA-P256-SHA256\"".into(),
        }
    }

    pub(super) fn credential(sent: &str, in_query: bool) -> Self {
        let expecting = "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".";
        let (s3_code, s3_text) = if in_query {
            (S3_QUERY, format!("Error parsing the X-Amz-Credential parameter; {expecting}"))
        } else {
            (S3_HEADER, format!("The authorization header is malformed; {expecting}"))
        };
        Self {
            text: format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{sent}'"
            ),
            s3_status: 400,
            s3_code,
            s3_text: s3_text.into(),
        }
    }

    pub(super) fn date(sent: &str, in_query: bool) -> Self {
        let text =
            format!("Date must be in ISO-8601 'basic format'. Got '{sent}'. See http://en.wikipedia.org/wiki/ISO_8601");
        if in_query {
            let s3_text = "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"".into();
            return Self { text, s3_status: 400, s3_code: S3_QUERY, s3_text };
        }
        Self { text, ..Self::s3_date() }
    }
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Self::Incomplete(malformed)
    }
}

/// What is understood and refused all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsupported {
    /// Signature Version 2, in the header or the query.
    VersionTwo,
    /// Signature Version 4A (`AWS4-ECDSA-P256-SHA256`).
    Asymmetric,
    /// More than one signature on one request.
    TwoSignatures,
    /// A head beyond the bounds of the parser.
    TooLarge,
}

/// Why a request was not taken as signed. [`Failure::to_error`] spells it for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Nothing is signed.
    Missing,
    /// The signature does not parse.
    Incomplete(Malformed),
    /// A kind of signature this server does not take.
    Unsupported(Unsupported),
    /// The credential is scoped to another day, region or service; the text says which.
    Scope {
        /// AWS's text, with its trailing spaces.
        text: String,
        /// S3's continuation of `The authorization header is malformed; `.
        s3_text: String,
        /// The region expected, when it is the region that is wrong.
        region: Option<String>,
    },
    /// Signed too long ago.
    Expired {
        /// When it was signed, in seconds since 1970, as the other times here.
        signed_s: i64,
        /// Our time.
        now_s: i64,
        /// What was allowed between them.
        skew_s: i64,
    },
    /// Signed in our future.
    NotYetCurrent {
        /// When it was signed.
        signed_s: i64,
        /// Our time.
        now_s: i64,
        /// What was allowed between them.
        skew_s: i64,
        /// Whether it was a presigned request, for which S3 has a text of its own.
        presigned: bool,
    },
    /// A presigned request past its own expiry.
    PresignedExpired {
        /// When it was signed.
        signed_s: i64,
        /// Our time.
        now_s: i64,
        /// Its life in seconds.
        expires_s: u32,
    },
    /// The `host` header is not among the signed ones.
    HostNotSigned,
    /// S3: `x-amz-*` headers that came with the request and are not signed.
    HeadersNotSigned(Vec<String>),
    /// S3: no `x-amz-content-sha256`, or one that is neither a digest nor a special value.
    PayloadUndeclared {
        /// Whether the header was there at all.
        present: bool,
    },
    /// S3: an aws-chunked body without a usable `x-amz-decoded-content-length`.
    LengthUndeclared,
    /// The signature is another one.
    Mismatch,
    /// The body is not the one whose digest was signed.
    PayloadMismatch {
        /// Digest the client declared.
        declared: String,
        /// Digest of what arrived.
        computed: String,
    },
}

const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. \
     Check your AWS Secret Access Key and signing method. Consult the service documentation for details.";
const MISMATCH_S3: &str = "The request signature we calculated does not match the signature you provided. \
     Check your key and signing method.";
const TOKEN_INVALID: &str = "The security token included in the request is invalid.";
const TOKEN_EXPIRED: &str = "The security token included in the request is expired";

impl Failure {
    /// The error a client of this dialect reads.
    #[must_use]
    pub fn to_error(&self, dialect: Dialect) -> ServiceError {
        if dialect == Dialect::S3 { self.to_s3_error() } else { self.to_common_error(dialect) }
    }

    fn to_common_error(&self, dialect: Dialect) -> ServiceError {
        match self {
            Self::Missing => missing(dialect),
            Self::Incomplete(malformed) => incomplete(dialect, malformed.text.clone()),
            Self::Unsupported(what) => incomplete(dialect, what.text().to_owned()),
            Self::Scope { text, .. } => invalid(dialect, text.clone()),
            Self::Expired { signed_s, now_s, skew_s } => invalid(dialect, expired_text(*signed_s, *now_s, *skew_s)),
            Self::PresignedExpired { signed_s, now_s, expires_s } => {
                invalid(dialect, expired_text(*signed_s, *now_s, i64::from(*expires_s)))
            }
            Self::NotYetCurrent { signed_s, now_s, skew_s, .. } => {
                let text = format!(
                    "Signature not yet current: {} is still later than {} ({} + {})",
                    basic_text(*signed_s),
                    basic_text(now_s.saturating_add(*skew_s)),
                    basic_text(*now_s),
                    allowance(*skew_s),
                );
                invalid(dialect, text)
            }
            Self::HostNotSigned => {
                invalid(dialect, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
            }
            Self::HeadersNotSigned(_)
            | Self::PayloadUndeclared { .. }
            | Self::LengthUndeclared
            | Self::Mismatch
            | Self::PayloadMismatch { .. } => invalid(dialect, MISMATCH),
        }
    }

    fn to_s3_error(&self) -> ServiceError {
        match self {
            Self::Missing => ServiceError::new("AccessDenied", 403, "Access Denied"),
            Self::Incomplete(m) => ServiceError::new(m.s3_code, m.s3_status, m.s3_text.clone()),
            Self::Unsupported(what) => what.to_s3_error(),
            Self::Scope { s3_text, region, .. } => {
                let text = format!("The authorization header is malformed; {s3_text}");
                let error = ServiceError::new(S3_HEADER, 400, text);
                match region {
                    Some(region) => error.with_field("Region", region.as_str()),
                    None => error,
                }
            }
            Self::NotYetCurrent { now_s, presigned: true, .. } => {
                ServiceError::new("AccessDenied", 403, "Request is not valid yet")
                    .with_field("ServerTime", extended_text(*now_s))
            }
            Self::Expired { signed_s, now_s, skew_s } | Self::NotYetCurrent { signed_s, now_s, skew_s, .. } => {
                let text = "The difference between the request time and the current time is too large.";
                ServiceError::new("RequestTimeTooSkewed", 403, text)
                    .with_field("RequestTime", basic_text(*signed_s))
                    .with_field("ServerTime", extended_text(*now_s))
                    .with_field("MaxAllowedSkewMilliseconds", skew_s.saturating_mul(1000))
            }
            Self::PresignedExpired { signed_s, now_s, expires_s } => {
                ServiceError::new("AccessDenied", 403, "Request has expired")
                    .with_field("X-Amz-Expires", *expires_s)
                    .with_field("Expires", extended_text(signed_s.saturating_add(i64::from(*expires_s))))
                    .with_field("ServerTime", extended_text(*now_s))
            }
            Self::HostNotSigned => headers_not_signed("host"),
            Self::HeadersNotSigned(names) => headers_not_signed(&names.join(", ")),
            Self::PayloadUndeclared { present: false } => ServiceError::new(
                "InvalidRequest",
                400,
                "Missing required header for this request: x-amz-content-sha256",
            ),
            Self::PayloadUndeclared { present: true } => {
                let text = "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
                            STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a \
                            valid sha256 value.";
                ServiceError::new("InvalidArgument", 400, text)
            }
            Self::LengthUndeclared => {
                ServiceError::new("MissingContentLength", 411, "You must provide the Content-Length HTTP header.")
            }
            Self::Mismatch => ServiceError::new("SignatureDoesNotMatch", 403, MISMATCH_S3),
            Self::PayloadMismatch { declared, computed } => {
                let text = "The provided 'x-amz-content-sha256' header does not match what was computed.";
                ServiceError::new("XAmzContentSHA256Mismatch", 400, text)
                    .with_field("ClientComputedContentSHA256", declared.as_str())
                    .with_field("S3ComputedContentSHA256", computed.as_str())
            }
        }
    }
}

impl Unsupported {
    fn text(self) -> &'static str {
        match self {
            Self::VersionTwo => "Signature Version 2 is not supported. Please use AWS4-HMAC-SHA256.",
            Self::Asymmetric => "AWS4-ECDSA-P256-SHA256 is not supported. Please use AWS4-HMAC-SHA256.",
            Self::TwoSignatures => "Only one signature is allowed: in the query string or in one Authorization header.",
            Self::TooLarge => "The signed part of the request is larger than allowed.",
        }
    }

    fn to_s3_error(self) -> ServiceError {
        match self {
            Self::VersionTwo | Self::Asymmetric => {
                let text =
                    "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";
                ServiceError::new("InvalidRequest", 400, text)
            }
            Self::TwoSignatures => {
                let text = "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query \
                            string parameter or the Authorization header should be specified";
                ServiceError::new("InvalidArgument", 400, text)
            }
            Self::TooLarge => {
                let text = "Your request header section exceeds the maximum allowed size.";
                ServiceError::new("RequestHeaderSectionTooLarge", 400, text)
            }
        }
    }
}

fn headers_not_signed(names: &str) -> ServiceError {
    let text = "There were headers present in the request which were not signed";
    ServiceError::new("AccessDenied", 403, text).with_field("HeadersNotSigned", names)
}

fn expired_text(signed_s: i64, now_s: i64, allowed_s: i64) -> String {
    format!(
        "Signature expired: {} is now earlier than {} ({} - {})",
        basic_text(signed_s),
        basic_text(now_s.saturating_sub(allowed_s)),
        basic_text(now_s),
        allowance(allowed_s),
    )
}

fn allowance(seconds: i64) -> String {
    if seconds % 60 == 0 { format!("{} min.", seconds / 60) } else { format!("{seconds} sec.") }
}

/// awsJson answers every client fault with 400, the others authentication faults with 403.
fn status(dialect: Dialect) -> u16 {
    match dialect {
        Dialect::AwsJson => 400,
        Dialect::RestJson | Dialect::Query | Dialect::S3 => 403,
    }
}

fn missing(dialect: Dialect) -> ServiceError {
    match dialect {
        Dialect::Query => {
            ServiceError::new("MissingAuthenticationToken", 403, "Request is missing Authentication Token")
        }
        _ => ServiceError::new("MissingAuthenticationTokenException", status(dialect), "Missing Authentication Token"),
    }
}

fn incomplete(dialect: Dialect, text: String) -> ServiceError {
    match dialect {
        Dialect::Query => ServiceError::new("IncompleteSignature", 400, text),
        _ => ServiceError::new("IncompleteSignatureException", status(dialect), text),
    }
}

fn invalid(dialect: Dialect, text: impl Into<String>) -> ServiceError {
    let code = if dialect == Dialect::Query { "SignatureDoesNotMatch" } else { "InvalidSignatureException" };
    ServiceError::new(code, status(dialect), text)
}

/// The access key id is unknown, inactive or deleted; AWS does not tell these apart, nor do we.
#[must_use]
pub fn unknown_key(dialect: Dialect, access_key_id: &str) -> ServiceError {
    match dialect {
        Dialect::S3 => {
            let text = "The AWS Access Key Id you provided does not exist in our records.";
            ServiceError::new("InvalidAccessKeyId", 403, text).with_field("AWSAccessKeyId", access_key_id)
        }
        Dialect::Query => ServiceError::new("InvalidClientTokenId", 403, TOKEN_INVALID),
        _ => ServiceError::new("UnrecognizedClientException", status(dialect), TOKEN_INVALID),
    }
}

/// The session token is absent where the key needs one, or is another one.
#[must_use]
pub fn bad_session_token(dialect: Dialect) -> ServiceError {
    match dialect {
        Dialect::S3 => ServiceError::new("InvalidToken", 400, "The provided token is malformed or otherwise invalid."),
        _ => unknown_key(dialect, ""),
    }
}

/// The session behind the token is over.
#[must_use]
pub fn expired_session(dialect: Dialect) -> ServiceError {
    match dialect {
        Dialect::S3 => ServiceError::new("ExpiredToken", 400, "The provided token has expired."),
        Dialect::Query => ServiceError::new("ExpiredToken", 403, TOKEN_EXPIRED),
        _ => ServiceError::new("ExpiredTokenException", status(dialect), TOKEN_EXPIRED),
    }
}
