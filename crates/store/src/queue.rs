//! The durable queue: messages that wait, each in its lane, for their time.
//!
//! A lane is whatever its user serves one by one, such as one function; the store knows no more of it than its name. A
//! message stays until it is removed, so work that was begun and not ended by a crash is found again. Who works on which
//! message is not kept: one process has the store, and remembers it.

use crate::{Error, limits};

/// The small part of a message, rewritten whenever it is put off.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// The bulky part, written once.
pub const BODY_BYTES_MAX: usize = limits::DOCUMENT_BYTES_MAX;
/// Messages added, put off and removed by one change, together.
pub const CHANGE_ITEMS_MAX: usize = 1_000;
/// Messages or lanes of one answer.
pub const PAGE_MAX: usize = 1_000;

/// Where messages wait. Ordered as the fields stand.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    pub account: String,
    pub region: String,
    /// Unique in account and region.
    pub name: String,
}

/// A message to be kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    pub lane: Lane,
    /// Not before this, milliseconds since 1970.
    pub due_ms: i64,
    /// At most [`HEAD_BYTES_MAX`].
    pub head: Vec<u8>,
    /// At most [`BODY_BYTES_MAX`].
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Message({:?}, due {}, {} bytes)", self.lane, self.due_ms, self.body.len())
    }
}

/// A message in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Names the message over the whole store; never used again.
    pub sequence: u64,
    pub due_ms: i64,
    pub head: Vec<u8>,
}

/// A message to be put off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delay {
    pub sequence: u64,
    pub due_ms: i64,
    /// In place of the head before.
    pub head: Vec<u8>,
}

/// What the messages of one account may take: numbers and bytes of heads and bodies as they were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    pub messages_max: u64,
    pub bytes_max: u64,
}

impl Default for Quota {
    fn default() -> Self {
        Self { messages_max: u64::MAX, bytes_max: u64::MAX }
    }
}

/// A change of the queue that happens whole or not at all. What is to be put off or removed and is not there any more is
/// passed over. Removals count before additions, so that a message can be exchanged for another in a full queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    pub remove: Vec<u64>,
    pub delay: Vec<Delay>,
    pub add: Vec<Message>,
    /// Holds for each account of `add`.
    pub quota: Quota,
}

impl Change {
    /// Bytes a writer has to carry.
    pub(crate) fn bytes(&self) -> usize {
        let added = self.add.iter().map(|message| message.head.len().saturating_add(message.body.len()));
        added.chain(self.delay.iter().map(|delay| delay.head.len())).fold(0, usize::saturating_add)
    }
}

/// What a message counts against its account's quota.
pub(crate) fn size(message: &Message) -> u64 {
    (message.head.len() as u64).saturating_add(message.body.len() as u64)
}

/// # Errors
/// [`Error::Invalid`] for what is beyond the limits above.
pub(crate) fn check(change: &Change) -> Result<(), Error> {
    let items = change.remove.len().saturating_add(change.delay.len()).saturating_add(change.add.len());
    if items > CHANGE_ITEMS_MAX {
        return Err(Error::Invalid(format!("a change of {items} messages, at most {CHANGE_ITEMS_MAX} are taken")));
    }
    limits::check_bytes("messages", change.bytes(), limits::COMMIT_BYTES_MAX)?;
    for message in &change.add {
        check_lane(&message.lane)?;
        check_time(message.due_ms)?;
        limits::check_bytes("a message's head", message.head.len(), HEAD_BYTES_MAX)?;
        limits::check_bytes("a message's body", message.body.len(), BODY_BYTES_MAX)?;
    }
    for delay in &change.delay {
        check_time(delay.due_ms)?;
        limits::check_bytes("a message's head", delay.head.len(), HEAD_BYTES_MAX)?;
    }
    Ok(())
}

/// # Errors
/// [`Error::Invalid`] for a lane without an account or with names beyond the limits of keys.
pub(crate) fn check_lane(lane: &Lane) -> Result<(), Error> {
    limits::check_tenancy(&lane.account, &lane.region, "")?;
    limits::check_bytes("a lane", lane.name.len(), limits::NAME_BYTES_MAX)
}

fn check_time(due_ms: i64) -> Result<(), Error> {
    if (0..=limits::TIME_MS_MAX).contains(&due_ms) {
        return Ok(());
    }
    Err(Error::Invalid(format!("a message due at {due_ms} ms")))
}

/// # Errors
/// [`Error::Invalid`] for a page beyond [`PAGE_MAX`].
pub(crate) fn check_page(limit: usize) -> Result<(), Error> {
    if limit > PAGE_MAX {
        return Err(Error::Invalid(format!("a page of {limit} messages, at most {PAGE_MAX} are given")));
    }
    Ok(())
}
