//! Signing, for the project's own clients.

use std::fmt;

use super::canonical::{self, encode};
use super::key::{sha256, signing_key};
use super::time::AmzDate;
use super::{ALGORITHM, RequestHead, TERMINATOR};

/// Headers that never enter a signature: hops on the way change them.
const NEVER_SIGNED: &[&str] = &[
    "authorization",
    "connection",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-amzn-trace-id",
];

/// What to sign with. Prints its access key id only.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// Access key id.
    pub access_key_id: &'a str,
    /// Secret access key.
    pub secret_access_key: &'a str,
    /// Session token of temporary credentials.
    pub session_token: Option<&'a str>,
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// What of the body to sign.
#[derive(Debug, Clone, Copy)]
pub enum SignPayload<'a> {
    /// The bytes' SHA-256.
    Bytes(&'a [u8]),
    /// Nothing: S3's `UNSIGNED-PAYLOAD`.
    Unsigned,
}

/// Signs a request by header; gives the headers to add, `authorization` last.
///
/// `head` must hold a `host` header and neither `authorization` nor `x-amz-date`, `x-amz-security-token` and
/// `x-amz-content-sha256`; all its other headers are signed but those hops change. For the service `s3` the path is
/// signed as given and the payload hash is added as a header.
#[must_use]
pub fn sign(
    head: &RequestHead<'_>,
    payload: SignPayload<'_>,
    credentials: &Credentials<'_>,
    region: &str,
    service: &str,
    now_s: i64,
) -> Vec<(&'static str, String)> {
    let at = AmzDate::from_seconds(now_s);
    let s3 = service == "s3";
    let payload_hash = match payload {
        SignPayload::Bytes(bytes) => hex::encode(sha256(bytes)),
        SignPayload::Unsigned => "UNSIGNED-PAYLOAD".to_owned(),
    };
    let mut added = vec![("x-amz-date", at.text.clone())];
    if let Some(token) = credentials.session_token {
        added.push(("x-amz-security-token", token.to_owned()));
    }
    if s3 || matches!(payload, SignPayload::Unsigned) {
        added.push(("x-amz-content-sha256", payload_hash.clone()));
    }
    let mut headers = head.headers.to_vec();
    headers.extend(added.iter().map(|(name, value)| (*name, value.as_bytes())));
    let signed_headers = names(&headers);
    let whole = RequestHead { headers: &headers, ..*head };
    let (scope, signature) = signature(&whole, &signed_headers, &payload_hash, credentials, (region, service), &at);
    let credential = format!("{}/{scope}", credentials.access_key_id);
    let authorization =
        format!("{ALGORITHM} Credential={credential}, SignedHeaders={signed_headers}, Signature={signature}");
    added.push(("authorization", authorization));
    added
}

/// Presigns a request; gives the target (path and query) to send it to within `expires_s` seconds.
///
/// Every header in `head` is signed and must be sent along; `host` must be among them. S3 requests leave their body
/// unsigned, others sign the empty body.
#[must_use]
pub fn presign(
    head: &RequestHead<'_>,
    credentials: &Credentials<'_>,
    region: &str,
    service: &str,
    now_s: i64,
    expires_s: u32,
) -> String {
    let at = AmzDate::from_seconds(now_s);
    let signed_headers = names(head.headers);
    let day: String = at.text.chars().take(8).collect();
    let credential = format!("{}/{day}/{region}/{service}/{TERMINATOR}", credentials.access_key_id);
    let mut query = head.raw_query.map(|raw| format!("{raw}&")).unwrap_or_default();
    query.push_str(&format!(
        "X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={}&X-Amz-Date={}&X-Amz-Expires={expires_s}&X-Amz-SignedHeaders={}",
        encode(credential.as_bytes()),
        at.text,
        encode(signed_headers.as_bytes()),
    ));
    if let Some(token) = credentials.session_token {
        query.push_str("&X-Amz-Security-Token=");
        query.push_str(&encode(token.as_bytes()));
    }
    let payload_hash = if service == "s3" { "UNSIGNED-PAYLOAD".to_owned() } else { hex::encode(sha256(b"")) };
    let whole = RequestHead { raw_query: Some(&query), ..*head };
    let (_, signature) = signature(&whole, &signed_headers, &payload_hash, credentials, (region, service), &at);
    format!("{}?{query}&X-Amz-Signature={signature}", head.raw_path)
}

/// Names to sign, lower-case, sorted, each once.
fn names(headers: &[(&str, &[u8])]) -> String {
    let mut names: Vec<String> = headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.retain(|name| !NEVER_SIGNED.contains(&name.as_str()));
    names.sort_unstable();
    names.dedup();
    names.join(";")
}

/// The scope without the key id, and the signature.
fn signature(
    head: &RequestHead<'_>,
    signed_headers: &str,
    payload_hash: &str,
    credentials: &Credentials<'_>,
    (region, service): (&str, &str),
    at: &AmzDate,
) -> (String, String) {
    let day: String = at.text.chars().take(8).collect();
    let scope = format!("{day}/{region}/{service}/{TERMINATOR}");
    // Every name comes from the headers themselves, so the digest exists.
    let digest = canonical::digest(head, signed_headers, payload_hash, service == "s3").unwrap_or_default();
    let key = signing_key(credentials.secret_access_key, &day, region, service);
    let signature = key.sign(canonical::string_to_sign(&at.text, &scope, &digest).as_bytes());
    (scope, signature)
}
