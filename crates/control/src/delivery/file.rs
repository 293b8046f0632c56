//! Log files: events of one account and region, gzipped.

use std::{collections::BTreeMap, io::Write as _};

use flate2::{Compression, write::GzEncoder};
use platform::{
    cloudtrail::{
        bucket as grants,
        digest::{self, HASH_ALGORITHM, LogFile},
        layout,
        logging::TrailState,
        selector::Facts,
        trail::{Selection, Trail},
    },
    s3::{
        bucket::{self, Bucket},
        object::{self, NewObject},
    },
};
use s3s::crypto::{Checksum as _, Md5};
use service::{Result, ServiceError, Timestamp, Tx};
use sha2::{Digest as _, Sha256};
use store::{Event, Store};

use super::Delivery;
use crate::{reader::unavailable, vault::random};

/// Uncompressed records of one commit, over all its files. Below the 50 MB a compressed file may have, whatever is in it.
const BATCH_BYTES_MAX: usize = 40 << 20;
/// Events read at once. With records of the greatest size a page stays below [`BATCH_BYTES_MAX`] and one of usual size is
/// some hundred kilobytes.
const PAGE_EVENTS: usize = 256;
/// Best for events by measurement: half the time of the default at nearly its size.
const LEVEL: u32 = 4;
const LETTERS_AND_DIGITS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// S3's code for why nothing could be delivered.
pub(super) const NO_SUCH_BUCKET: &str = "NoSuchBucket";
/// As above.
pub(super) const ACCESS_DENIED: &str = "AccessDenied";

/// The records of one region, on their way into a file.
#[derive(Debug)]
struct Draft {
    /// `{"Records":[..` without its end.
    body: Vec<u8>,
    oldest_ms: i64,
    newest_ms: i64,
}

/// What was read of an account's events.
#[derive(Debug, Default)]
struct Batch {
    by_region: BTreeMap<String, Draft>,
    bytes: usize,
    /// The last event that was looked at.
    sequence: u64,
    /// There was nothing more to read.
    ended: bool,
}

impl Batch {
    fn add(&mut self, event: &Event) {
        let draft = self.by_region.entry(event.region.clone()).or_insert_with(|| Draft {
            body: br#"{"Records":["#.to_vec(),
            oldest_ms: event.time_ms,
            newest_ms: event.time_ms,
        });
        if !draft.body.ends_with(b"[") {
            draft.body.push(b',');
        }
        draft.body.extend_from_slice(&event.record);
        draft.oldest_ms = draft.oldest_ms.min(event.time_ms);
        draft.newest_ms = draft.newest_ms.max(event.time_ms);
        self.bytes = self.bytes.saturating_add(event.record.len());
    }
}

impl Delivery {
    /// Delivers what arrived for a trail since the last time.
    ///
    /// # Errors
    /// 5xx when the store fails. A bucket that is gone or refuses is no error: the trail's status tells, and the events
    /// wait.
    pub(super) fn deliver(&self, trail: &Trail) -> Result<()> {
        while self.transact(|tx| self.deliver_batch(tx, trail))? == Some(true) {}
        Ok(())
    }

    /// One commit's worth. Whether there is more.
    fn deliver_batch(&self, tx: &mut Tx<'_>, trail: &Trail) -> Result<bool> {
        let now = self.now();
        let Some(trail) = Self::reload(tx, trail)? else { return Ok(false) };
        let mut state = TrailState::load(tx, &trail)?;
        if !state.is_due(&trail) {
            return Ok(false);
        }
        let before = state.clone();
        let batch = read(&*self.store, &trail, state.sequence)?;
        if !batch.by_region.is_empty() {
            state.latest_attempt = Some(now);
            match put(tx, &trail, &batch, now) {
                Ok(()) => {}
                Err(Failure::Refused(code)) => {
                    state.latest_error = Some(code.to_owned());
                    state.save(tx, &trail)?;
                    return Ok(false);
                }
                Err(Failure::Fault(error)) => return Err(error),
            }
            state.regions.extend(batch.by_region.keys().cloned());
            state.latest_delivery = Some(now);
            state.latest_error = None;
        }
        state.sequence = batch.sequence;
        // While it logs nobody asks when it was last drained; writing that down would be a commit at every tick.
        if batch.ended && !trail.is_logging() {
            state.drained_at = Some(now);
        }
        if state != before {
            state.save(tx, &trail)?;
        }
        Ok(!batch.ended)
    }
}

/// Reads events after `sequence` until the batch is full or there are no more, and keeps those the trail selects.
fn read(store: &dyn Store, trail: &Trail, sequence: u64) -> Result<Batch> {
    let selection = Selection::of(trail);
    let mut batch = Batch { sequence, ..Batch::default() };
    loop {
        let page = store.events_after(&trail.account, batch.sequence, PAGE_EVENTS).map_err(|e| unavailable(&e))?;
        if page.is_empty() {
            batch.ended = true;
            return Ok(batch);
        }
        for stored in page {
            if selects(trail, &selection, &stored.event) {
                if batch.bytes.saturating_add(stored.event.record.len()) > BATCH_BYTES_MAX {
                    return Ok(batch);
                }
                batch.add(&stored.event);
            }
            batch.sequence = stored.sequence;
        }
    }
}

fn selects(trail: &Trail, selection: &Selection, event: &Event) -> bool {
    let function = event.resources.iter().find(|(kind, _)| kind == "AWS::Lambda::Function");
    let facts = Facts {
        data: event.data,
        source: &event.source,
        name: &event.name,
        region: &event.region,
        read_only: event.read_only,
        resource_arn: function.map(|(_, arn)| arn.as_str()).filter(|_| event.data),
    };
    trail.windows.iter().any(|window| window.covers(event.time_ms)) && selection.selects(&facts)
}

/// Why an object could not be put.
pub(super) enum Failure {
    /// The bucket is gone or its policy says no.
    Refused(&'static str),
    /// The store failed.
    Fault(ServiceError),
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        Self::Fault(error)
    }
}

/// The trail's bucket, if it takes this key.
pub(super) fn open_bucket(tx: &mut Tx<'_>, trail: &Trail, key: &str) -> std::result::Result<Bucket, Failure> {
    let bucket = bucket::find(tx, &trail.s3_bucket_name)?.ok_or(Failure::Refused(NO_SUCH_BUCKET))?;
    if grants::allows_put(&bucket, trail, key) { Ok(bucket) } else { Err(Failure::Refused(ACCESS_DENIED)) }
}

/// Puts an object as CloudTrail does: JSON, gzipped.
pub(super) fn put_object(
    tx: &mut Tx<'_>,
    bucket: &Bucket,
    key: &str,
    plain: &[u8],
    metadata: BTreeMap<String, String>,
    now: Timestamp,
) -> Result<()> {
    let packed = gzip(plain).map_err(|error| ServiceError::internal(format!("gzip: {error}")))?;
    let object = NewObject {
        size: packed.len() as u64,
        md5_hex: hex::encode(Md5::checksum(&packed)),
        blob: tx.put_blob(packed),
        content_type: Some("application/json".into()),
        content_encoding: Some("gzip".into()),
        metadata,
        now,
    };
    object::put(tx, bucket, key, object)
}

fn put(tx: &mut Tx<'_>, trail: &Trail, batch: &Batch, now: Timestamp) -> std::result::Result<(), Failure> {
    let mut files = Vec::new();
    for (region, draft) in &batch.by_region {
        let key = layout::log_key(trail, region, now, &unique());
        let bucket = open_bucket(tx, trail, &key)?;
        files.push((region, draft, key, bucket));
    }
    // INVARIANT: from here on nothing is refused, so that no file is put whose events would be delivered again.
    for (region, draft, key, bucket) in files {
        let plain = [draft.body.as_slice(), b"]}"].concat();
        put_object(tx, &bucket, &key, &plain, BTreeMap::new(), now)?;
        if trail.validates() {
            let file = LogFile {
                s3_bucket: bucket.name,
                s3_object: key,
                hash_value: hex::encode(Sha256::digest(&plain)),
                hash_algorithm: HASH_ALGORITHM.into(),
                newest_event_time: Timestamp::from_ms(draft.newest_ms).iso_s(),
                oldest_event_time: Timestamp::from_ms(draft.oldest_ms).iso_s(),
            };
            digest::remember(tx, trail, region, &file)?;
        }
    }
    Ok(())
}

fn gzip(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(LEVEL));
    encoder.write_all(plain)?;
    encoder.finish()
}

/// Letters and digits that keep two files of one minute apart.
fn unique() -> String {
    let mut text = String::with_capacity(layout::UNIQUE_CHARS);
    let mut pool = [0u8; 32];
    while text.len() < layout::UNIQUE_CHARS {
        random(&mut pool);
        // 248 is four times 62: beyond it some characters would be likelier.
        let fair = pool.iter().filter(|byte| **byte < 248);
        let characters = fair.filter_map(|byte| LETTERS_AND_DIGITS.get(usize::from(*byte) % 62));
        text.extend(characters.map(|byte| char::from(*byte)).take(layout::UNIQUE_CHARS - text.len()));
    }
    text
}
