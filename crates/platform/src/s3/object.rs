//! `Object`: a key of a bucket, and the blob behind it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use service::{Record, Result, Scope, Timestamp, Tx};

use super::bucket::Bucket;

/// An object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Object {
    pub key: String,
    /// SHA-256 of the stored blob in hexadecimal.
    pub blob: String,
    pub size: u64,
    /// MD5 in hexadecimal, the entity tag without its quotes.
    pub md5_hex: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// User metadata, names without `x-amz-meta-`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    pub last_modified: Timestamp,
}

impl Record for Object {
    const NOUN: &'static str = "s3/Object";
}

/// What is put under a key.
#[derive(Debug, Clone)]
pub struct NewObject {
    /// SHA-256 of the stored blob in hexadecimal.
    pub blob: String,
    pub size: u64,
    /// MD5 of the content in hexadecimal.
    pub md5_hex: String,
    pub content_type: Option<String>,
    pub content_encoding: Option<String>,
    /// User metadata, names without `x-amz-meta-`.
    pub metadata: BTreeMap<String, String>,
    pub now: Timestamp,
}

/// Puts an object whose blob is stored already, in place of what the key held.
///
/// # Errors
/// 5xx when the record does not encode.
pub fn put(tx: &mut Tx<'_>, bucket: &Bucket, key: &str, object: NewObject) -> Result<()> {
    let record = Object {
        key: key.to_owned(),
        blob: object.blob,
        size: object.size,
        md5_hex: object.md5_hex,
        content_type: object.content_type,
        content_encoding: object.content_encoding,
        metadata: object.metadata,
        last_modified: object.now,
    };
    tx.put(&Scope::installation(), &bucket.name, key, &record)
}
