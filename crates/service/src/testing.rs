//! Records in memory, for the tests of crates that write operations. Behind the feature `testing`.

use std::collections::BTreeMap;

use crate::{Changes, Key, Range, Reader, Result};

/// A store in memory: what a commit would have made true, without versions or conflicts.
#[derive(Debug, Default)]
pub struct Records {
    /// Stored documents by key.
    pub documents: BTreeMap<Key, Vec<u8>>,
    /// Blobs by hash.
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// How many rows were read: what a call costs.
    pub rows_read: usize,
}

impl Records {
    /// Makes an operation's changes true.
    pub fn apply(&mut self, changes: Changes) {
        for (key, (document, _)) in changes.records {
            match document {
                Some(document) => self.documents.insert(key, document),
                None => self.documents.remove(&key),
            };
        }
        self.blobs.extend(changes.blobs);
    }
}

impl Reader for Records {
    fn get(&mut self, key: &Key, _secret: bool) -> Result<Option<Vec<u8>>> {
        self.rows_read = self.rows_read.saturating_add(1);
        Ok(self.documents.get(key).cloned())
    }

    fn list(&mut self, range: &Range, _secret: bool) -> Result<Vec<(Key, Vec<u8>)>> {
        let within = |key: &Key| {
            key.scope == range.scope
                && key.noun == range.noun
                && if range.prefix { key.parent.starts_with(&range.parent) } else { key.parent == range.parent }
                && range.after.as_ref().is_none_or(|(parent, id)| (&key.parent, &key.id) > (parent, id))
        };
        let rows = self.documents.iter().filter(|(key, _)| within(key)).take(range.limit);
        let rows: Vec<_> = rows.map(|(key, document)| (key.clone(), document.clone())).collect();
        self.rows_read = self.rows_read.saturating_add(rows.len());
        Ok(rows)
    }

    fn blob(&mut self, hash: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.blobs.get(hash).cloned())
    }
}
