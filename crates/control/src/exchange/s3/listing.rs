//! Listing of objects, in its three forms.

use platform::s3::{
    bucket::Bucket,
    error::invalid_argument,
    list::{self, ENTRIES_MAX, Listing, Query},
    object::Object,
    url_encoded,
};
use s3s::dto;

use super::{
    call::{Result, Step},
    convert::{etag, from_token, owner, size, timestamp, token},
};

/// What the three forms have in common.
struct Wanted<'i> {
    bucket: &'i str,
    prefix: Option<&'i str>,
    delimiter: Option<&'i str>,
    max_keys: Option<i32>,
    encoding: Option<&'i dto::EncodingType>,
}

/// A page, and how its names are spelled.
struct Page {
    bucket: Bucket,
    listing: Listing,
    max_keys: i32,
    encoded: bool,
}

impl Wanted<'_> {
    fn page(&self, step: &mut Step<'_, '_>, after: Option<&str>) -> Result<Page> {
        let bucket = step.bucket(self.bucket)?;
        let mut context = Vec::new();
        let sent = [("s3:prefix", self.prefix.map(str::to_owned)), ("s3:delimiter", self.delimiter.map(str::to_owned))];
        for (key, value) in sent.into_iter().chain([("s3:max-keys", self.max_keys.map(|max| max.to_string()))]) {
            context.extend(value.map(|value| (key.to_owned(), value)));
        }
        let action = step.op.iam_action.unwrap_or("s3:ListBucket");
        step.allow_on(&bucket, action, bucket.arn(), context)?;
        let encoded = match self.encoding.map(dto::EncodingType::as_str) {
            None => false,
            Some(dto::EncodingType::URL) => true,
            Some(other) => {
                let text = "Invalid Encoding Method specified in Request";
                return Err(invalid_argument("encoding-type", other, text));
            }
        };
        let wanted = self.max_keys.unwrap_or(ENTRIES_MAX as i32);
        let limit = usize::try_from(wanted).map_err(|_| {
            let text = "Argument maxKeys must be an integer between 0 and 2147483647";
            invalid_argument("maxKeys", &wanted.to_string(), text)
        })?;
        let query = Query {
            prefix: self.prefix.unwrap_or_default(),
            delimiter: self.delimiter.unwrap_or_default(),
            after: after.filter(|after| !after.is_empty()),
            limit,
        };
        let listing = list::objects(step.tx, &bucket, &query)?;
        Ok(Page { bucket, listing, max_keys: wanted.min(ENTRIES_MAX as i32), encoded })
    }
}

impl Page {
    fn name(&self, name: &str) -> String {
        if self.encoded { url_encoded(name) } else { name.to_owned() }
    }

    fn sent(&self, name: Option<&str>) -> Option<String> {
        name.filter(|name| !name.is_empty()).map(|name| self.name(name))
    }

    fn encoding(&self) -> Option<dto::EncodingType> {
        self.encoded.then(|| dto::EncodingType::from_static(dto::EncodingType::URL))
    }

    fn contents(&self, with_owner: bool) -> Option<Vec<dto::Object>> {
        let owner = with_owner.then(|| owner(&self.bucket.account));
        let shown = |object: &Object| dto::Object {
            checksum_algorithm: object.checksum.as_ref().map(|sum| vec![sum.algorithm.clone().into()]),
            checksum_type: object.checksum.as_ref().map(|sum| kind(sum.full_object)),
            e_tag: etag(&object.md5_hex),
            key: Some(self.name(&object.key)),
            last_modified: Some(timestamp(object.last_modified)),
            owner: owner.clone(),
            restore_status: None,
            size: Some(size(object.size)),
            storage_class: Some(dto::ObjectStorageClass::from_static(dto::ObjectStorageClass::STANDARD)),
        };
        Some(self.listing.objects.iter().map(shown).collect())
    }

    fn common_prefixes(&self) -> Option<Vec<dto::CommonPrefix>> {
        let shown = |prefix: &String| dto::CommonPrefix { prefix: Some(self.name(prefix)) };
        Some(self.listing.common_prefixes.iter().map(shown).collect())
    }
}

fn kind(full_object: bool) -> dto::ChecksumType {
    let kind = if full_object { dto::ChecksumType::FULL_OBJECT } else { dto::ChecksumType::COMPOSITE };
    dto::ChecksumType::from_static(kind)
}

/// The first form: goes on after a key, which clients take from the last one they saw.
pub(super) fn version_1(step: &mut Step<'_, '_>, input: &dto::ListObjectsInput) -> Result<dto::ListObjectsOutput> {
    let wanted = Wanted {
        bucket: &input.bucket,
        prefix: input.prefix.as_deref(),
        delimiter: input.delimiter.as_deref(),
        max_keys: input.max_keys,
        encoding: input.encoding_type.as_ref(),
    };
    let page = wanted.page(step, input.marker.as_deref())?;
    // Without a delimiter the last key is the marker, and AWS does not repeat it.
    let next = page.listing.next.as_deref().filter(|_| wanted.delimiter.is_some_and(|text| !text.is_empty()));
    Ok(dto::ListObjectsOutput {
        name: Some(page.bucket.name.clone()),
        prefix: Some(page.name(wanted.prefix.unwrap_or_default())),
        marker: Some(page.name(input.marker.as_deref().unwrap_or_default())),
        max_keys: Some(page.max_keys),
        is_truncated: Some(page.listing.next.is_some()),
        contents: page.contents(true),
        common_prefixes: page.common_prefixes(),
        delimiter: page.sent(wanted.delimiter),
        next_marker: next.map(|next| page.name(next)),
        encoding_type: page.encoding(),
        request_charged: None,
    })
}

/// The second form: goes on with an opaque token.
pub(super) fn version_2(step: &mut Step<'_, '_>, input: &dto::ListObjectsV2Input) -> Result<dto::ListObjectsV2Output> {
    let wanted = Wanted {
        bucket: &input.bucket,
        prefix: input.prefix.as_deref(),
        delimiter: input.delimiter.as_deref(),
        max_keys: input.max_keys,
        encoding: input.encoding_type.as_ref(),
    };
    let after = match &input.continuation_token {
        Some(token) => Some(from_token(token)?),
        None => input.start_after.clone(),
    };
    let page = wanted.page(step, after.as_deref())?;
    let count = page.listing.objects.len() + page.listing.common_prefixes.len();
    Ok(dto::ListObjectsV2Output {
        name: Some(page.bucket.name.clone()),
        prefix: Some(page.name(wanted.prefix.unwrap_or_default())),
        max_keys: Some(page.max_keys),
        key_count: i32::try_from(count).ok(),
        continuation_token: input.continuation_token.clone(),
        is_truncated: Some(page.listing.next.is_some()),
        next_continuation_token: page.listing.next.as_deref().map(token),
        contents: page.contents(input.fetch_owner == Some(true)),
        common_prefixes: page.common_prefixes(),
        delimiter: page.sent(wanted.delimiter),
        encoding_type: page.encoding(),
        start_after: page.sent(input.start_after.as_deref()),
        request_charged: None,
    })
}

/// Every object is its own only version, as in a bucket that never had versioning.
pub(super) fn versions(
    step: &mut Step<'_, '_>,
    input: &dto::ListObjectVersionsInput,
) -> Result<dto::ListObjectVersionsOutput> {
    let wanted = Wanted {
        bucket: &input.bucket,
        prefix: input.prefix.as_deref(),
        delimiter: input.delimiter.as_deref(),
        max_keys: input.max_keys,
        encoding: input.encoding_type.as_ref(),
    };
    let page = wanted.page(step, input.key_marker.as_deref())?;
    let owner = owner(&page.bucket.account);
    let shown = |object: &Object| dto::ObjectVersion {
        checksum_algorithm: None,
        checksum_type: None,
        e_tag: etag(&object.md5_hex),
        is_latest: Some(true),
        key: Some(page.name(&object.key)),
        last_modified: Some(timestamp(object.last_modified)),
        owner: Some(owner.clone()),
        restore_status: None,
        size: Some(size(object.size)),
        storage_class: Some(dto::ObjectVersionStorageClass::from_static(dto::ObjectVersionStorageClass::STANDARD)),
        version_id: Some("null".into()),
    };
    Ok(dto::ListObjectVersionsOutput {
        common_prefixes: page.common_prefixes(),
        delete_markers: None,
        delimiter: page.sent(wanted.delimiter),
        encoding_type: page.encoding(),
        is_truncated: Some(page.listing.next.is_some()),
        key_marker: Some(page.name(input.key_marker.as_deref().unwrap_or_default())),
        max_keys: Some(page.max_keys),
        name: Some(page.bucket.name.clone()),
        next_key_marker: page.listing.next.as_deref().map(|next| page.name(next)),
        next_version_id_marker: page.listing.next.as_ref().map(|_| "null".into()),
        prefix: Some(page.name(wanted.prefix.unwrap_or_default())),
        request_charged: None,
        version_id_marker: input.version_id_marker.clone(),
        versions: Some(page.listing.objects.iter().map(shown).collect()),
    })
}
