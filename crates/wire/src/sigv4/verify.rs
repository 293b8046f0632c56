//! Verification proper: scope, clock, signed headers, signature, payload, in this order.

use subtle::ConstantTimeEq;

use super::canonical::{self, decode, pairs, trim};
use super::chunked::Seed;
use super::failure::Failure;
use super::key::{SigningKey, sha256};
use super::{RequestHead, Rules, Signed};

/// What the caller has of the body when it asks for verification.
#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    /// All of it. For an aws-chunked body the bytes are not looked at here: decode them by [`Payload::Chunked`].
    Bytes(&'a [u8]),
    /// Its SHA-256.
    Sha256([u8; 32]),
    /// Nothing yet: the declared digest is taken for the signature, and [`Payload::Sha256`] says what to check.
    Later,
}

/// What the signature says of the body, and what is left for the caller to do.
#[derive(Debug)]
pub enum Payload {
    /// The body is covered and was checked.
    Checked,
    /// The body must hash to this; it is the caller's to check before anything is made of it.
    Sha256([u8; 32]),
    /// The client chose not to sign it (S3 alone).
    Unsigned,
    /// An aws-chunked body: decode it with [`Seed::decoder`].
    Chunked(Seed),
}

impl Payload {
    /// Checks a body digest computed after verification.
    ///
    /// # Errors
    /// [`Failure::PayloadMismatch`] if the digest was signed and is another one.
    pub fn check(&self, computed: &[u8; 32]) -> Result<(), Failure> {
        match self {
            Self::Sha256(declared) if !bool::from(declared.ct_eq(computed)) => {
                Err(Failure::PayloadMismatch { declared: hex::encode(declared), computed: hex::encode(computed) })
            }
            _ => Ok(()),
        }
    }
}

/// The signature is the key's. Made by [`Signed::verify`] alone.
#[derive(Debug)]
pub struct Verified {
    payload: Payload,
}

impl Verified {
    /// What is left to do about the body.
    #[must_use]
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The same, owned.
    #[must_use]
    pub fn into_payload(self) -> Payload {
        self.payload
    }
}

impl Signed<'_> {
    /// Checks the credential scope: day against the signing time, region and service against the endpoint's.
    ///
    /// To be called before the access key is looked up, so that errors come in AWS's order; [`Signed::verify`]
    /// checks again.
    ///
    /// # Errors
    /// [`Failure::Scope`], naming everything wrong at once.
    pub fn check_scope(&self, rules: &Rules<'_>) -> Result<(), Failure> {
        let (mut text, mut s3_text, mut wrong_region) = (String::new(), String::new(), None);
        if !self.at.text.starts_with(self.date.as_ref()) {
            let day: String = self.at.text.chars().take(8).collect();
            text.push_str(&format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
                 '{}' != '{day}', from '{}'. ",
                self.date, self.at.text
            ));
            s3_text = format!(
                "Invalid credential date \"{}\". This date is not the same as X-Amz-Date: \"{day}\".",
                self.date
            );
        }
        let region_right = match rules.expected_region {
            Some(expected) => expected == self.region,
            None => is_region(&self.region),
        };
        if !region_right {
            text.push_str(&format!("Credential should be scoped to a valid region, not '{}'. ", self.region));
            let expected = rules.expected_region.unwrap_or("us-east-1");
            s3_text = format!("the region '{}' is wrong; expecting '{expected}'", self.region);
            wrong_region = Some(expected.to_owned());
        }
        if rules.expected_service != self.service {
            let expected = rules.expected_service;
            text.push_str(&format!("Credential should be scoped to correct service: '{expected}'. "));
            s3_text = format!("incorrect service \"{}\". This endpoint belongs to \"{expected}\".", self.service);
        }
        if text.is_empty() { Ok(()) } else { Err(Failure::Scope { text, s3_text, region: wrong_region }) }
    }

    /// Verifies the signature of `head`, the request this was parsed from, with the key of its scope.
    ///
    /// `now_s` is our time in seconds since 1970. The session token is the caller's to compare with the session
    /// the key belongs to, before this call. Signatures are compared in constant time.
    ///
    /// # Errors
    /// Any [`Failure`] but those of [`super::parse`], the first in AWS's order: scope, clock, signed headers,
    /// payload declaration, signature, payload.
    pub fn verify(
        &self,
        head: &RequestHead<'_>,
        body: Body<'_>,
        key: &SigningKey,
        now_s: i64,
        rules: &Rules<'_>,
    ) -> Result<Verified, Failure> {
        self.check_scope(rules)?;
        self.check_clock(now_s, rules.skew_s)?;
        self.check_signed_headers(head, rules)?;
        let declared = Declared::read(self, head, body, rules)?;
        let scope = self.scope_text();
        let digest =
            canonical::digest(head, &self.signed_headers, &declared.text(), rules.s3).ok_or(Failure::Mismatch)?;
        let expected = key.sign(canonical::string_to_sign(&self.at.text, &scope, &digest).as_bytes());
        if !bool::from(expected.as_bytes().ct_eq(self.signature.as_bytes())) {
            return Err(Failure::Mismatch);
        }
        let payload = match declared {
            Declared::Unsigned => Payload::Unsigned,
            Declared::Chunked { signed, trailer, name: _ } => {
                let chain = signed.then(|| (key.clone(), expected, self.at.text.clone(), scope));
                Payload::Chunked(Seed::read(head, chain, trailer)?)
            }
            Declared::Digest(digest) => {
                let payload = Payload::Sha256(digest);
                match body {
                    Body::Later => payload,
                    Body::Bytes(bytes) => checked(&payload, &sha256(bytes))?,
                    Body::Sha256(computed) => checked(&payload, &computed)?,
                }
            }
        };
        Ok(Verified { payload })
    }

    fn check_clock(&self, now_s: i64, skew_s: i64) -> Result<(), Failure> {
        let signed_s = self.at.seconds;
        if signed_s > now_s.saturating_add(skew_s) {
            return Err(Failure::NotYetCurrent { signed_s, now_s, skew_s, presigned: self.is_presigned() });
        }
        match self.expires_s {
            Some(expires_s) if now_s > signed_s.saturating_add(i64::from(expires_s)) => {
                Err(Failure::PresignedExpired { signed_s, now_s, expires_s })
            }
            None if signed_s < now_s.saturating_sub(skew_s) => Err(Failure::Expired { signed_s, now_s, skew_s }),
            _ => Ok(()),
        }
    }

    fn check_signed_headers(&self, head: &RequestHead<'_>, rules: &Rules<'_>) -> Result<(), Failure> {
        let canonical = self.signed_headers().all(is_lower_token)
            && self.signed_headers().zip(self.signed_headers().skip(1)).all(|(a, b)| a < b);
        if !canonical {
            return Err(Failure::Mismatch);
        }
        if !self.signs("host") {
            return Err(Failure::HostNotSigned);
        }
        // With two hosts, what was signed and what was routed by may differ.
        if head.values("host").nth(1).is_some() {
            return Err(Failure::Mismatch);
        }
        if !rules.s3 {
            return Ok(());
        }
        let mut unsigned: Vec<String> = head
            .headers
            .iter()
            .map(|(name, _)| name.to_ascii_lowercase())
            .filter(|name| name.starts_with("x-amz-") && !self.signs(name))
            .collect();
        unsigned.sort_unstable();
        unsigned.dedup();
        if unsigned.is_empty() { Ok(()) } else { Err(Failure::HeadersNotSigned(unsigned)) }
    }

    fn signs(&self, lower_name: &str) -> bool {
        self.signed_headers().any(|name| name == lower_name)
    }
}

fn checked(declared: &Payload, computed: &[u8; 32]) -> Result<Payload, Failure> {
    declared.check(computed).map(|()| Payload::Checked)
}

/// The payload part of the canonical request.
enum Declared {
    Digest([u8; 32]),
    Unsigned,
    Chunked { signed: bool, trailer: bool, name: &'static str },
}

const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
const CHUNKED: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
const CHUNKED_TRAILER: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";
const CHUNKED_UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

impl Declared {
    fn read(signed: &Signed<'_>, head: &RequestHead<'_>, body: Body<'_>, rules: &Rules<'_>) -> Result<Self, Failure> {
        let mut headers = head.values("x-amz-content-sha256");
        let header = headers.next().map(|value| trim(value).to_vec());
        if headers.next().is_some() {
            return Err(Failure::PayloadUndeclared { present: true });
        }
        // The SDK for JavaScript hoists the header into a presigned query.
        let in_query = || {
            let found = pairs(head.raw_query).find(|(name, _)| decode(name).as_ref() == b"X-Amz-Content-Sha256");
            found.map(|(_, value)| decode(value).into_owned())
        };
        let sent = if signed.is_presigned() && rules.s3 { in_query().or(header) } else { header };
        match sent {
            Some(sent) => Self::value(&sent, rules.s3),
            None if rules.s3 && signed.is_presigned() => Ok(Self::Unsigned),
            None if rules.s3 => Err(Failure::PayloadUndeclared { present: false }),
            None => match body {
                Body::Bytes(bytes) => Ok(Self::Digest(sha256(bytes))),
                Body::Sha256(digest) => Ok(Self::Digest(digest)),
                Body::Later => Err(Failure::PayloadUndeclared { present: false }),
            },
        }
    }

    /// Special values are S3's alone: elsewhere an unsigned body would pass for a signed one.
    fn value(sent: &[u8], s3: bool) -> Result<Self, Failure> {
        let text = std::str::from_utf8(sent).unwrap_or_default();
        match text {
            UNSIGNED if s3 => Ok(Self::Unsigned),
            CHUNKED if s3 => Ok(Self::Chunked { signed: true, trailer: false, name: CHUNKED }),
            CHUNKED_TRAILER if s3 => Ok(Self::Chunked { signed: true, trailer: true, name: CHUNKED_TRAILER }),
            CHUNKED_UNSIGNED_TRAILER if s3 => {
                Ok(Self::Chunked { signed: false, trailer: true, name: CHUNKED_UNSIGNED_TRAILER })
            }
            _ => {
                let mut digest = [0; 32];
                let lower = !text.bytes().any(|b| b.is_ascii_uppercase());
                match hex::decode_to_slice(text, &mut digest) {
                    Ok(()) if lower => Ok(Self::Digest(digest)),
                    _ => Err(Failure::PayloadUndeclared { present: true }),
                }
            }
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Digest(digest) => hex::encode(digest),
            Self::Unsigned => UNSIGNED.to_owned(),
            Self::Chunked { name, .. } => (*name).to_owned(),
        }
    }
}

fn is_lower_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase() && b != b':' && b != b',')
}

/// The shape of a region name, such as `us-east-1` or `us-gov-west-1`; it goes into ARNs, so nothing else may pass.
fn is_region(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
}
