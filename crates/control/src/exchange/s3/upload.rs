//! Operations on uploads in parts.

use bytes::Bytes;
use platform::s3::{
    bucket::Bucket,
    error::{invalid_argument, invalid_request},
    list::ENTRIES_MAX,
    object::{self, Object},
    upload::{self, Named, Part, Upload},
    url_encoded,
};
use s3s::dto;
use service::ServiceError;

use super::{
    call::{Result, Step},
    checksum,
    convert::{etag, owner, size, timestamp},
    object::{check_write, copy_conditions, headers, metadata, part_of, source},
};

pub(super) fn create(
    step: &mut Step<'_, '_>,
    input: &dto::CreateMultipartUploadInput,
) -> Result<dto::CreateMultipartUploadOutput> {
    let bucket = step.bucket(&input.bucket)?;
    step.allow_object(&bucket, "s3:PutObject", &input.key)?;
    let algorithm = match &input.checksum_algorithm {
        Some(wanted) => checksum::algorithm(wanted.as_str())?,
        None => checksum::DEFAULT_ALGORITHM,
    };
    let kind = input.checksum_type.as_ref().map(dto::ChecksumType::as_str);
    let started = Upload {
        key: input.key.clone(),
        id: step.call.inner.uuid(),
        content_type: input.content_type.clone(),
        content_encoding: input.content_encoding.clone(),
        headers: headers!(input),
        metadata: metadata(input.metadata.as_ref()),
        checksum_algorithm: algorithm.into(),
        full_object: checksum::full_object(algorithm, kind)?,
        initiated: step.call.now,
    };
    upload::start(step.tx, &bucket, &started)?;
    let named = input.checksum_algorithm.is_some();
    Ok(dto::CreateMultipartUploadOutput {
        bucket: Some(bucket.name),
        checksum_algorithm: named.then(|| started.checksum_algorithm.clone().into()),
        checksum_type: named.then(|| kind_of(&started)),
        key: Some(started.key),
        upload_id: Some(started.id),
        ..Default::default()
    })
}

fn kind_of(upload: &Upload) -> dto::ChecksumType {
    let kind = if upload.full_object { dto::ChecksumType::FULL_OBJECT } else { dto::ChecksumType::COMPOSITE };
    dto::ChecksumType::from_static(kind)
}

pub(super) fn part(step: &mut Step<'_, '_>, input: &dto::UploadPartInput) -> Result<dto::UploadPartOutput> {
    let bucket = step.bucket(&input.bucket)?;
    step.allow_object(&bucket, "s3:PutObject", &input.key)?;
    let upload = upload::load(step.tx, &bucket, &input.key, &input.upload_id)?;
    if let Some(sent) = &step.call.checksum
        && sent.algorithm != upload.checksum_algorithm
    {
        return Err(invalid_request(format!(
            "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
            upload.checksum_algorithm.to_ascii_lowercase(),
            sent.algorithm.to_ascii_lowercase()
        )));
    }
    let kept = keep_part(step, &bucket, &upload, input.part_number, step.call.body.clone())?;
    let mut output = dto::UploadPartOutput { e_tag: etag(&kept.md5_hex), ..Default::default() };
    checksum::show_value!(output, kept.checksum.as_ref());
    Ok(output)
}

pub(super) fn part_copy(
    step: &mut Step<'_, '_>,
    input: &dto::UploadPartCopyInput,
) -> Result<dto::UploadPartCopyOutput> {
    let bucket = step.bucket(&input.bucket)?;
    step.allow_object(&bucket, "s3:PutObject", &input.key)?;
    let upload = upload::load(step.tx, &bucket, &input.key, &input.upload_id)?;
    let (_, original) = source(step, &input.copy_source, &copy_conditions!(input))?;
    let body = part_of(step, &original, input.copy_source_range.as_deref())?;
    let kept = keep_part(step, &bucket, &upload, input.part_number, body)?;
    let mut result = dto::CopyPartResult {
        e_tag: etag(&kept.md5_hex),
        last_modified: Some(timestamp(kept.last_modified)),
        ..Default::default()
    };
    checksum::show_value!(result, kept.checksum.as_ref());
    Ok(dto::UploadPartCopyOutput { copy_part_result: Some(result), ..Default::default() })
}

fn keep_part(step: &mut Step<'_, '_>, bucket: &Bucket, upload: &Upload, number: i32, body: Bytes) -> Result<Part> {
    let kept = Part {
        number: upload::check_number(i64::from(number))?,
        blob: step.tx.put_blob(body.to_vec()),
        size: body.len() as u64,
        md5_hex: hex::encode(checksum::md5(&body)),
        checksum: Some(checksum::full(&upload.checksum_algorithm, &body)),
        last_modified: step.call.now,
    };
    upload::put_part(step.tx, bucket, upload, &kept)?;
    Ok(kept)
}

pub(super) fn complete(
    step: &mut Step<'_, '_>,
    input: &dto::CompleteMultipartUploadInput,
) -> Result<dto::CompleteMultipartUploadOutput> {
    let bucket = step.bucket(&input.bucket)?;
    step.allow_object(&bucket, "s3:PutObject", &input.key)?;
    let upload = upload::load(step.tx, &bucket, &input.key, &input.upload_id)?;
    let sent = input.multipart_upload.as_ref().and_then(|parts| parts.parts.as_deref()).unwrap_or_default();
    let parts = choose(step, &bucket, &upload, sent)?;
    check_write(step, &bucket, &input.key, input.if_match.as_ref(), input.if_none_match.as_ref())?;
    let body = join(step, &parts)?;
    if input.mpu_object_size.is_some_and(|expected| expected != size(body.len() as u64)) {
        let text = "The provided 'x-amz-mp-object-size' header does not match what was computed.";
        return Err(invalid_request(text));
    }
    let stored = assemble(step, &upload, &parts, body);
    check_sent_checksum(input, &stored)?;
    object::save(step.tx, &bucket, &stored)?;
    upload::end(step.tx, &bucket, &upload)?;
    let endpoint = step.call.request.header("host").unwrap_or("localhost");
    let scheme = if step.call.request.secure { "https" } else { "http" };
    let mut output = dto::CompleteMultipartUploadOutput {
        e_tag: etag(&stored.md5_hex),
        location: Some(format!("{scheme}://{endpoint}/{}/{}", bucket.name, url_encoded(&stored.key))),
        bucket: Some(bucket.name),
        key: Some(stored.key),
        ..Default::default()
    };
    checksum::show!(output, stored.checksum.as_ref());
    Ok(output)
}

/// The parts named, each with the tag and the checksum it is said to have.
fn choose(step: &mut Step<'_, '_>, bucket: &Bucket, upload: &Upload, sent: &[dto::CompletedPart]) -> Result<Vec<Part>> {
    let mut named = Vec::with_capacity(sent.len());
    for part in sent {
        let number = upload::check_number(part.part_number.map_or(0, i64::from))?;
        named.push(Named { number, md5_hex: part.e_tag.as_ref().map(dto::ETag::value).unwrap_or_default() });
    }
    let parts = upload::chosen(step.tx, bucket, upload, &named)?;
    for (part, sent) in parts.iter().zip(sent) {
        let sums = [
            ("CRC32", &sent.checksum_crc32),
            ("CRC32C", &sent.checksum_crc32c),
            ("CRC64NVME", &sent.checksum_crc64nvme),
            ("SHA1", &sent.checksum_sha1),
            ("SHA256", &sent.checksum_sha256),
        ];
        let differs = |(algorithm, value): &(&str, &Option<String>)| {
            let kept = part.checksum.as_ref().filter(|kept| kept.algorithm == *algorithm).map(|kept| &kept.value);
            value.is_some() && value.as_ref() != kept
        };
        if sums.iter().any(differs) {
            let text = "One or more of the specified parts could not be found. The part may not have been uploaded, or \
                        the specified checksum may not match the part's checksum.";
            return Err(ServiceError::new("InvalidPart", 400, text).with_field("PartNumber", part.number));
        }
    }
    Ok(parts)
}

fn join(step: &mut Step<'_, '_>, parts: &[Part]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    for part in parts {
        let piece = step.tx.blob(&part.blob)?;
        body.extend(
            piece.ok_or_else(|| ServiceError::internal(format!("the blob {} of a part is missing", part.blob)))?,
        );
    }
    Ok(body)
}

fn assemble(step: &mut Step<'_, '_>, upload: &Upload, parts: &[Part], body: Vec<u8>) -> Object {
    let checksum = if upload.full_object {
        checksum::full(&upload.checksum_algorithm, &body)
    } else {
        let sums: Vec<String> = parts.iter().filter_map(|part| Some(part.checksum.as_ref()?.value.clone())).collect();
        checksum::composite(&upload.checksum_algorithm, &sums)
    };
    let tags: Vec<u8> = parts.iter().flat_map(|part| hex::decode(&part.md5_hex).unwrap_or_default()).collect();
    Object {
        key: upload.key.clone(),
        size: body.len() as u64,
        blob: step.tx.put_blob(body),
        md5_hex: format!("{}-{}", hex::encode(checksum::md5(&tags)), parts.len()),
        content_type: upload.content_type.clone(),
        content_encoding: upload.content_encoding.clone(),
        headers: upload.headers.clone(),
        metadata: upload.metadata.clone(),
        checksum: Some(checksum),
        last_modified: step.call.now,
    }
}

/// The checksum of the whole object, where the client sends one.
fn check_sent_checksum(input: &dto::CompleteMultipartUploadInput, stored: &Object) -> Result<()> {
    let sums = [
        ("CRC32", &input.checksum_crc32),
        ("CRC32C", &input.checksum_crc32c),
        ("CRC64NVME", &input.checksum_crc64nvme),
        ("SHA1", &input.checksum_sha1),
        ("SHA256", &input.checksum_sha256),
    ];
    for (algorithm, value) in sums {
        let Some(value) = value else { continue };
        let plain = |value: &str| value.split('-').next().unwrap_or_default().to_owned();
        let fits = stored
            .checksum
            .as_ref()
            .is_some_and(|kept| kept.algorithm == algorithm && (kept.value == *value || plain(&kept.value) == *value));
        if !fits {
            return Err(checksum::bad_digest(&format!(
                "{algorithm} you specified did not match the calculated checksum."
            )));
        }
    }
    Ok(())
}

pub(super) fn abort(
    step: &mut Step<'_, '_>,
    input: &dto::AbortMultipartUploadInput,
) -> Result<dto::AbortMultipartUploadOutput> {
    let bucket = step.bucket(&input.bucket)?;
    step.allow_object(&bucket, "s3:AbortMultipartUpload", &input.key)?;
    let upload = upload::load(step.tx, &bucket, &input.key, &input.upload_id)?;
    upload::end(step.tx, &bucket, &upload)?;
    Ok(dto::AbortMultipartUploadOutput::default())
}

/// How many entries of a list the client wants.
fn limit(name: &str, sent: Option<i32>) -> Result<usize> {
    let Some(sent) = sent else { return Ok(ENTRIES_MAX) };
    let text = format!("Argument {name} must be an integer between 0 and 2147483647");
    usize::try_from(sent)
        .map(|wanted| wanted.min(ENTRIES_MAX))
        .map_err(|_| invalid_argument(name, &sent.to_string(), text))
}

pub(super) fn list_parts(step: &mut Step<'_, '_>, input: &dto::ListPartsInput) -> Result<dto::ListPartsOutput> {
    let bucket = step.bucket(&input.bucket)?;
    step.allow_object(&bucket, "s3:ListMultipartUploadParts", &input.key)?;
    let upload = upload::load(step.tx, &bucket, &input.key, &input.upload_id)?;
    let limit = limit("max-parts", input.max_parts)?;
    let after = u32::try_from(input.part_number_marker.unwrap_or_default()).unwrap_or_default();
    let mut parts = upload::parts(step.tx, &bucket, &upload, after, limit + 1)?;
    let more = parts.len() > limit;
    parts.truncate(limit);
    let shown = |part: &Part| {
        let mut shown = dto::Part {
            e_tag: etag(&part.md5_hex),
            last_modified: Some(timestamp(part.last_modified)),
            part_number: i32::try_from(part.number).ok(),
            size: Some(size(part.size)),
            ..Default::default()
        };
        checksum::show_value!(shown, part.checksum.as_ref());
        shown
    };
    let owner = owner(&bucket.account);
    Ok(dto::ListPartsOutput {
        bucket: Some(bucket.name),
        checksum_algorithm: Some(upload.checksum_algorithm.clone().into()),
        checksum_type: Some(kind_of(&upload)),
        initiator: Some(dto::Initiator { display_name: None, id: owner.id.clone() }),
        owner: Some(owner),
        is_truncated: Some(more),
        max_parts: i32::try_from(limit).ok(),
        next_part_number_marker: parts.last().and_then(|part| i32::try_from(part.number).ok()),
        part_number_marker: i32::try_from(after).ok(),
        parts: Some(parts.iter().map(shown).collect()),
        storage_class: Some(dto::StorageClass::from_static(dto::StorageClass::STANDARD)),
        key: Some(upload.key),
        upload_id: Some(upload.id),
        ..Default::default()
    })
}

/// Uploads under way, by key and then by id.
pub(super) fn list(
    step: &mut Step<'_, '_>,
    input: &dto::ListMultipartUploadsInput,
) -> Result<dto::ListMultipartUploadsOutput> {
    let bucket = step.bucket(&input.bucket)?;
    step.allow(&bucket)?;
    if input.delimiter.as_ref().is_some_and(|delimiter| !delimiter.is_empty()) {
        return Err(platform::s3::error::not_supported("The delimiter of ListMultipartUploads"));
    }
    let limit = limit("max-uploads", input.max_uploads)?;
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let marker = (input.key_marker.as_deref().unwrap_or_default(), input.upload_id_marker.as_deref());
    let after = |upload: &Upload| match marker {
        ("", _) => true,
        (key, None) => upload.key.as_str() > key,
        (key, Some(id)) => (upload.key.as_str(), upload.id.as_str()) > (key, id),
    };
    let mut uploads = upload::all(step.tx, &bucket)?;
    uploads.sort_by(|a, b| (&a.key, &a.id).cmp(&(&b.key, &b.id)));
    uploads.retain(|upload| upload.key.starts_with(prefix) && after(upload));
    let more = uploads.len() > limit;
    uploads.truncate(limit);
    let encoded = input.encoding_type.is_some();
    let name = |name: &str| if encoded { url_encoded(name) } else { name.to_owned() };
    let owner = owner(&bucket.account);
    let shown = |upload: &Upload| dto::MultipartUpload {
        checksum_algorithm: Some(upload.checksum_algorithm.clone().into()),
        checksum_type: Some(kind_of(upload)),
        initiated: Some(timestamp(upload.initiated)),
        initiator: Some(dto::Initiator { display_name: None, id: owner.id.clone() }),
        key: Some(name(&upload.key)),
        owner: Some(owner.clone()),
        storage_class: Some(dto::StorageClass::from_static(dto::StorageClass::STANDARD)),
        upload_id: Some(upload.id.clone()),
    };
    let last = uploads.last().filter(|_| more);
    Ok(dto::ListMultipartUploadsOutput {
        bucket: Some(bucket.name.clone()),
        common_prefixes: None,
        delimiter: None,
        encoding_type: input.encoding_type.clone(),
        is_truncated: Some(more),
        key_marker: Some(name(marker.0)),
        max_uploads: i32::try_from(limit).ok(),
        next_key_marker: last.map(|upload| name(&upload.key)),
        next_upload_id_marker: last.map(|upload| upload.id.clone()),
        prefix: Some(name(prefix)),
        request_charged: None,
        upload_id_marker: input.upload_id_marker.clone(),
        uploads: Some(uploads.iter().map(shown).collect()),
    })
}
