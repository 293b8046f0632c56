//! Signature Version 4: checking what clients signed, and signing.
//!
//! The check runs in the order AWS answers in: [`parse`] finds presence and syntax faults, [`Signed::check_scope`]
//! the wrong region or service, then the caller looks up the access key and the session token, and
//! [`Signed::verify`] tells clock, signature and payload faults. Everything is computed from the request target as it
//! was received; no clock is read here, the time is a parameter.
//!
//! Sources: AWS General Reference, "Create a signed AWS API request"; Amazon S3 API Reference, "Authenticating
//! Requests (AWS Signature Version 4)".

mod canonical;
pub mod chunked;
mod failure;
mod key;
mod parse;
mod sign;
mod time;
mod verify;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

pub use failure::{Dialect, Failure, Malformed, Unsupported, bad_session_token, expired_session, unknown_key};
pub use key::{SigningKey, signing_key};
pub use parse::parse;
pub use sign::{Credentials, SignPayload, presign, sign};
pub use verify::{Body, Payload, Verified};

use time::AmzDate;

/// The only algorithm accepted.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// Last element of every credential scope.
const TERMINATOR: &str = "aws4_request";
/// The longest life of a presigned request: one week, in seconds.
pub const MAX_PRESIGNED_S: u32 = 604_800;

/// A request without its body, as it came off the connection.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    /// HTTP method, as received.
    pub method: &'a str,
    /// Path of the request target, still percent-encoded, without query.
    pub raw_path: &'a str,
    /// What follows the first `?` of the target, still percent-encoded.
    pub raw_query: Option<&'a str>,
    /// Headers in order of arrival; names in any case, repeats allowed.
    pub headers: &'a [(&'a str, &'a [u8])],
}

impl<'a> RequestHead<'a> {
    fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

/// What a signing key is derived for, and the key under which one is worth caching.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Access key id, unverified until [`Signed::verify`] has succeeded.
    pub access_key_id: String,
    /// Day in the form `yyyymmdd`.
    pub date: String,
    /// Region name.
    pub region: String,
    /// Service's signing name, such as `apigateway`.
    pub service: String,
}

/// What one endpoint demands of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules<'a> {
    /// Allowed difference between the client's clock and ours: 300 for the JSON protocols, 900 for query and S3.
    pub skew_s: i64,
    /// S3's way: path taken as sent, payload hash header demanded, every `x-amz-*` header signed.
    pub s3: bool,
    /// Signing name the credential scope must carry.
    pub expected_service: &'a str,
    /// Region the scope must carry; `None` takes every well-formed region name.
    pub expected_region: Option<&'a str>,
}

impl<'a> Rules<'a> {
    /// The rules of a dialect for one service in any region.
    #[must_use]
    pub fn of(dialect: Dialect, expected_service: &'a str) -> Self {
        let skew_s = match dialect {
            Dialect::RestJson | Dialect::AwsJson => 300,
            Dialect::Query | Dialect::S3 => 900,
        };
        Self { skew_s, s3: dialect == Dialect::S3, expected_service, expected_region: None }
    }

    /// The same rules, bound to one region.
    #[must_use]
    pub fn in_region(self, region: &'a str) -> Self {
        Self { expected_region: Some(region), ..self }
    }
}

/// A signature read from a request, not yet verified: nothing in it may be believed but for looking up the key.
#[derive(Clone)]
pub struct Signed<'a> {
    access_key_id: Cow<'a, str>,
    date: Cow<'a, str>,
    region: Cow<'a, str>,
    service: Cow<'a, str>,
    signed_headers: Cow<'a, str>,
    signature: Cow<'a, str>,
    session_token: Option<Cow<'a, str>>,
    at: AmzDate,
    /// Life in seconds, for a presigned request.
    expires_s: Option<u32>,
}

impl Signed<'_> {
    /// Access key id of the credential.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// Day of the credential scope, `yyyymmdd`.
    #[must_use]
    pub fn date(&self) -> &str {
        &self.date
    }

    /// Region of the credential scope. Well-formed only once [`Signed::check_scope`] has passed.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Service of the credential scope.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Session token sent along, from the header or, when presigned, from the query.
    #[must_use]
    pub fn session_token(&self) -> Option<&str> {
        self.session_token.as_deref()
    }

    /// Whether the signature stands in the query.
    #[must_use]
    pub fn is_presigned(&self) -> bool {
        self.expires_s.is_some()
    }

    /// Names of the signed headers, as sent.
    pub fn signed_headers(&self) -> impl Iterator<Item = &str> {
        self.signed_headers.split(';')
    }

    /// When the client says it signed, in seconds since 1970.
    #[must_use]
    pub fn signed_at_s(&self) -> i64 {
        self.at.seconds
    }

    /// The scope, to look up or cache a signing key by.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope {
            access_key_id: self.access_key_id.clone().into_owned(),
            date: self.date.clone().into_owned(),
            region: self.region.clone().into_owned(),
            service: self.service.clone().into_owned(),
        }
    }

    /// Derives the key this request must have been signed with, if `secret` belongs to its access key id.
    #[must_use]
    pub fn signing_key(&self, secret: &str) -> SigningKey {
        signing_key(secret, &self.date, &self.region, &self.service)
    }

    fn scope_text(&self) -> String {
        format!("{}/{}/{}/{TERMINATOR}", self.date, self.region, self.service)
    }
}

/// Without the signature and the session token: what is printed ends in logs.
impl fmt::Debug for Signed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed")
            .field("access_key_id", &self.access_key_id)
            .field("date", &self.date)
            .field("region", &self.region)
            .field("service", &self.service)
            .field("signed_headers", &self.signed_headers)
            .field("presigned", &self.is_presigned())
            .finish_non_exhaustive()
    }
}
