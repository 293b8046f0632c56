//! The bounds of everything the store takes, and the checks that hold callers to them before anything is written.

use crate::{Check, Commit, Error, Event, EventQuery, Key, Parent, Range};

/// Account, region and noun, each.
pub const WORD_BYTES_MAX: usize = 128;
/// Parent and id, each. The longest AWS name used in a key is an S3 object key of 1,024 bytes.
pub const NAME_BYTES_MAX: usize = 4096;
/// One document. Anything bulkier is a blob.
pub const DOCUMENT_BYTES_MAX: usize = 8 << 20;
/// Checks, puts, deletes, ranges and events of one commit, together.
pub const COMMIT_ITEMS_MAX: usize = 20_000;
/// All documents and event records of one commit, together.
pub const COMMIT_BYTES_MAX: usize = 64 << 20;
/// The record of one event. Source: CloudTrail User Guide, "Quotas in AWS CloudTrail": an event of 256 KB.
pub const EVENT_BYTES_MAX: usize = 256 << 10;
/// Every other text of an event.
pub const EVENT_TEXT_BYTES_MAX: usize = 4096;
pub const EVENT_RESOURCES_MAX: usize = 1000;
/// The end of the year 9999, the last moment an ISO 8601 time of four-digit years can name.
pub const TIME_MS_MAX: i64 = 253_402_300_799_999;
/// Events of one answer of a look-up or a delivery read.
pub const EVENTS_PAGE_MAX: usize = 10_000;
/// Bytes of records after which such an answer ends early, so that one read cannot fill the memory. Never reached by
/// pages of up to 256 events.
pub const EVENTS_PAGE_BYTES_MAX: usize = 64 << 20;
/// One blob: what one `PutObject` may carry. Source: S3 User Guide, "Uploading objects".
pub const BLOB_BYTES_MAX: u64 = 5 << 30;

pub(crate) fn check_bytes(what: &str, bytes: usize, bytes_max: usize) -> Result<(), Error> {
    if bytes > bytes_max {
        return Err(Error::Invalid(format!("{what} of {bytes} bytes, at most {bytes_max} are taken")));
    }
    Ok(())
}

pub(crate) fn check_tenancy(account: &str, region: &str, noun: &str) -> Result<(), Error> {
    // INVARIANT: no key and no query is without its account; tenancy rests on it.
    if account.is_empty() {
        return Err(Error::Invalid("an empty account".to_owned()));
    }
    check_bytes("an account", account.len(), WORD_BYTES_MAX)?;
    check_bytes("a region", region.len(), WORD_BYTES_MAX)?;
    check_bytes("a noun", noun.len(), WORD_BYTES_MAX)
}

pub(crate) fn check_key(key: &Key) -> Result<(), Error> {
    check_tenancy(&key.account, &key.region, &key.noun)?;
    if key.noun.is_empty() {
        return Err(Error::Invalid("an empty noun".to_owned()));
    }
    check_bytes("a parent", key.parent.len(), NAME_BYTES_MAX)?;
    check_bytes("an id", key.id.len(), NAME_BYTES_MAX)
}

pub(crate) fn check_range(range: &Range) -> Result<(), Error> {
    check_tenancy(&range.account, &range.region, &range.noun)?;
    let (Parent::Exact(parent) | Parent::Prefix(parent)) = &range.parent;
    check_bytes("a parent", parent.len(), NAME_BYTES_MAX)
}

pub(crate) fn check_event(event: &Event) -> Result<(), Error> {
    check_tenancy(&event.account, &event.region, "")?;
    if event.event_id.is_empty() {
        return Err(Error::Invalid("an event without an id".to_owned()));
    }
    if !(0..=TIME_MS_MAX).contains(&event.time_ms) {
        return Err(Error::Invalid(format!("an event at {} ms", event.time_ms)));
    }
    check_bytes("an event record", event.record.len(), EVENT_BYTES_MAX)?;
    let texts = [&event.event_id, &event.name, &event.source];
    let resources = event.resources.iter().flat_map(|(kind, name)| [kind, name]);
    for text in texts.into_iter().chain(&event.username).chain(&event.access_key_id).chain(resources) {
        check_bytes("a text of an event", text.len(), EVENT_TEXT_BYTES_MAX)?;
    }
    if event.resources.len() > EVENT_RESOURCES_MAX {
        return Err(Error::Invalid(format!("an event of {} resources", event.resources.len())));
    }
    Ok(())
}

pub(crate) fn check_events(events: &[Event]) -> Result<(), Error> {
    if events.len() > COMMIT_ITEMS_MAX {
        return Err(Error::Invalid(format!("{} events at once, at most {COMMIT_ITEMS_MAX} are taken", events.len())));
    }
    let bytes = events.iter().map(|event| event.record.len()).sum();
    check_bytes("events", bytes, COMMIT_BYTES_MAX)?;
    events.iter().try_for_each(check_event)
}

pub(crate) fn check_commit(commit: &Commit) -> Result<(), Error> {
    let lists =
        [commit.checks.len(), commit.puts.len(), commit.deletes.len(), commit.delete_ranges.len(), commit.events.len()];
    let items: usize = lists.iter().sum();
    if items > COMMIT_ITEMS_MAX {
        return Err(Error::Invalid(format!("a commit of {items} items, at most {COMMIT_ITEMS_MAX} are taken")));
    }
    check_bytes("a commit", commit.bytes(), COMMIT_BYTES_MAX)?;
    for check in &commit.checks {
        match check {
            Check::Version { key, .. } => check_key(key)?,
            Check::Range { range, .. } => check_range(range)?,
        }
    }
    for (key, document) in &commit.puts {
        check_key(key)?;
        check_bytes("a document", document.len(), DOCUMENT_BYTES_MAX)?;
    }
    commit.deletes.iter().try_for_each(check_key)?;
    commit.delete_ranges.iter().try_for_each(check_range)?;
    check_events(&commit.events)
}

pub(crate) fn check_query(query: &EventQuery) -> Result<(), Error> {
    check_tenancy(&query.account, &query.region, "")?;
    check_page(query.limit)
}

pub(crate) fn check_page(limit: usize) -> Result<(), Error> {
    if limit > EVENTS_PAGE_MAX {
        return Err(Error::Invalid(format!("a page of {limit} events, at most {EVENTS_PAGE_MAX} are given")));
    }
    Ok(())
}

/// Whether `hash` is a SHA-256 in lower-case hexadecimal, and so a safe file name.
pub(crate) fn is_hash(hash: &str) -> bool {
    hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

pub(crate) fn check_hash(hash: &str) -> Result<(), Error> {
    if is_hash(hash) { Ok(()) } else { Err(Error::Invalid("a blob is named by 64 lower-case hex digits".to_owned())) }
}
