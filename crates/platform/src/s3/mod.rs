//! S3, to the extent trails and tools need it.
//!
//! The nouns and their rules; the protocol and the bytes are `control`'s. Objects live under their bucket's name in the
//! installation's scope, ordered by key, so that listing reads what it answers and little more.

pub mod bucket;
pub mod error;
pub mod list;
pub mod object;
pub mod policy;
pub mod upload;

#[cfg(test)]
mod tests;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

/// What `encoding-type=url` leaves alone. Source: Amazon S3 API Reference, "ListObjectsV2", on encoding of keys.
const URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// A key, prefix or delimiter as `encoding-type=url` spells it.
#[must_use]
pub fn url_encoded(text: &str) -> String {
    utf8_percent_encode(text, URL).to_string()
}

/// The canonical user id of an account: 64 hexadecimal digits, the same in every answer.
#[must_use]
pub fn canonical_id(account: &str) -> String {
    hex::encode(Sha256::digest(format!("canonical-user:{account}").as_bytes()))
}
