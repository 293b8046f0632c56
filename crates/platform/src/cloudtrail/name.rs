//! Names and ARNs of trails.

use policy::Arn;
use service::{Cx, Result};

use super::error::error;

/// Longest and shortest name. Source: CloudTrail API Reference, "CreateTrail".
const NAME_CHARS: std::ops::RangeInclusive<usize> = 3..=128;
const CHARACTERS: &str = "Trail name or ARN can only contain uppercase letters, lowercase letters, numbers, periods (.), \
                          hyphens (-), and underscores (_).";

/// A trail as a call names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) name: String,
}

impl Reference {
    /// Reads a name, which means a trail of the caller's account and region, or an ARN.
    ///
    /// # Errors
    /// `InvalidTrailNameException` and `CloudTrailARNInvalidException`.
    pub(crate) fn parse(text: &str, cx: &Cx<'_>) -> Result<Self> {
        if !text.starts_with("arn:") {
            check(text)?;
            let (account, region) = (cx.account().to_owned(), cx.region.as_str().to_owned());
            return Ok(Self { account, region, name: text.to_owned() });
        }
        let invalid = || error("CloudTrailARNInvalidException", format!("Trail ARN {text} is not valid."));
        let arn = Arn::parse(text).map_err(|_| invalid())?;
        let name = arn.resource().strip_prefix("trail/").ok_or_else(invalid)?;
        if arn.service() != "cloudtrail" || arn.region().is_empty() || arn.account().is_empty() {
            return Err(invalid());
        }
        check(name)?;
        Ok(Self { account: arn.account().to_owned(), region: arn.region().to_owned(), name: name.to_owned() })
    }

    /// The ARN of a trail so called.
    pub(crate) fn arn(&self) -> String {
        arn(&self.region, &self.account, &self.name)
    }
}

/// `arn:aws:cloudtrail:REGION:ACCOUNT:trail/NAME`.
#[must_use]
pub fn arn(region: &str, account: &str, name: &str) -> String {
    format!("arn:aws:cloudtrail:{region}:{account}:trail/{name}")
}

/// Checks a trail's name. Source: CloudTrail API Reference, "CreateTrail"; texts of the first four as AWS gives them.
///
/// # Errors
/// `InvalidTrailNameException`.
pub(crate) fn check(name: &str) -> Result<()> {
    let refuse = |message: String| Err(error("InvalidTrailNameException", message));
    let length = name.chars().count();
    if length < *NAME_CHARS.start() {
        return refuse(format!(
            "Trail name too short. Minimum allowed length: 3 characters. Specified name length: {length} characters."
        ));
    }
    if length > *NAME_CHARS.end() {
        return refuse(format!(
            "Trail name too long. Maximum allowed length: 128 characters. Specified name length: {length} characters."
        ));
    }
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')) {
        return refuse(CHARACTERS.into());
    }
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return refuse("Trail name must starts with a letter or number.".into());
    }
    if !name.ends_with(|c: char| c.is_ascii_alphanumeric()) {
        return refuse("Trail name must ends with a letter or number.".into());
    }
    // [U] The texts of these two; the rules are of the page named above.
    let marks = |c: char| matches!(c, '.' | '-' | '_');
    if name.chars().zip(name.chars().skip(1)).any(|(a, b)| marks(a) && marks(b)) {
        return refuse("Trail name must not have adjacent periods, hyphens or underscores.".into());
    }
    if name.parse::<std::net::Ipv4Addr>().is_ok() {
        return refuse("Trail name must not be in IP address format.".into());
    }
    Ok(())
}
