//! The store as pure operations see it: one revision, decrypted, every read remembered for the commit.

use service::{Key, Range, Reader, Result, ServiceError};
use store::{Check, Parent, Snapshot, Store};

use crate::vault::Vault;

/// A [`Reader`] over one snapshot. Collects the checks that make the commit fail if anything read has changed since.
pub struct SnapshotReader<'a> {
    snapshot: Box<dyn Snapshot + 'a>,
    store: &'a dyn Store,
    vault: &'a Vault,
    checks: Vec<Check>,
    ranges: Vec<store::Range>,
}

impl<'a> SnapshotReader<'a> {
    /// Takes a snapshot of the newest revision.
    ///
    /// # Errors
    /// 503 when the store cannot be read.
    pub fn new(store: &'a dyn Store, vault: &'a Vault) -> Result<Self> {
        Ok(Self {
            snapshot: store.snapshot().map_err(|e| unavailable(&e))?,
            store,
            vault,
            checks: Vec::new(),
            ranges: Vec::new(),
        })
    }

    /// What was read, as conditions of a commit. Ranges are summed up only now: a call that changes nothing need not
    /// pay for it.
    ///
    /// # Errors
    /// 503 when the store cannot be read.
    pub fn into_checks(mut self) -> Result<Vec<Check>> {
        for range in self.ranges {
            let fingerprint = self.snapshot.fingerprint(&range).map_err(|e| unavailable(&e))?;
            self.checks.push(Check::Range { range, fingerprint });
        }
        Ok(self.checks)
    }

    fn open(&self, key: &Key, secret: bool, document: Vec<u8>) -> Result<Vec<u8>> {
        if !secret {
            return Ok(document);
        }
        self.vault.open_sealed(&purpose(key), &document).ok_or_else(|| {
            ServiceError::internal(format!(
                "{} {} does not open with this installation's secret.key; restore the key file that belongs to the data",
                key.noun, key.id
            ))
        })
    }
}

impl Reader for SnapshotReader<'_> {
    fn get(&mut self, key: &Key, secret: bool) -> Result<Option<Vec<u8>>> {
        let stored = store_key(key);
        let row = self.snapshot.get(&stored).map_err(|e| unavailable(&e))?;
        self.checks.push(Check::Version { key: stored, version: row.as_ref().map(|row| row.version) });
        row.map(|row| self.open(key, secret, row.document)).transpose()
    }

    fn list(&mut self, range: &Range, secret: bool) -> Result<Vec<(Key, Vec<u8>)>> {
        let stored = store::Range {
            account: range.scope.account.clone(),
            region: range.scope.region.clone(),
            noun: range.noun.to_owned(),
            parent: if range.prefix {
                Parent::Prefix(range.parent.clone())
            } else {
                Parent::Exact(range.parent.clone())
            },
            after: range.after.clone(),
            limit: range.limit,
        };
        let rows = self.snapshot.list(&stored).map_err(|e| unavailable(&e))?;
        self.ranges.push(stored);
        rows.into_iter()
            .map(|row| {
                let key = Key { scope: range.scope.clone(), noun: range.noun, parent: row.key.parent, id: row.key.id };
                let document = self.open(&key, secret, row.document)?;
                Ok((key, document))
            })
            .collect()
    }

    fn blob(&mut self, hash: &str) -> Result<Option<Vec<u8>>> {
        self.store.get_blob(hash).map_err(|e| unavailable(&e))
    }
}

/// The store's form of a key.
#[must_use]
pub fn store_key(key: &Key) -> store::Key {
    store::Key {
        account: key.scope.account.clone(),
        region: key.scope.region.clone(),
        noun: key.noun.to_owned(),
        parent: key.parent.clone(),
        id: key.id.clone(),
    }
}

/// Binds a sealed document to its place, so that one record's secret cannot be moved under another's key.
#[must_use]
pub fn purpose(key: &Key) -> String {
    format!("record\n{}\n{}\n{}\n{}\n{}", key.scope.account, key.scope.region, key.noun, key.parent, key.id)
}

/// What a client reads when the store fails: nothing was changed, and what to do.
pub fn unavailable(error: &store::Error) -> ServiceError {
    let text = match error {
        store::Error::Full => {
            "The disk of the server's data directory is full or read-only; nothing was changed. Its operator must make room."
        }
        _ => "The store cannot be reached right now; nothing was changed. Try again.",
    };
    ServiceError::new("ServiceUnavailableException", 503, text).with_cause(format!("{error:?}"))
}
