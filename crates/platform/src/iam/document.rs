//! Policy documents on their way in and out: size, form, encoding.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use policy::{Kind, Policy};
use service::Result;

use super::error::{limit_exceeded, malformed};

/// What stays unencoded, RFC 3986 section 2.3.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How long a text may be, white space not counted.
///
/// Source: IAM User Guide, "IAM and AWS STS quotas".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quota {
    /// A managed policy: 6,144 characters.
    Managed,
    /// A trust policy: 2,048 characters.
    Trust,
}

/// A document as IAM's answers carry it.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// Characters that count against a quota.
pub(crate) fn chars(text: &str) -> usize {
    text.chars().filter(|c| !c.is_whitespace()).count()
}

/// Checks a text against its quota.
///
/// # Errors
/// `LimitExceeded`.
pub(crate) fn check_size(text: &str, quota: &Quota) -> Result<()> {
    let (name, max) = match quota {
        Quota::Managed => ("PolicySize", 6144),
        Quota::Trust => ("ACLSizePerRole", 2048),
    };
    if chars(text) > max {
        return Err(limit_exceeded(format!("Cannot exceed quota for {name}: {max}")));
    }
    Ok(())
}

/// Checks the form of an identity-based policy.
///
/// # Errors
/// `MalformedPolicyDocument`.
pub(crate) fn check_identity(text: &str) -> Result<()> {
    Policy::parse(text, Kind::Identity).map(|_| ()).map_err(|error| malformed(&error))
}
