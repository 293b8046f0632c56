//! Listing: keys after a marker, under a prefix, rolled up at a delimiter.

use service::{Result, Scope, Tx};

use super::bucket::Bucket;
use super::object::Object;

/// Entries of one answer, objects and common prefixes together. Source: Amazon S3 API Reference, "ListObjectsV2".
pub const ENTRIES_MAX: usize = 1000;
/// Rows read at once where keys are rolled up: a prefix is left as soon as it has been seen.
const ROLLED_UP_ROWS: usize = 100;

/// What to list.
#[derive(Debug, Clone, Copy, Default)]
pub struct Query<'a> {
    /// Empty for every key.
    pub prefix: &'a str,
    /// Empty for no rolling up.
    pub delimiter: &'a str,
    /// Only what comes after this key or common prefix.
    pub after: Option<&'a str>,
    /// At most so many entries, and never more than [`ENTRIES_MAX`].
    pub limit: usize,
}

/// One page.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// In order of their keys.
    pub objects: Vec<Object>,
    /// In order; each ends with the delimiter.
    pub common_prefixes: Vec<String>,
    /// The last entry, if there are more: the marker of the next page.
    pub next: Option<String>,
}

/// Where reading goes on.
enum From {
    /// At this key, if there is such a key, or after it.
    At(String),
    After(String),
    End,
}

/// Lists the objects of a bucket in the order of their keys' bytes.
///
/// # Errors
/// 5xx when the store cannot be read.
pub fn objects(tx: &mut Tx<'_>, bucket: &Bucket, query: &Query<'_>) -> Result<Listing> {
    let limit = query.limit.min(ENTRIES_MAX);
    let mut listing = Listing::default();
    if limit == 0 {
        return Ok(listing);
    }
    let mut last = String::new();
    let mut from = start(query);
    loop {
        let rows = rows(tx, bucket, &from, if query.delimiter.is_empty() { limit + 1 } else { ROLLED_UP_ROWS })?;
        let Some(last_read) = rows.last().map(|object| object.key.clone()) else { return Ok(listing) };
        from = From::After(last_read.clone());
        let mut rolled_up: Option<String> = None;
        for object in rows {
            if rolled_up.as_ref().is_some_and(|common| object.key.starts_with(common)) {
                continue;
            }
            if !object.key.starts_with(query.prefix) {
                return Ok(listing);
            }
            if listing.objects.len() + listing.common_prefixes.len() >= limit {
                listing.next = Some(last);
                return Ok(listing);
            }
            match common_prefix(&object.key, query) {
                Some(common) => {
                    listing.common_prefixes.push(common.to_owned());
                    last = common.to_owned();
                    rolled_up = Some(last.clone());
                }
                None => {
                    last.clone_from(&object.key);
                    listing.objects.push(object);
                }
            }
        }
        if let Some(common) = rolled_up.filter(|common| last_read.starts_with(common)) {
            from = past(&common);
        }
    }
}

/// Up to the first delimiter after the prefix, delimiter included.
fn common_prefix<'k>(key: &'k str, query: &Query<'_>) -> Option<&'k str> {
    if query.delimiter.is_empty() {
        return None;
    }
    let rest = key.get(query.prefix.len()..)?;
    let at = rest.find(query.delimiter)?;
    key.get(..query.prefix.len() + at + query.delimiter.len())
}

fn start(query: &Query<'_>) -> From {
    match query.after {
        Some(after) if after >= query.prefix => match common_prefix(after, query) {
            // The page before ended with this common prefix: nothing under it comes again.
            Some(common) if common == after => past(after),
            _ => From::After(after.to_owned()),
        },
        _ => From::At(query.prefix.to_owned()),
    }
}

/// Past every key that starts so.
fn past(prefix: &str) -> From {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        // The last character has no next one: the prefix without it is to be passed.
        let Some(next) = (last..=char::MAX).nth(1) else { continue };
        characters.push(next);
        return From::At(characters.into_iter().collect());
    }
    From::End
}

fn rows(tx: &mut Tx<'_>, bucket: &Bucket, from: &From, limit: usize) -> Result<Vec<Object>> {
    let installation = Scope::installation();
    let (mut rows, after) = match from {
        From::End => return Ok(Vec::new()),
        From::After(key) => (Vec::new(), Some(key.as_str())),
        From::At(key) if key.is_empty() => (Vec::new(), None),
        From::At(key) => {
            (tx.get::<Object>(&installation, &bucket.name, key)?.into_iter().collect(), Some(key.as_str()))
        }
    };
    let more = tx.page::<Object>(&installation, &bucket.name, after, limit)?;
    rows.extend(more.into_iter().map(|(_, object)| object));
    Ok(rows)
}
