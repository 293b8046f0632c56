//! Operations on objects.

use std::collections::BTreeMap;

use bytes::Bytes;
use platform::s3::{
    bucket::Bucket,
    error::{access_denied, invalid_argument, invalid_request, no_such_key, not_supported},
    object::{self, Conditions, Object, Tags},
};
use s3s::dto::{self, CopySource, ETagCondition};
use service::ServiceError;

use super::{
    bucket::owner_grants,
    call::{Result, Step},
    checksum,
    convert::{etag, moment, owner, size, tags, timestamp},
};

/// What an object is served as when nobody said.
const DEFAULT_CONTENT_TYPE: &str = "binary/octet-stream";
/// Keys of one DeleteObjects. Source: Amazon S3 API Reference, "DeleteObjects".
const DELETED_AT_ONCE_MAX: usize = 1000;

/// The headers an input carries for the object.
macro_rules! headers {
    ($input:expr) => {
        platform::s3::object::Headers {
            cache_control: $input.cache_control.clone(),
            content_disposition: $input.content_disposition.clone(),
            content_language: $input.content_language.clone(),
            expires: $input.expires.as_ref().map($crate::exchange::s3::convert::moment),
        }
    };
}
pub(super) use headers;

/// User metadata in an order that does not change.
pub(super) fn metadata(sent: Option<&dto::Metadata>) -> BTreeMap<String, String> {
    sent.into_iter().flatten().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect()
}

pub(super) fn put(step: &mut Step<'_, '_>, input: &dto::PutObjectInput) -> Result<dto::PutObjectOutput> {
    let bucket = step.bucket(&input.bucket)?;
    object::check_key(&input.key)?;
    step.allow_object(&bucket, "s3:PutObject", &input.key)?;
    check_write(step, &bucket, &input.key, input.if_match.as_ref(), input.if_none_match.as_ref())?;
    let call = step.call;
    let body = &call.body;
    let checksum = match &call.checksum {
        Some(checksum) => checksum.clone(),
        None => checksum::full(checksum::DEFAULT_ALGORITHM, body),
    };
    let stored = Object {
        key: input.key.clone(),
        blob: step.tx.put_blob(body.to_vec()),
        size: body.len() as u64,
        md5_hex: hex::encode(checksum::md5(body)),
        content_type: input.content_type.clone(),
        content_encoding: input.content_encoding.clone(),
        headers: headers!(input),
        metadata: metadata(input.metadata.as_ref()),
        checksum: Some(checksum),
        last_modified: call.now,
    };
    object::save(step.tx, &bucket, &stored)?;
    let mut output = dto::PutObjectOutput { e_tag: etag(&stored.md5_hex), ..Default::default() };
    checksum::show!(output, stored.checksum.as_ref());
    Ok(output)
}

/// Checks what a write is conditional on.
pub(super) fn check_write(
    step: &mut Step<'_, '_>,
    bucket: &Bucket,
    key: &str,
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> Result<()> {
    if if_match.is_none() && if_none_match.is_none() {
        return Ok(());
    }
    if if_none_match.is_some_and(|condition| !condition.is_any()) {
        return Err(not_supported("If-None-Match with a value other than *"));
    }
    let current = object::find(step.tx, bucket, key)?;
    object::check_write(current.as_ref(), key, if_match.map(tags), if_none_match.is_some())
}

/// The object, or the answer for none: whoever may not list is not told that the key is free.
fn load(step: &mut Step<'_, '_>, bucket: &Bucket, key: &str) -> Result<Object> {
    if let Some(found) = object::find(step.tx, bucket, key)? {
        return Ok(found);
    }
    match step.allow_on(bucket, "s3:ListBucket", bucket.arn(), Vec::new()) {
        Ok(()) => Err(no_such_key(key)),
        Err(error) if error.status == 403 => Err(access_denied()),
        Err(error) => Err(error),
    }
}

/// Objects have no versions but the one.
fn check_version(version: Option<&str>) -> Result<()> {
    match version {
        None | Some("null") => Ok(()),
        Some(other) => Err(invalid_argument("versionId", other, "Invalid version id specified")),
    }
}

fn blob(step: &mut Step<'_, '_>, hash: &str) -> Result<Vec<u8>> {
    step.tx.blob(hash)?.ok_or_else(|| ServiceError::internal(format!("the blob {hash} of an object is missing")))
}

/// The conditions an input of GetObject or HeadObject carries.
macro_rules! conditions {
    ($input:expr) => {
        Conditions {
            if_match: $input.if_match.as_ref().map(tags),
            if_none_match: $input.if_none_match.as_ref().map(tags),
            if_modified_since: $input.if_modified_since.as_ref().map(moment),
            if_unmodified_since: $input.if_unmodified_since.as_ref().map(moment),
        }
    };
}

/// Everything an answer says of an object but its body.
macro_rules! describe {
    ($output:ident, $object:expr) => {
        dto::$output {
            accept_ranges: Some("bytes".into()),
            cache_control: $object.headers.cache_control.clone(),
            content_disposition: $object.headers.content_disposition.clone(),
            content_encoding: $object.content_encoding.clone(),
            content_language: $object.headers.content_language.clone(),
            content_length: Some(size($object.size)),
            content_type: Some($object.content_type.clone().unwrap_or_else(|| DEFAULT_CONTENT_TYPE.into())),
            e_tag: etag(&$object.md5_hex),
            expires: $object.headers.expires.map(timestamp),
            last_modified: Some(timestamp($object.last_modified)),
            metadata: Some($object.metadata.clone().into_iter().collect()),
            ..Default::default()
        }
    };
}

pub(super) fn get(step: &mut Step<'_, '_>, input: &dto::GetObjectInput) -> Result<dto::GetObjectOutput> {
    let bucket = step.bucket(&input.bucket)?;
    step.allow_object(&bucket, "s3:GetObject", &input.key)?;
    check_version(input.version_id.as_deref())?;
    let query = step.call.query.as_deref().unwrap_or_default();
    if step.call.caller.is_none() && query.split('&').any(|pair| pair.starts_with("response-")) {
        return Err(invalid_request("Request specific response headers cannot be used for anonymous GET requests."));
    }
    if input.part_number.is_some() {
        return Err(not_supported("partNumber of GetObject"));
    }
    let object = load(step, &bucket, &input.key)?;
    conditions!(input).check_read(&object)?;
    let mut output = describe!(GetObjectOutput, object);
    let range = input.range.map(|range| satisfy(range, &object)).transpose()?;
    let body = Bytes::from(blob(step, &object.blob)?);
    let body = match range {
        Some((from, to)) => {
            output.content_range = Some(format!("bytes {from}-{}/{}", to.saturating_sub(1), object.size));
            output.content_length = Some(size(to.saturating_sub(from)));
            cut(&body, from, to)?
        }
        None => {
            if input.checksum_mode.is_some() {
                checksum::show!(output, object.checksum.as_ref());
            }
            body
        }
    };
    output.body = Some(dto::StreamingBlob::from(s3s::Body::from(body)));
    Ok(output)
}

/// First byte and the one after the last.
fn satisfy(range: dto::Range, object: &Object) -> Result<(u64, u64)> {
    let found = range.check(object.size).map_err(|_| {
        ServiceError::new("InvalidRange", 416, "The requested range is not satisfiable")
            .with_field("RangeRequested", range.to_header_string())
            .with_field("ActualObjectSize", object.size)
    })?;
    Ok((found.start, found.end))
}

fn cut(body: &Bytes, from: u64, to: u64) -> Result<Bytes> {
    let (from, to) = (usize::try_from(from).unwrap_or(usize::MAX), usize::try_from(to).unwrap_or(usize::MAX));
    if from > to || to > body.len() {
        return Err(ServiceError::internal("the blob of an object is shorter than its record says"));
    }
    Ok(body.slice(from..to))
}

pub(super) fn head(step: &mut Step<'_, '_>, input: &dto::HeadObjectInput) -> Result<dto::HeadObjectOutput> {
    let bucket = step.bucket(&input.bucket)?;
    step.allow_object(&bucket, "s3:GetObject", &input.key)?;
    check_version(input.version_id.as_deref())?;
    if input.part_number.is_some() {
        return Err(not_supported("partNumber of HeadObject"));
    }
    let object = load(step, &bucket, &input.key)?;
    conditions!(input).check_read(&object)?;
    let mut output = describe!(HeadObjectOutput, object);
    if input.checksum_mode.is_some() {
        checksum::show!(output, object.checksum.as_ref());
    }
    Ok(output)
}

pub(super) fn delete(step: &mut Step<'_, '_>, input: &dto::DeleteObjectInput) -> Result<dto::DeleteObjectOutput> {
    let bucket = step.bucket(&input.bucket)?;
    step.allow_object(&bucket, "s3:DeleteObject", &input.key)?;
    check_version(input.version_id.as_deref())?;
    delete_if(step, &bucket, &input.key, input.if_match.as_ref().map(tags))?;
    Ok(dto::DeleteObjectOutput::default())
}

fn delete_if(step: &mut Step<'_, '_>, bucket: &Bucket, key: &str, if_match: Option<Tags<'_>>) -> Result<()> {
    let current = object::find(step.tx, bucket, key)?;
    object::check_write(current.as_ref(), key, if_match, false)?;
    if current.is_some() {
        object::delete(step.tx, bucket, key);
    }
    Ok(())
}

pub(super) fn delete_many(
    step: &mut Step<'_, '_>,
    input: &dto::DeleteObjectsInput,
) -> Result<dto::DeleteObjectsOutput> {
    let objects = &input.delete.objects;
    if objects.is_empty() || objects.len() > DELETED_AT_ONCE_MAX {
        let text = "The XML you provided was not well-formed or did not validate against our published schema";
        return Err(ServiceError::new("MalformedXML", 400, text));
    }
    if step.call.checksum.is_none() && step.call.header("content-md5").is_none() {
        return Err(invalid_request("Missing required header for this request: Content-MD5 OR x-amz-checksum-*"));
    }
    let bucket = step.bucket(&input.bucket)?;
    let wanted: Vec<(&str, String)> =
        objects.iter().map(|object| ("s3:DeleteObject", bucket.object_arn(&object.key))).collect();
    // Most often all are allowed; only otherwise each is asked for by itself.
    let all_allowed = match step.allow_all(&bucket, &wanted, Vec::new()) {
        Ok(()) => true,
        Err(error) if error.status == 403 => false,
        Err(error) => return Err(error),
    };
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for object in objects {
        match delete_one(step, &bucket, object, all_allowed) {
            Ok(()) => deleted.push(dto::DeletedObject { key: Some(object.key.clone()), ..Default::default() }),
            Err(error) if error.is_client_fault() || error.status == 501 => errors.push(dto::Error {
                code: Some(error.code.into_owned()),
                key: Some(object.key.clone()),
                message: Some(error.message),
                version_id: object.version_id.clone(),
            }),
            Err(error) => return Err(error),
        }
    }
    let quiet = input.delete.quiet == Some(true);
    Ok(dto::DeleteObjectsOutput {
        deleted: (!quiet).then_some(deleted),
        errors: (!errors.is_empty()).then_some(errors),
        request_charged: None,
    })
}

fn delete_one(step: &mut Step<'_, '_>, bucket: &Bucket, wanted: &dto::ObjectIdentifier, allowed: bool) -> Result<()> {
    if !allowed {
        step.allow_object(bucket, "s3:DeleteObject", &wanted.key)?;
    }
    check_version(wanted.version_id.as_deref())?;
    if wanted.last_modified_time.is_some() || wanted.size.is_some() {
        return Err(not_supported("LastModifiedTime or Size of DeleteObjects"));
    }
    delete_if(step, bucket, &wanted.key, wanted.e_tag.as_ref().map(|tag| Tags::One(tag.value())))
}

/// What a copy reads, once it may.
pub(super) fn source(
    step: &mut Step<'_, '_>,
    source: &CopySource,
    conditions: &Conditions<'_>,
) -> Result<(Bucket, Object)> {
    let CopySource::Bucket { bucket, key, version_id } = source else {
        return Err(not_supported("A copy from an access point"));
    };
    let bucket = step.source_bucket(bucket)?;
    step.allow_on(&bucket, "s3:GetObject", bucket.object_arn(key), Vec::new())?;
    check_version(version_id.as_deref())?;
    let object = load(step, &bucket, key)?;
    conditions.check_copy(&object)?;
    Ok((bucket, object))
}

/// The conditions an input of a copy carries.
macro_rules! copy_conditions {
    ($input:expr) => {
        platform::s3::object::Conditions {
            if_match: $input.copy_source_if_match.as_ref().map($crate::exchange::s3::convert::tags),
            if_none_match: $input.copy_source_if_none_match.as_ref().map($crate::exchange::s3::convert::tags),
            if_modified_since: $input.copy_source_if_modified_since.as_ref().map($crate::exchange::s3::convert::moment),
            if_unmodified_since: $input
                .copy_source_if_unmodified_since
                .as_ref()
                .map($crate::exchange::s3::convert::moment),
        }
    };
}
pub(super) use copy_conditions;

pub(super) fn copy(step: &mut Step<'_, '_>, input: &dto::CopyObjectInput) -> Result<dto::CopyObjectOutput> {
    let bucket = step.bucket(&input.bucket)?;
    object::check_key(&input.key)?;
    step.allow_object(&bucket, "s3:PutObject", &input.key)?;
    let (source_bucket, original) = source(step, &input.copy_source, &copy_conditions!(input))?;
    let replaces = match input.metadata_directive.as_ref().map(dto::MetadataDirective::as_str) {
        None | Some(dto::MetadataDirective::COPY) => false,
        Some(dto::MetadataDirective::REPLACE) => true,
        Some(other) => return Err(invalid_argument("x-amz-metadata-directive", other, "Unknown metadata directive.")),
    };
    if !replaces && source_bucket.name == bucket.name && original.key == input.key {
        return Err(invalid_request(
            "This copy request is illegal because it is trying to copy an object to itself without changing the \
             object's metadata, storage class, website redirect location or encryption attributes.",
        ));
    }
    let wanted = input.checksum_algorithm.as_ref().map(|wanted| checksum::algorithm(wanted.as_str())).transpose()?;
    let checksum = match wanted {
        Some(algorithm) => Some(checksum::full(algorithm, &blob(step, &original.blob)?)),
        None => original.checksum.clone(),
    };
    let mut copied = Object { key: input.key.clone(), checksum, last_modified: step.call.now, ..original };
    // A copy is one piece, whatever its original came in.
    if copied.md5_hex.contains('-') {
        copied.md5_hex = hex::encode(checksum::md5(&blob(step, &copied.blob)?));
    }
    if replaces {
        copied.content_type = input.content_type.clone();
        copied.content_encoding = input.content_encoding.clone();
        copied.headers = headers!(input);
        copied.metadata = metadata(input.metadata.as_ref());
    }
    object::save(step.tx, &bucket, &copied)?;
    let mut result = dto::CopyObjectResult {
        e_tag: etag(&copied.md5_hex),
        last_modified: Some(timestamp(copied.last_modified)),
        ..Default::default()
    };
    checksum::show!(result, copied.checksum.as_ref());
    Ok(dto::CopyObjectOutput { copy_object_result: Some(result), ..Default::default() })
}

pub(super) fn acl(step: &mut Step<'_, '_>, input: &dto::GetObjectAclInput) -> Result<dto::GetObjectAclOutput> {
    let bucket = step.bucket(&input.bucket)?;
    step.allow_object(&bucket, "s3:GetObjectAcl", &input.key)?;
    check_version(input.version_id.as_deref())?;
    load(step, &bucket, &input.key)?;
    Ok(dto::GetObjectAclOutput {
        grants: Some(owner_grants(&bucket)),
        owner: Some(owner(&bucket.account)),
        request_charged: None,
    })
}

/// Objects cannot be tagged yet, so every object has the empty set.
pub(super) fn tagging(
    step: &mut Step<'_, '_>,
    input: &dto::GetObjectTaggingInput,
) -> Result<dto::GetObjectTaggingOutput> {
    let bucket = step.bucket(&input.bucket)?;
    step.allow_object(&bucket, "s3:GetObjectTagging", &input.key)?;
    check_version(input.version_id.as_deref())?;
    load(step, &bucket, &input.key)?;
    Ok(dto::GetObjectTaggingOutput { tag_set: Vec::new(), version_id: None })
}

/// The bytes a copy of a part takes from its source.
pub(super) fn part_of(step: &mut Step<'_, '_>, original: &Object, range: Option<&str>) -> Result<Bytes> {
    let body = Bytes::from(blob(step, &original.blob)?);
    let Some(range) = range else { return Ok(body) };
    let text = "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
                zero-based offsets of the first and last bytes to copy";
    let parsed = dto::Range::parse(range).map_err(|_| invalid_argument("x-amz-copy-source-range", range, text))?;
    match parsed {
        dto::Range::Int { first, last: Some(last) } if last < original.size => {
            cut(&body, first, last.saturating_add(1))
        }
        _ => Err(invalid_argument("x-amz-copy-source-range", range, text)),
    }
}
