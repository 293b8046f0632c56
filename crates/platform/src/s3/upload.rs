//! `Upload` and `Part`: an object that arrives in pieces.
//!
//! Source: Amazon S3 User Guide, "Uploading and copying objects using multipart upload", "Amazon S3 multipart upload
//! limits".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use service::{Parent, Record, Result, Scope, ServiceError, Timestamp, Tx};

use super::bucket::Bucket;
use super::error::{invalid_argument, no_such_upload, too_large};
use super::object::{BYTES_MAX, Checksum, Headers};

/// Greatest part number.
pub const PART_NUMBER_MAX: u32 = 10_000;
/// Every part but the last has at least so many bytes.
pub const PART_BYTES_MIN: u64 = 5 << 20;
/// Uploads under way in one bucket. AWS sets no such limit; here they are bounded like everything else.
pub const UPLOADS_MAX: usize = 1000;

/// An upload under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Upload {
    pub key: String,
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    #[serde(default)]
    pub headers: Headers,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Algorithm of the object's checksum.
    pub checksum_algorithm: String,
    /// Whether the checksum covers the whole content.
    pub full_object: bool,
    pub initiated: Timestamp,
}

impl Record for Upload {
    const NOUN: &'static str = "s3/Upload";
}

/// One piece.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Part {
    pub number: u32,
    pub blob: String,
    pub size: u64,
    pub md5_hex: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,
    pub last_modified: Timestamp,
}

impl Record for Part {
    const NOUN: &'static str = "s3/Part";
}

/// A piece as CompleteMultipartUpload names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named<'a> {
    pub number: u32,
    /// Entity tag without its quotes.
    pub md5_hex: &'a str,
}

/// Ordered by key, then by id. A key holds no line feed that could be mistaken: the id has a fixed alphabet.
fn record_id(key: &str, id: &str) -> String {
    format!("{key}\n{id}")
}

fn parts_parent(bucket: &Bucket, id: &str) -> String {
    format!("{}/{id}", bucket.name)
}

/// Starts an upload.
///
/// # Errors
/// `InvalidRequest` when too many are under way; as for objects where key or metadata do not fit.
pub fn start(tx: &mut Tx<'_>, bucket: &Bucket, upload: &Upload) -> Result<()> {
    super::object::check_key(&upload.key)?;
    super::object::check_metadata(&upload.metadata)?;
    let under_way = tx.page::<Upload>(&Scope::installation(), &bucket.name, None, UPLOADS_MAX)?;
    if under_way.len() >= UPLOADS_MAX {
        let text = format!("A bucket has at most {UPLOADS_MAX} multipart uploads under way; complete or abort some.");
        return Err(super::error::invalid_request(text));
    }
    tx.put(&Scope::installation(), &bucket.name, &record_id(&upload.key, &upload.id), upload)
}

/// The upload of this key and id.
///
/// # Errors
/// `NoSuchUpload`.
pub fn load(tx: &mut Tx<'_>, bucket: &Bucket, key: &str, id: &str) -> Result<Upload> {
    // An id that was never given could be of any length; a key longer than the store takes would be a fault of ours.
    let known = id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let found = if known { tx.get::<Upload>(&Scope::installation(), &bucket.name, &record_id(key, id))? } else { None };
    found.ok_or_else(|| no_such_upload(id))
}

/// The uploads under way in a bucket, by key and id.
///
/// # Errors
/// 5xx when the store cannot be read.
pub fn all(tx: &mut Tx<'_>, bucket: &Bucket) -> Result<Vec<Upload>> {
    tx.list::<Upload>(&Scope::installation(), &Parent::Exact(&bucket.name))
}

/// Keeps a part in place of an earlier one of the same number.
///
/// # Errors
/// `InvalidArgument` for a number that is none.
pub fn put_part(tx: &mut Tx<'_>, bucket: &Bucket, upload: &Upload, part: &Part) -> Result<()> {
    check_number(i64::from(part.number))?;
    tx.put(&Scope::installation(), &parts_parent(bucket, &upload.id), &format!("{:05}", part.number), part)
}

/// Checks a part number.
///
/// # Errors
/// `InvalidArgument`.
pub fn check_number(number: i64) -> Result<u32> {
    u32::try_from(number).ok().filter(|number| (1..=PART_NUMBER_MAX).contains(number)).ok_or_else(|| {
        let text = "Part number must be an integer between 1 and 10000, inclusive";
        invalid_argument("partNumber", &number.to_string(), text)
    })
}

/// The parts of an upload after a number, at most `limit`.
///
/// # Errors
/// 5xx when the store cannot be read.
pub fn parts(tx: &mut Tx<'_>, bucket: &Bucket, upload: &Upload, after: u32, limit: usize) -> Result<Vec<Part>> {
    let after = format!("{after:05}");
    let rows = tx.page::<Part>(&Scope::installation(), &parts_parent(bucket, &upload.id), Some(&after), limit)?;
    Ok(rows.into_iter().map(|(_, part)| part).collect())
}

/// The parts an upload is completed from, in order, all there, none but the last too small, together not too large.
///
/// # Errors
/// `MalformedXML` for none, `InvalidPartOrder`, `InvalidPart`, `EntityTooSmall`, `EntityTooLarge`.
pub fn chosen(tx: &mut Tx<'_>, bucket: &Bucket, upload: &Upload, named: &[Named<'_>]) -> Result<Vec<Part>> {
    if named.is_empty() || named.len() > PART_NUMBER_MAX as usize {
        let text = "The XML you provided was not well-formed or did not validate against our published schema";
        return Err(ServiceError::new("MalformedXML", 400, text));
    }
    if !named.is_sorted_by(|a, b| a.number < b.number) {
        let text = "The list of parts was not in ascending order. Parts must be ordered by part number.";
        return Err(ServiceError::new("InvalidPartOrder", 400, text).with_field("UploadId", upload.id.as_str()));
    }
    let mut kept: BTreeMap<u32, Part> =
        parts(tx, bucket, upload, 0, PART_NUMBER_MAX as usize)?.into_iter().map(|part| (part.number, part)).collect();
    let mut chosen: Vec<Part> = Vec::with_capacity(named.len());
    for name in named {
        match kept.remove(&name.number).filter(|part| part.md5_hex == name.md5_hex) {
            Some(part) => chosen.push(part),
            None => return Err(invalid_part(upload, name)),
        }
    }
    let all_but_last = chosen.len().saturating_sub(1);
    if let Some(small) = chosen.iter().take(all_but_last).find(|part| part.size < PART_BYTES_MIN) {
        let text = "Your proposed upload is smaller than the minimum allowed size";
        return Err(ServiceError::new("EntityTooSmall", 400, text)
            .with_field("ProposedSize", small.size)
            .with_field("MinSizeAllowed", PART_BYTES_MIN)
            .with_field("PartNumber", small.number)
            .with_field("ETag", small.md5_hex.as_str()));
    }
    let size: u64 = chosen.iter().map(|part| part.size).fold(0, u64::saturating_add);
    if size > BYTES_MAX {
        return Err(too_large(size, BYTES_MAX));
    }
    Ok(chosen)
}

fn invalid_part(upload: &Upload, name: &Named<'_>) -> ServiceError {
    let text = "One or more of the specified parts could not be found. The part may not have been uploaded, or the \
                specified entity tag may not match the part's entity tag.";
    ServiceError::new("InvalidPart", 400, text)
        .with_field("UploadId", upload.id.as_str())
        .with_field("PartNumber", name.number)
        .with_field("ETag", name.md5_hex)
}

/// Ends an upload: its record and its parts are gone.
///
/// # Errors
/// 5xx when the store cannot be read.
pub fn end(tx: &mut Tx<'_>, bucket: &Bucket, upload: &Upload) -> Result<()> {
    tx.delete::<Upload>(&Scope::installation(), &bucket.name, &record_id(&upload.key, &upload.id));
    tx.delete_all::<Part>(&Scope::installation(), &Parent::Exact(&parts_parent(bucket, &upload.id)))
}
