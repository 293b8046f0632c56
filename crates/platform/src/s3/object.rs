//! `Object`: a key of a bucket, and the blob behind it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use service::{Record, Result, Scope, ServiceError, Timestamp, Tx};

use super::bucket::Bucket;
use super::error::{no_such_key, not_modified, precondition_failed};

/// Bytes of one object. AWS takes 5 GiB in one call; a call's body is held in memory here.
pub const BYTES_MAX: u64 = 64 << 20;
/// Bytes of a key. Source: Amazon S3 User Guide, "Naming Amazon S3 objects".
pub const KEY_BYTES_MAX: usize = 1024;
/// User metadata of one object, names and values together. Source: Amazon S3 User Guide, "Working with object metadata".
pub const METADATA_BYTES_MAX: usize = 2048;

/// An object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Object {
    pub key: String,
    /// SHA-256 of the stored blob in hexadecimal.
    pub blob: String,
    pub size: u64,
    /// MD5 in hexadecimal, the entity tag without its quotes; `{md5}-{parts}` for what was uploaded in parts.
    pub md5_hex: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// The other headers that are kept with an object.
    #[serde(default)]
    pub headers: Headers,
    /// User metadata, names without `x-amz-meta-`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// The checksum beside the entity tag, given by the client or computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,
    pub last_modified: Timestamp,
}

/// Headers that are kept with an object and sent with it again, as they came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Headers {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

/// A checksum of an object or part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Checksum {
    /// `CRC32`, `CRC32C`, `CRC64NVME`, `SHA1` or `SHA256`.
    pub algorithm: String,
    /// base64, with `-{parts}` where it is a checksum of the parts' checksums.
    pub value: String,
    /// Whether it covers the whole content rather than the parts' checksums.
    pub full_object: bool,
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
        headers: Headers::default(),
        metadata: object.metadata,
        checksum: None,
        last_modified: object.now,
    };
    save(tx, bucket, &record)
}

/// As [`put`], with everything an object can carry. Key and metadata are checked.
///
/// # Errors
/// `KeyTooLongError`, `MetadataTooLarge`, `InvalidArgument` for an empty key.
pub fn save(tx: &mut Tx<'_>, bucket: &Bucket, object: &Object) -> Result<()> {
    check_key(&object.key)?;
    check_metadata(&object.metadata)?;
    tx.put(&Scope::installation(), &bucket.name, &object.key, object)
}

/// Checks a key's length.
///
/// # Errors
/// `KeyTooLongError`; `InvalidArgument` for an empty key.
pub fn check_key(key: &str) -> Result<()> {
    if key.is_empty() {
        return Err(super::error::invalid_argument("Key", "", "An object key cannot be empty."));
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(ServiceError::new("KeyTooLongError", 400, "Your key is too long")
            .with_field("Size", key.len())
            .with_field("MaxSizeAllowed", KEY_BYTES_MAX));
    }
    Ok(())
}

/// Checks the size of user metadata.
///
/// # Errors
/// `MetadataTooLarge`.
pub fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<()> {
    let bytes: usize = metadata.iter().map(|(name, value)| name.len().saturating_add(value.len())).sum();
    if bytes > METADATA_BYTES_MAX {
        let text = "Your metadata headers exceed the maximum allowed metadata size";
        return Err(ServiceError::new("MetadataTooLarge", 400, text)
            .with_field("Size", bytes)
            .with_field("MaxSizeAllowed", METADATA_BYTES_MAX));
    }
    Ok(())
}

/// The object under a key.
///
/// # Errors
/// 5xx when the store cannot be read.
pub fn find(tx: &mut Tx<'_>, bucket: &Bucket, key: &str) -> Result<Option<Object>> {
    tx.get::<Object>(&Scope::installation(), &bucket.name, key)
}

/// As [`find`], for operations that need it.
///
/// # Errors
/// `NoSuchKey`.
pub fn load(tx: &mut Tx<'_>, bucket: &Bucket, key: &str) -> Result<Object> {
    find(tx, bucket, key)?.ok_or_else(|| no_such_key(key))
}

/// Deletes the object under a key, if there is one.
pub fn delete(tx: &mut Tx<'_>, bucket: &Bucket, key: &str) {
    tx.delete::<Object>(&Scope::installation(), &bucket.name, key);
}

/// Which entity tags a condition means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tags<'a> {
    /// `*`
    Any,
    /// One tag, without its quotes.
    One(&'a str),
}

impl Tags<'_> {
    fn fits(self, object: &Object) -> bool {
        match self {
            Self::Any => true,
            Self::One(tag) => tag == object.md5_hex,
        }
    }
}

/// Conditions of a read or copy.
#[derive(Debug, Clone, Copy, Default)]
pub struct Conditions<'a> {
    pub if_match: Option<Tags<'a>>,
    pub if_none_match: Option<Tags<'a>>,
    pub if_modified_since: Option<Timestamp>,
    pub if_unmodified_since: Option<Timestamp>,
}

impl Conditions<'_> {
    /// Checks the conditions of GetObject and HeadObject. A tag that matches outweighs the time beside it, as does one
    /// that does not match `If-None-Match`. Times on the wire have whole seconds, and are compared as such.
    ///
    /// Source: Amazon S3 API Reference, "GetObject", on combinations of conditional headers.
    ///
    /// # Errors
    /// `PreconditionFailed`; 304 where the client has the object already.
    pub fn check_read(&self, object: &Object) -> Result<()> {
        self.check_must_hold(object)?;
        let unchanged = match (self.if_none_match, self.if_modified_since) {
            (Some(tags), _) => tags.fits(object),
            (None, Some(since)) => object.last_modified.s() <= since.s(),
            (None, None) => false,
        };
        if unchanged { Err(not_modified()) } else { Ok(()) }
    }

    /// Checks the `x-amz-copy-source-if-*` conditions of a copy, where nothing can be answered with 304.
    ///
    /// # Errors
    /// `PreconditionFailed`.
    pub fn check_copy(&self, object: &Object) -> Result<()> {
        self.check_must_hold(object)?;
        match (self.if_none_match, self.if_modified_since) {
            (Some(tags), _) if tags.fits(object) => Err(precondition_failed("x-amz-copy-source-If-None-Match")),
            (None, Some(since)) if object.last_modified.s() <= since.s() => {
                Err(precondition_failed("x-amz-copy-source-If-Modified-Since"))
            }
            _ => Ok(()),
        }
    }

    fn check_must_hold(&self, object: &Object) -> Result<()> {
        match (self.if_match, self.if_unmodified_since) {
            (Some(tags), _) if !tags.fits(object) => Err(precondition_failed("If-Match")),
            (None, Some(since)) if object.last_modified.s() > since.s() => {
                Err(precondition_failed("If-Unmodified-Since"))
            }
            _ => Ok(()),
        }
    }
}

/// Checks the conditions of a write: `If-None-Match: *` wants the key free, `If-Match` the object it names.
///
/// Source: Amazon S3 User Guide, "How to prevent object overwrites with conditional writes".
///
/// # Errors
/// `PreconditionFailed`; `NoSuchKey` for `If-Match` on a free key.
pub fn check_write(current: Option<&Object>, key: &str, if_match: Option<Tags<'_>>, if_none_match: bool) -> Result<()> {
    if if_none_match && current.is_some() {
        return Err(precondition_failed("If-None-Match"));
    }
    match (if_match, current) {
        (Some(_), None) => Err(no_such_key(key)),
        (Some(tags), Some(object)) if !tags.fits(object) => Err(precondition_failed("If-Match")),
        _ => Ok(()),
    }
}
