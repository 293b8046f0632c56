//! Points in time as AWS's wire forms spell them.

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z. Stored as a number; always handed in, never read from a clock here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From epoch milliseconds.
    #[must_use]
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// Epoch milliseconds.
    #[must_use]
    pub const fn ms(self) -> i64 {
        self.0
    }

    /// Whole epoch seconds, the form of the JSON protocols' `timestamp` members.
    #[must_use]
    pub const fn s(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment plus so many seconds.
    #[must_use]
    pub const fn plus_s(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// `2025-01-01T00:00:00Z`: CloudTrail, IAM, STS.
    #[must_use]
    pub fn iso_s(self) -> String {
        self.format("%Y-%m-%dT%H:%M:%SZ")
    }

    /// `2025-11-25T02:26:54.000+0000`: Lambda's `LastModified`.
    #[must_use]
    pub fn lambda(self) -> String {
        format!("{}.{:03}+0000", self.format("%Y-%m-%dT%H:%M:%S"), self.0.rem_euclid(1000))
    }

    /// `strftime`-style formatting in UTC; a moment outside jiff's range prints as the epoch.
    #[must_use]
    pub fn format(self, pattern: &str) -> String {
        let moment = jiff::Timestamp::from_millisecond(self.0).unwrap_or_default();
        moment.to_zoned(jiff::tz::TimeZone::UTC).strftime(pattern).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn wire_forms_follow_aws() {
        let moment = Timestamp::from_ms(1_764_037_614_007);
        assert_eq!(moment.iso_s(), "2025-11-25T02:26:54Z");
        assert_eq!(moment.lambda(), "2025-11-25T02:26:54.007+0000");
        assert_eq!(moment.s(), 1_764_037_614);
        assert_eq!(moment.plus_s(6).s(), 1_764_037_620);
    }
}
