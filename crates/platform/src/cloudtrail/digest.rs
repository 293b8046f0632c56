//! Digests: the signed chain that proves what was delivered.
//!
//! Source: CloudTrail User Guide, "CloudTrail digest file structure", "Custom implementations of CloudTrail log file
//! integrity validation".

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service::{Parent, Record, Result, ServiceError, Timestamp, Tx};
use sha2::{Digest as _, Sha256};

use super::{layout, logging::TrailState, trail::Trail};

/// What digests are signed with, as their members and metadata name it.
pub const SIGNATURE_ALGORITHM: &str = "SHA256withRSA";
/// What files are hashed with.
pub const HASH_ALGORITHM: &str = "SHA-256";
/// Log files of one digest; more wait for the next.
const FILES_MAX: usize = 5_000;

/// A delivered log file that no digest names yet; also its form in the digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogFile {
    pub s3_bucket: String,
    pub s3_object: String,
    /// SHA-256 of the uncompressed file in hexadecimal.
    pub hash_value: String,
    pub hash_algorithm: String,
    /// `2015-08-12T04:01:31Z`.
    pub newest_event_time: String,
    pub oldest_event_time: String,
}

impl Record for LogFile {
    const NOUN: &'static str = "cloudtrail/LogFile";
}

/// The end of the chain of one region of a trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Chain {
    /// Since when there are digests without a gap, whole seconds. Another value begins another chain.
    epoch: Timestamp,
    /// End of the last digest, whole seconds.
    end: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<Last>,
}

/// The last digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Last {
    bucket: String,
    object: String,
    hash: String,
    signature: String,
}

impl Record for Chain {
    const NOUN: &'static str = "cloudtrail/DigestChain";
}

/// A digest that has still to be signed.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Key of the object.
    pub object: String,
    /// The file before compression.
    pub body: Vec<u8>,
    /// What the signature is made over.
    pub to_sign: String,
    bucket: String,
    region: String,
    epoch: Timestamp,
    end: Timestamp,
    hash: String,
    files: Vec<String>,
}

/// What a digest's signature is made over: end, place, SHA-256 of the uncompressed digest in hexadecimal, and the
/// previous signature or the word `null`; no line end behind it.
#[must_use]
pub fn string_to_sign(end: &str, bucket: &str, object: &str, hash: &str, previous_signature: Option<&str>) -> String {
    format!("{end}\n{bucket}/{object}\n{hash}\n{}", previous_signature.unwrap_or("null"))
}

/// Regions a trail writes digests for: its own, and each that files were delivered for.
#[must_use]
pub fn regions(trail: &Trail, state: &TrailState) -> BTreeSet<String> {
    state.regions.iter().cloned().chain(std::iter::once(trail.home_region.clone())).collect()
}

/// Remembers a delivered file for the next digest.
///
/// # Errors
/// 5xx when the record does not encode.
pub fn remember(tx: &mut Tx<'_>, trail: &Trail, region: &str, file: &LogFile) -> Result<()> {
    tx.put(&trail.scope(), &parent(trail, region), &file.s3_object, file)
}

/// Forgets the chains of a trail that is deleted.
///
/// # Errors
/// 5xx when the store cannot be read.
pub fn forget(tx: &mut Tx<'_>, trail: &Trail) -> Result<()> {
    tx.delete_all::<LogFile>(&trail.scope(), &Parent::Prefix(&format!("{}/", trail.name)))?;
    tx.delete_all::<Chain>(&trail.scope(), &Parent::Exact(&trail.name))
}

/// The next digest of one region, if it is time for it: an interval after the last while the trail logs, and once more
/// after it was stopped and everything is delivered. Also when there is no file to name.
///
/// # Errors
/// 5xx when the store cannot be read.
pub fn draft(
    tx: &mut Tx<'_>,
    trail: &Trail,
    state: &TrailState,
    region: &str,
    (now, interval_s): (Timestamp, i64),
    fingerprint: &str,
) -> Result<Option<Draft>> {
    let (Some(since), Some(window)) = (trail.validates_since, trail.windows.last()) else { return Ok(None) };
    let epoch = whole(since.max(window.from));
    let chain = tx.get::<Chain>(&trail.scope(), &trail.name, region)?;
    let chain = chain.filter(|chain| chain.epoch == epoch).unwrap_or(Chain { epoch, end: epoch, last: None });
    let end = whole(now);
    let elapsed_s = end.s().saturating_sub(chain.end.s());
    let last_one = window.to.is_some_and(|to| state.is_past(window) && chain.end < to);
    // Two digests of one second would have one name.
    if elapsed_s < 1 || (elapsed_s < interval_s && !last_one) {
        return Ok(None);
    }
    let files = tx.page::<LogFile>(&trail.scope(), &parent(trail, region), None, FILES_MAX)?;
    if !trail.is_logging() && !last_one && files.is_empty() {
        return Ok(None);
    }
    let object = layout::digest_key(trail, region, end);
    let (names, files): (Vec<_>, Vec<_>) = files.into_iter().unzip();
    let body = body(trail, &chain, end, &object, fingerprint, &files)?;
    let hash = hex::encode(Sha256::digest(&body));
    let previous = chain.last.as_ref().map(|last| last.signature.as_str());
    let to_sign = string_to_sign(&end.iso_s(), &trail.s3_bucket_name, &object, &hash, previous);
    let (bucket, region) = (trail.s3_bucket_name.clone(), region.to_owned());
    Ok(Some(Draft { object, body, to_sign, bucket, region, epoch, end, hash, files: names }))
}

/// Ends the chain with a digest whose signature, in hexadecimal, is made.
///
/// # Errors
/// 5xx when the record does not encode.
pub fn append(tx: &mut Tx<'_>, trail: &Trail, draft: Draft, signature: String) -> Result<()> {
    let last = Some(Last { bucket: draft.bucket, object: draft.object, hash: draft.hash, signature });
    let chain = Chain { epoch: draft.epoch, end: draft.end, last };
    for file in &draft.files {
        tx.delete::<LogFile>(&trail.scope(), &parent(trail, &draft.region), file);
    }
    tx.put(&trail.scope(), &trail.name, &draft.region, &chain)
}

/// Members in AWS's order.
fn body(
    trail: &Trail,
    chain: &Chain,
    end: Timestamp,
    object: &str,
    fingerprint: &str,
    files: &[LogFile],
) -> Result<Vec<u8>> {
    let previous = |part: fn(&Last) -> &str| chain.last.as_ref().map_or(Value::Null, |last| part(last).into());
    let digest = json!({
        "awsAccountId": trail.account,
        "digestStartTime": chain.end.iso_s(),
        "digestEndTime": end.iso_s(),
        "digestS3Bucket": trail.s3_bucket_name,
        "digestS3Object": object,
        "digestPublicKeyFingerprint": fingerprint,
        "digestSignatureAlgorithm": SIGNATURE_ALGORITHM,
        "newestEventTime": files.iter().map(|file| &file.newest_event_time).max(),
        "oldestEventTime": files.iter().map(|file| &file.oldest_event_time).min(),
        "previousDigestS3Bucket": previous(|last| &last.bucket),
        "previousDigestS3Object": previous(|last| &last.object),
        "previousDigestHashValue": previous(|last| &last.hash),
        "previousDigestHashAlgorithm": previous(|_| HASH_ALGORITHM),
        "previousDigestSignature": previous(|last| &last.signature),
        "logFiles": files,
    });
    serde_json::to_vec(&digest).map_err(|error| ServiceError::internal(format!("encoding a digest: {error}")))
}

fn parent(trail: &Trail, region: &str) -> String {
    format!("{}/{region}", trail.name)
}

fn whole(moment: Timestamp) -> Timestamp {
    Timestamp::from_ms(moment.s().saturating_mul(1000))
}
