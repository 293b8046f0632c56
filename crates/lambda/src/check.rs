//! The constraints of AWS's model that this crate depends on, with AWS's texts.
//!
//! `wire` checks them too, for all operations alike, before an operation runs. They stand here again where a record's
//! meaning hangs on them: a statement with a malformed source ARN would be a hole, whoever calls.

use service::{Result, ServiceError};

/// Collects violations, so that one answer names them all as AWS does.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    violations: Vec<String>,
}

impl Checks {
    /// A violation unless `holds`: `Value '{value}' at '{member}' failed to satisfy constraint: {constraint}`.
    pub(crate) fn require(&mut self, holds: bool, member: &str, value: &str, constraint: impl FnOnce() -> String) {
        if !holds {
            let constraint = constraint();
            self.violations.push(format!("Value '{value}' at '{member}' failed to satisfy constraint: {constraint}"));
        }
    }

    /// A regular expression, checked by `holds` and printed as AWS prints it.
    pub(crate) fn pattern(&mut self, holds: bool, member: &str, value: &str, pattern: &str) {
        self.require(holds, member, value, || format!("Member must satisfy regular expression pattern: {pattern}"));
    }

    /// Length in characters.
    pub(crate) fn length(&mut self, member: &str, value: &str, min: usize, max: usize) {
        let length = value.chars().count();
        self.require(length <= max, member, value, || format!("Member must have length less than or equal to {max}"));
        self.require(length >= min, member, value, || {
            format!("Member must have length greater than or equal to {min}")
        });
    }

    /// A whole number's range.
    pub(crate) fn range(&mut self, member: &str, value: i64, min: i64, max: i64) {
        let text = value.to_string();
        self.require(value <= max, member, &text, || format!("Member must have value less than or equal to {max}"));
        self.require(value >= min, member, &text, || format!("Member must have value greater than or equal to {min}"));
    }

    /// A violation whose value must not be printed.
    pub(crate) fn violated(&mut self, text: String) {
        self.violations.push(text);
    }

    /// `Ok` if nothing was violated.
    pub(crate) fn done(self) -> Result<()> {
        let plural = match self.violations.len() {
            0 => return Ok(()),
            1 => "",
            _ => "s",
        };
        let count = self.violations.len();
        let message = format!("{count} validation error{plural} detected: {}", self.violations.join("; "));
        Err(ServiceError::new("ValidationException", 400, message))
    }
}

/// `[a-zA-Z0-9-_]+`.
pub(crate) fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// `[0-9]+`.
pub(crate) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// `\d{12}`.
pub(crate) fn is_account(text: &str) -> bool {
    text.len() == 12 && is_digits(text)
}

/// `(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}`.
pub(crate) fn is_region(text: &str) -> bool {
    let text = text.strip_prefix("eusc-").unwrap_or(text);
    let parts: Vec<&str> = text.split('-').collect();
    let lower = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    let (country, group, area, number) = match parts.as_slice() {
        [country, area, number] => (*country, None, *area, *number),
        [country, group, area, number] => (*country, Some(*group), *area, *number),
        _ => return false,
    };
    let group_fits = group.is_none_or(|group| {
        group == "gov"
            || group.strip_prefix("iso").is_some_and(|rest| rest.is_empty() || (rest.len() == 1 && lower(rest)))
    });
    country.len() == 2 && lower(country) && group_fits && lower(area) && number.len() == 1 && is_digits(number)
}

/// `arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:(region)?:(\d{12})?:(.*)`: no wildcard before the fifth colon.
pub(crate) fn is_source_arn(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let [head, partition, service, region, account, resource] = parts.as_slice() else {
        return false;
    };
    let dashed = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    *head == "arn"
        && partition.strip_prefix("aws").is_some_and(dashed)
        && !service.is_empty()
        && dashed(service)
        && (region.is_empty() || is_region(region))
        && (account.is_empty() || is_account(account))
        && !resource.contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'])
}

/// AWS's text for [`is_source_arn`].
pub(crate) const SOURCE_ARN_PATTERN: &str =
    r"arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1})?:(\d{12})?:(.*)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_told_from_names() {
        for good in
            ["us-east-1", "ap-southeast-2", "us-gov-west-1", "us-isob-east-1", "us-iso-east-1", "eusc-de-east-1"]
        {
            assert!(is_region(good), "{good}");
        }
        for bad in
            ["", "us", "us-east", "us-east-12", "US-east-1", "*", "us-*-1", "usa-east-1", "us-isobb-east-1", "a-b-c"]
        {
            assert!(!is_region(bad), "{bad}");
        }
    }

    #[test]
    fn source_arns_take_wildcards_only_after_the_fifth_colon() {
        for good in [
            "arn:aws:s3:::bucket",
            "arn:aws:execute-api:us-east-1:111122223333:a1b2c3d4e5/authorizers/*",
            "arn:aws-cn:execute-api:::",
            "arn:aws:execute-api:us-east-1:111122223333:*",
        ] {
            assert!(is_source_arn(good), "{good}");
        }
        for bad in [
            "arn:aws:execute-api:*:111122223333:a/b",
            "arn:aws:execute-api:us-east-1:*:a/b",
            "arn:*:s3:::b",
            "arn:aws:*:::b",
            "arn:aws:s3::b",
            "bucket",
            "arn:aws:s3:::a\nb",
        ] {
            assert!(!is_source_arn(bad), "{bad}");
        }
    }

    #[test]
    fn all_violations_are_named_in_one_answer() {
        let mut checks = Checks::default();
        checks.range("timeout", 0, 1, 900);
        checks.length("description", &"x".repeat(3), 0, 2);
        let error = checks.done().expect_err("two violations");
        assert_eq!(
            error.message,
            "2 validation errors detected: Value '0' at 'timeout' failed to satisfy constraint: Member must have value \
             greater than or equal to 1; Value 'xxx' at 'description' failed to satisfy constraint: Member must have \
             length less than or equal to 2"
        );
        assert!(error.fields.is_empty());
    }
}
