//! The two spellings of time a signed request may carry, and the ones errors print.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// A signing time: the text that enters the string to sign, and the same in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AmzDate {
    /// `20250101T000000Z`.
    pub text: String,
    pub seconds: i64,
}

impl AmzDate {
    /// Reads `20250101T000000Z`, nothing more lenient.
    pub fn basic(text: &str) -> Option<Self> {
        let shaped = text.len() == 16
            && text.bytes().enumerate().all(|(i, b)| match i {
                8 => b == b'T',
                15 => b == b'Z',
                _ => b.is_ascii_digit(),
            });
        if !shaped {
            return None;
        }
        let civil = DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
        let seconds = TimeZone::UTC.to_timestamp(civil).ok()?.as_second();
        Some(Self { text: text.to_owned(), seconds })
    }

    /// Reads a `Date` header: the basic form, or HTTP's (RFC 2822, as `Mon, 09 Sep 2011 23:36:00 GMT`).
    pub fn date_header(text: &str) -> Option<Self> {
        if let Some(date) = Self::basic(text) {
            return Some(date);
        }
        let zoned = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        Some(Self::from_seconds(zoned.as_second()))
    }

    pub fn from_seconds(seconds: i64) -> Self {
        let stamp = timestamp(seconds);
        Self { text: stamp.strftime("%Y%m%dT%H%M%SZ").to_string(), seconds: stamp.as_second() }
    }
}

/// `20250101T000000Z`.
pub(super) fn basic_text(seconds: i64) -> String {
    AmzDate::from_seconds(seconds).text
}

/// `2025-01-01T00:00:00Z`, as S3's errors print it.
pub(super) fn extended_text(seconds: i64) -> String {
    timestamp(seconds).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Four-digit years only: beyond them neither form has a spelling.
fn timestamp(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds.clamp(0, 253_402_200_000)).unwrap_or(Timestamp::UNIX_EPOCH)
}
