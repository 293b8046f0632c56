//! The transaction an operation is given: typed records over one consistent revision.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::{Key, Record, Result, Scope, ServiceError};

/// Records of one noun under one parent, or under every parent that starts with a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parent<'a> {
    /// This parent only.
    Exact(&'a str),
    /// Every parent beginning so, such as `api/` for all methods of an API.
    Prefix(&'a str),
}

/// A range read as the surroundings see it. Ordered by (parent, id).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// Account and region.
    pub scope: Scope,
    /// [`Record::NOUN`].
    pub noun: &'static str,
    /// Parent, or prefix of parents if `prefix`.
    pub parent: String,
    /// Whether `parent` is a prefix.
    pub prefix: bool,
    /// Only what comes after this (parent, id).
    pub after: Option<(String, String)>,
    /// At most so many rows.
    pub limit: usize,
}

/// Reads documents at one revision and remembers what was read, so that the commit can insist on it.
pub trait Reader {
    /// The document under `key`, opened if the noun is secret.
    ///
    /// # Errors
    /// 5xx when the store cannot be read.
    fn get(&mut self, key: &Key, secret: bool) -> Result<Option<Vec<u8>>>;
    /// The documents of a range.
    ///
    /// # Errors
    /// 5xx when the store cannot be read.
    fn list(&mut self, range: &Range, secret: bool) -> Result<Vec<(Key, Vec<u8>)>>;
    /// A blob by its SHA-256 in hex.
    ///
    /// # Errors
    /// 5xx when the store cannot be read.
    fn blob(&mut self, hash: &str) -> Result<Option<Vec<u8>>>;
}

/// What an operation changed.
#[derive(Debug, Default)]
pub struct Changes {
    /// `Some` puts, `None` deletes. The flag says whether the document is to be sealed.
    pub records: BTreeMap<Key, (Option<Vec<u8>>, bool)>,
    /// Blobs to be stored before the records that name them, by SHA-256 in hex.
    pub blobs: BTreeMap<String, Vec<u8>>,
}

impl Changes {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.blobs.is_empty()
    }
}

/// Typed access for one operation. Sees its own writes.
pub struct Tx<'a> {
    reader: &'a mut dyn Reader,
    changes: Changes,
}

/// A range read whole never returns more rows than this; more is a server fault, not a longer answer.
const ROWS_MAX: usize = 20_000;

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    record: &'a RawValue,
}

impl<'a> Tx<'a> {
    /// A transaction over `reader`.
    pub fn new(reader: &'a mut dyn Reader) -> Self {
        Self { reader, changes: Changes::default() }
    }

    /// What was changed, for the commit.
    #[must_use]
    pub fn into_changes(self) -> Changes {
        self.changes
    }

    /// The record under this key, if there.
    ///
    /// # Errors
    /// 5xx when the store cannot be read or the document does not decode.
    pub fn get<R: Record>(&mut self, scope: &Scope, parent: &str, id: &str) -> Result<Option<R>> {
        let key = key::<R>(scope, parent, id);
        match self.changes.records.get(&key) {
            Some((Some(document), _)) => decode::<R>(document).map(Some),
            Some((None, _)) => Ok(None),
            None => self.reader.get(&key, R::SECRET)?.map(|document| decode::<R>(&document)).transpose(),
        }
    }

    /// Every record of this noun under `parent`, ordered by (parent, id).
    ///
    /// # Errors
    /// 5xx when the store cannot be read or a document does not decode.
    pub fn list<R: Record>(&mut self, scope: &Scope, parent: &Parent<'_>) -> Result<Vec<R>> {
        let rows = self.rows::<R>(scope, parent, None, ROWS_MAX)?;
        if rows.len() >= ROWS_MAX {
            return Err(ServiceError::internal(format!("more than {ROWS_MAX} records of {}", R::NOUN)));
        }
        rows.into_iter().map(|(_, document)| decode::<R>(&document)).collect()
    }

    /// One page, after the given id; ask for one more than the page to learn whether there is another.
    ///
    /// # Errors
    /// 5xx when the store cannot be read or a document does not decode.
    pub fn page<R: Record>(
        &mut self,
        scope: &Scope,
        parent: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, R)>> {
        let after = after.map(|id| (parent.to_owned(), id.to_owned()));
        let rows = self.rows::<R>(scope, &Parent::Exact(parent), after, limit.min(ROWS_MAX))?;
        rows.into_iter().map(|(key, document)| Ok((key.id, decode::<R>(&document)?))).collect()
    }

    /// Stores a record, new or changed.
    ///
    /// # Errors
    /// 5xx when the record does not encode.
    pub fn put<R: Record>(&mut self, scope: &Scope, parent: &str, id: &str, record: &R) -> Result<()> {
        let document = serde_json::to_value(record)
            .and_then(|record| serde_json::to_vec(&serde_json::json!({ "schema": 1, "record": record })))
            .map_err(|error| ServiceError::internal(format!("encoding {}: {error}", R::NOUN)))?;
        self.changes.records.insert(key::<R>(scope, parent, id), (Some(document), R::SECRET));
        Ok(())
    }

    /// Deletes a record; deleting what is not there changes nothing.
    pub fn delete<R: Record>(&mut self, scope: &Scope, parent: &str, id: &str) {
        self.changes.records.insert(key::<R>(scope, parent, id), (None, R::SECRET));
    }

    /// Deletes every record of this noun under `parent`.
    ///
    /// # Errors
    /// 5xx when the store cannot be read.
    pub fn delete_all<R: Record>(&mut self, scope: &Scope, parent: &Parent<'_>) -> Result<()> {
        for (key, _) in self.rows::<R>(scope, parent, None, ROWS_MAX)? {
            self.changes.records.insert(key, (None, R::SECRET));
        }
        Ok(())
    }

    /// Stores bytes by their hash, before the records of this transaction are committed.
    pub fn put_blob(&mut self, bytes: Vec<u8>) -> String {
        let hash = hex::encode(Sha256::digest(&bytes));
        self.changes.blobs.insert(hash.clone(), bytes);
        hash
    }

    /// Bytes by their hash.
    ///
    /// # Errors
    /// 5xx when the store cannot be read.
    pub fn blob(&mut self, hash: &str) -> Result<Option<Vec<u8>>> {
        match self.changes.blobs.get(hash) {
            Some(bytes) => Ok(Some(bytes.clone())),
            None => self.reader.blob(hash),
        }
    }

    /// Rows of a range with this transaction's own writes laid over them.
    fn rows<R: Record>(
        &mut self,
        scope: &Scope,
        parent: &Parent<'_>,
        after: Option<(String, String)>,
        limit: usize,
    ) -> Result<Vec<(Key, Vec<u8>)>> {
        let (text, prefix) = match parent {
            Parent::Exact(text) => (*text, false),
            Parent::Prefix(text) => (*text, true),
        };
        let within = |key: &Key| {
            key.noun == R::NOUN
                && key.scope == *scope
                && if prefix { key.parent.starts_with(text) } else { key.parent == text }
                && after.as_ref().is_none_or(|(p, i)| (key.parent.as_str(), key.id.as_str()) > (p.as_str(), i.as_str()))
        };
        let own: Vec<_> = self.changes.records.iter().filter(|(key, _)| within(key)).collect();
        // Own deletions hide stored rows: read as many more as could be hidden.
        let range = Range {
            scope: scope.clone(),
            noun: R::NOUN,
            parent: text.to_owned(),
            prefix,
            after: after.clone(),
            limit: limit.saturating_add(own.len()),
        };
        let mut rows: BTreeMap<Key, Vec<u8>> = self.reader.list(&range, R::SECRET)?.into_iter().collect();
        for (key, (document, _)) in own {
            match document {
                Some(document) => rows.insert(key.clone(), document.clone()),
                None => rows.remove(key),
            };
        }
        Ok(rows.into_iter().take(limit).collect())
    }
}

fn key<R: Record>(scope: &Scope, parent: &str, id: &str) -> Key {
    Key { scope: scope.clone(), noun: R::NOUN, parent: parent.to_owned(), id: id.to_owned() }
}

fn decode<R: Record>(document: &[u8]) -> Result<R> {
    serde_json::from_slice::<Envelope<'_>>(document)
        .and_then(|envelope| serde_json::from_str(envelope.record.get()))
        .map_err(|error| ServiceError::internal(format!("stored {} does not decode: {error}", R::NOUN)))
}

/// Decodes a stored document outside a transaction, as publishing does.
///
/// # Errors
/// 5xx when it does not decode.
pub fn decode_document<R: Record>(document: &[u8]) -> Result<R> {
    decode(document)
}
