//! The durable store: records with versions, blobs by content hash, the event history, the queue.
//!
//! It knows bytes and versions, and no nouns: what a document means is known above. Three promises carry everything:
//!
//! 1. A [`Snapshot`] sees one revision, whole, however long it is held.
//! 2. A [`Commit`] happens whole or not at all, only while each of its [`Check`]s holds, and is on disk when the call
//!    returns.
//! 3. Account and region lead every key and every query; no call can reach over them.
//!
//! [`Embedded`] keeps one folder with SQLite; [`Memory`] is the same behaviour for tests of other crates. Both pass
//! one behavioural suite (`suite.rs`).

mod embedded;
mod error;
pub mod limits;
pub mod logs;
mod memory;
#[cfg(test)]
mod model;
pub mod queue;
#[cfg(test)]
mod queue_tests;
#[cfg(test)]
mod suite;

pub use embedded::{Embedded, Options};
pub use error::Error;
pub use memory::Memory;

use std::path::{Path, PathBuf};

/// The name of a record. Ordered as the fields stand, text by its bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub account: String,
    /// Empty for nouns that no region owns, such as IAM's.
    pub region: String,
    pub noun: String,
    /// What the record belongs to, empty for none.
    pub parent: String,
    pub id: String,
}

/// A record as one revision shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub key: Key,
    /// Names this state of the record for [`Check::Version`]. Grows with each put and is never used again for the same
    /// key, not even after the record was deleted and made anew. Otherwise without meaning.
    pub version: u64,
    /// The revision that wrote it.
    pub rev: u64,
    pub document: Vec<u8>,
}

/// Records of one noun, in the order of (parent, id).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    pub account: String,
    pub region: String,
    pub noun: String,
    pub parent: Parent,
    /// The (parent, id) of the last record already seen. It need not exist any more.
    pub after: Option<(String, String)>,
    /// How many records a list gives at most. Nothing but the list looks at `after` and `limit`.
    pub limit: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parent {
    Exact(String),
    /// Every parent that begins so; the empty prefix is every record of the noun.
    Prefix(String),
}

impl Parent {
    /// Whether a record of this parent belongs to the range.
    #[must_use]
    pub fn contains(&self, parent: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == parent,
            Self::Prefix(prefix) => parent.starts_with(prefix.as_str()),
        }
    }
}

/// The state of a whole range in two numbers. Two equal fingerprints of one range mean the very same records: whatever
/// was put since carries a greater revision, and whatever was only deleted is missing from the count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    pub count: u64,
    /// The greatest revision among the records, 0 if there are none.
    pub rev_max: u64,
}

/// One consistent revision of all records. Hold it briefly: the log of an embedded store cannot shrink meanwhile.
pub trait Snapshot: Send {
    /// # Errors
    /// [`Error::Invalid`] for a key beyond [`limits`]; otherwise what the disk says.
    fn get(&mut self, key: &Key) -> Result<Option<Row>, Error>;
    /// The records of `range` after `range.after`, at most `range.limit`, in the order of (parent, id).
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    fn list(&mut self, range: &Range) -> Result<Vec<Row>, Error>;
    /// The fingerprint of the whole range, whatever its `after` and `limit`.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    fn fingerprint(&mut self, range: &Range) -> Result<Fingerprint, Error>;
    /// The revision seen: that of the last commit before this snapshot was taken.
    fn rev(&self) -> u64;
}

/// What must still be so for a commit to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// `None`: the record must not exist.
    Version {
        key: Key,
        version: Option<u64>,
    },
    Range {
        range: Range,
        fingerprint: Fingerprint,
    },
}

/// A change that happens whole or not at all. All checks look at the state before the commit; then whole ranges are
/// deleted, then single records, then records are put (so a put survives a deletion of the same commit; of two puts of
/// one key the later stays), then events are appended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    pub checks: Vec<Check>,
    pub puts: Vec<(Key, Vec<u8>)>,
    /// Deleting what does not exist is no error.
    pub deletes: Vec<Key>,
    /// Cascades: every record of the range, whatever its `after` and `limit`.
    pub delete_ranges: Vec<Range>,
    pub events: Vec<Event>,
}

impl Commit {
    /// Bytes of all documents and event records: what a writer has to carry.
    pub(crate) fn bytes(&self) -> usize {
        let documents = self.puts.iter().map(|(_, document)| document.len());
        documents.chain(self.events.iter().map(|event| event.record.len())).sum()
    }
}

/// One CloudTrail event: the attributes it is looked up by, and the record itself, which the store does not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Unique over the whole store; an event of an id already stored is left out without an error, so that appending
    /// twice is harmless.
    pub event_id: String,
    pub account: String,
    pub region: String,
    /// Milliseconds since 1970.
    pub time_ms: i64,
    /// A data event (an invocation), not a management event.
    pub data: bool,
    pub name: String,
    pub source: String,
    pub username: Option<String>,
    pub access_key_id: Option<String>,
    pub read_only: bool,
    /// Type and name of each.
    pub resources: Vec<(String, String)>,
    /// JSON, at most [`limits::EVENT_BYTES_MAX`].
    pub record: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// The order of arrival over all accounts. Grows, has gaps, never repeats.
    pub sequence: u64,
    pub event: Event,
}

/// Which events to look up: of one account and region, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventQuery {
    pub account: String,
    pub region: String,
    /// The whole value, compared exactly; `ReadOnly` knows `true` and `false`.
    pub attribute: Option<(EventAttribute, String)>,
    /// Inclusive.
    pub from_ms: Option<i64>,
    /// Inclusive.
    pub to_ms: Option<i64>,
    pub include_data: bool,
    /// Time and sequence of the last event already seen.
    pub before: Option<(i64, u64)>,
    /// At most [`limits::EVENTS_PAGE_MAX`].
    pub limit: usize,
}

/// Source: CloudTrail API Reference, "LookupAttribute".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventAttribute {
    EventId,
    EventName,
    ReadOnly,
    Username,
    ResourceType,
    ResourceName,
    EventSource,
    AccessKeyId,
}

/// The port every engine stands behind. All calls block; none needs a runtime.
pub trait Store: Send + Sync {
    /// # Errors
    /// [`Error::Busy`] if too many snapshots are open.
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, Error>;
    /// Makes the change and gives its revision, greater than any before. Durable when it returns.
    ///
    /// # Errors
    /// [`Error::Conflict`] if a check does not hold, [`Error::Invalid`] beyond [`limits`], [`Error::Full`]; in each case
    /// nothing has changed.
    fn commit(&self, commit: Commit) -> Result<u64, Error>;
    /// Appends all events or none, durably. Concurrent calls share one sync.
    ///
    /// # Errors
    /// As [`Store::commit`], without conflicts.
    fn append_events(&self, events: Vec<Event>) -> Result<(), Error>;
    /// A page, newest first. It may end before `query.limit` once its records reach
    /// [`limits::EVENTS_PAGE_BYTES_MAX`]; the end of all events is an empty page.
    ///
    /// # Errors
    /// [`Error::Invalid`] beyond [`limits`].
    fn lookup_events(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, Error>;
    /// Events of one account, of all its regions, that arrived after `sequence`, in the order of arrival: what a trail
    /// has still to deliver. Start with 0; pages end as those of [`Store::lookup_events`].
    ///
    /// # Errors
    /// As [`Store::lookup_events`].
    fn events_after(&self, account: &str, sequence: u64, limit: usize) -> Result<Vec<StoredEvent>, Error>;
    /// Forgets every event older than `before_ms` and says how many. Works in small steps, so commits go on meanwhile.
    ///
    /// # Errors
    /// As [`Store::append_events`]; what was already forgotten stays so.
    fn prune_events(&self, before_ms: i64) -> Result<u64, Error>;
    /// Changes the queue. Durable when it returns; concurrent calls share one sync.
    ///
    /// # Errors
    /// [`Error::Crowded`] if an account would have more than `change.quota`, [`Error::Invalid`] beyond the limits of
    /// [`queue`], [`Error::Full`]; in each case nothing has changed.
    fn change_queue(&self, change: queue::Change) -> Result<(), Error>;
    /// The lanes that have messages, in their order, after `after`, at most `limit`; with each the time its first message
    /// is due.
    ///
    /// # Errors
    /// [`Error::Invalid`] beyond [`queue::PAGE_MAX`].
    fn queue_lanes(&self, after: Option<&queue::Lane>, limit: usize) -> Result<Vec<(queue::Lane, i64)>, Error>;
    /// The first messages of a lane by due time and arrival, due or not, at most `limit`.
    ///
    /// # Errors
    /// As [`Store::queue_lanes`].
    fn queue_waiting(&self, lane: &queue::Lane, limit: usize) -> Result<Vec<queue::Waiting>, Error>;
    /// The body of a message, while it is there.
    ///
    /// # Errors
    /// What the disk says.
    fn queue_body(&self, sequence: u64) -> Result<Option<Vec<u8>>, Error>;
    /// How many messages there are, of all accounts; costs the same however many wait.
    ///
    /// # Errors
    /// What the disk says.
    fn queue_count(&self) -> Result<u64, Error>;
    /// Keeps the bytes and gives their SHA-256 in lower-case hexadecimal. Durable when it returns; keeping the same
    /// bytes again is no error.
    ///
    /// # Errors
    /// [`Error::Full`]; [`Error::Invalid`] beyond [`limits::BLOB_BYTES_MAX`].
    fn put_blob(&self, bytes: &[u8]) -> Result<String, Error>;
    /// # Errors
    /// [`Error::Corrupt`] if the bytes on disk do not have this hash any more; [`Error::Invalid`] if it is none.
    fn get_blob(&self, hash: &str) -> Result<Option<Vec<u8>>, Error>;
    /// The file of an existing blob, for those who read it in parts. Never to be written. `None` also where blobs are
    /// no files.
    fn blob_path(&self, hash: &str) -> Option<PathBuf>;
    /// Says whether there was one. The caller knows that no record names it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a malformed hash.
    fn delete_blob(&self, hash: &str) -> Result<bool, Error>;
    /// Copies records, events and blobs, as of one revision, into the folder `to`, which must be empty or not exist and
    /// which [`Embedded::open`] then opens. Work goes on meanwhile.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `to` holds anything, or if the engine keeps nothing on disk.
    fn backup(&self, to: &Path) -> Result<(), Error>;
}

/// The name of a blob: SHA-256 in lower-case hexadecimal.
fn hash(bytes: &[u8]) -> String {
    use sha2::Digest;
    hex::encode(sha2::Sha256::digest(bytes))
}
