//! From what an operation changed to what the store is asked to make true.

use service::{Changes, Result};
use store::{Commit, Event, Store};

use crate::{
    reader::{SnapshotReader, purpose, store_key, unavailable},
    vault::Vault,
};

/// How often a call is applied again when somebody else committed first. Source: storage contract, section 4.
pub(crate) const ATTEMPTS_MAX: u32 = 8;

/// The commit of what was changed: blobs stored first, secret documents sealed, everything read insisted on, the events
/// of the call in the same commit.
///
/// # Errors
/// 503 when the store cannot take the blobs; nothing refers to those it took.
pub(crate) fn prepare(
    store: &dyn Store,
    vault: &Vault,
    changes: Changes,
    reader: SnapshotReader<'_>,
    events: Vec<Event>,
) -> Result<Commit> {
    for bytes in changes.blobs.values() {
        store.put_blob(bytes).map_err(|e| unavailable(&e))?;
    }
    let mut commit = Commit { checks: reader.into_checks()?, events, ..Commit::default() };
    for (key, (document, secret)) in changes.records {
        match document {
            Some(document) => {
                let document = if secret { vault.seal(&purpose(&key), &document) } else { document };
                commit.puts.push((store_key(&key), document));
            }
            None => commit.deletes.push(store_key(&key)),
        }
    }
    Ok(commit)
}
