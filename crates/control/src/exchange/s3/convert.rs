//! Between the protocol crate's types and ours.

use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use platform::s3::{canonical_id, error::invalid_argument, object::Tags};
use s3s::dto::{self, ETag, ETagCondition, TimestampFormat};
use service::Timestamp;

use super::call::Result;

pub(super) fn timestamp(at: Timestamp) -> dto::Timestamp {
    let since = Duration::from_millis(u64::try_from(at.ms()).unwrap_or_default());
    dto::Timestamp::from(SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH))
}

/// To the second; what cannot be told is the epoch.
pub(super) fn moment(at: &dto::Timestamp) -> Timestamp {
    let mut text = Vec::new();
    let seconds = at
        .format(TimestampFormat::EpochSeconds, &mut text)
        .ok()
        .and_then(|()| std::str::from_utf8(&text).ok()?.split('.').next()?.parse::<i64>().ok());
    Timestamp::from_ms(0).plus_s(seconds.unwrap_or_default())
}

pub(super) fn etag(md5_hex: &str) -> Option<ETag> {
    Some(ETag::Strong(md5_hex.to_owned()))
}

pub(super) fn tags(condition: &ETagCondition) -> Tags<'_> {
    match condition {
        ETagCondition::Any => Tags::Any,
        ETagCondition::ETag(tag) => Tags::One(tag.value()),
    }
}

pub(super) fn owner(account: &str) -> dto::Owner {
    dto::Owner { display_name: None, id: Some(canonical_id(account)) }
}

pub(super) fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// An opaque token for what comes next.
pub(super) fn token(next: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("1{next}"))
}

/// What [`token`] was made of.
///
/// # Errors
/// `InvalidArgument`.
pub(super) fn from_token(token: &str) -> Result<String> {
    let text = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.and_then(|text| text.strip_prefix('1').map(str::to_owned))
        .ok_or_else(|| invalid_argument("continuation-token", token, "The continuation token provided is incorrect"))
}
