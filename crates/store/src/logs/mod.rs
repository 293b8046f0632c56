//! The store of log events: a file of its own beside the records, because logs are many, small and may be lost.
//!
//! What is appended is in the file when the call returns, and survives the end of the process; the last moments before
//! a loss of power may be missing. Old events make room for new ones, those of the account that holds most: the file does
//! not outgrow its bound.
//!
//! Events belong to an *incarnation* of a log group, an id made when the group was created, so that a group deleted and
//! made again never shows what the old one held.

mod embedded;
#[cfg(test)]
mod tests;

pub use embedded::{Embedded, Options};

use crate::Error;

/// Events one query gives at most.
pub const PAGE_MAX: usize = 10_001;
/// A query stops early once it has gathered so many bytes of messages.
pub const PAGE_BYTES_MAX: usize = 4 << 20;
/// Events deleted in one transaction at most, so that nobody waits for long.
pub const STEP: usize = 5_000;

/// One incarnation of a log group, and where its record is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// Unique over the whole store and never used again.
    pub incarnation: String,
    pub account: String,
    pub region: String,
    pub name: String,
}

/// Events for one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    pub group: Group,
    pub stream: String,
    /// Milliseconds since 1970, and the message.
    pub events: Vec<(i64, String)>,
    /// Whether a missing stream is made; otherwise its events are left out.
    pub create_stream: bool,
}

/// A stream as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    pub id: i64,
    pub name: String,
    pub created_ms: i64,
    /// The earliest and latest times of its events, while it has had any.
    pub first_ms: Option<i64>,
    pub last_ms: Option<i64>,
    /// When something last arrived.
    pub ingested_ms: Option<i64>,
}

/// Which streams of a group, and in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamQuery {
    pub incarnation: String,
    pub prefix: String,
    /// By the latest event's time and then name; otherwise by name alone.
    pub by_time: bool,
    pub descending: bool,
    /// The (latest time, name) of the last stream already seen; the time counts only when ordered by it.
    pub after: Option<(i64, String)>,
    pub limit: usize,
}

/// Where events are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All streams of an incarnation.
    Group(String),
    /// A stream by [`Stream::id`].
    Stream(i64),
}

/// Which events, in the order of (time, arrival).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    pub scope: Scope,
    /// Inclusive.
    pub from_ms: i64,
    /// Inclusive.
    pub to_ms: i64,
    /// Only what stands after this (time, sequence), or before it when `backward`.
    pub past: Option<(i64, i64)>,
    /// Latest first.
    pub backward: bool,
    /// At most [`PAGE_MAX`].
    pub limit: usize,
}

/// A stored event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The order of arrival over the whole store. Grows, never repeats.
    pub sequence: i64,
    pub stream: String,
    pub time_ms: i64,
    pub ingested_ms: i64,
    pub message: String,
}

/// The port behind which log events are kept. All calls block.
pub trait LogStore: Send + Sync {
    /// Appends to any number of streams at once and says of each whether its stream was there or made.
    ///
    /// # Errors
    /// [`Error::Full`] if the bound is reached and nothing old can be given up.
    fn append(&self, appends: &[Append], now_ms: i64) -> Result<Vec<bool>, Error>;
    /// Makes an empty stream; `false` if there is one of this name.
    ///
    /// # Errors
    /// As [`LogStore::append`].
    fn create_stream(&self, group: &Group, stream: &str, now_ms: i64) -> Result<bool, Error>;
    /// Deletes a stream with its events; `false` if there is none.
    ///
    /// # Errors
    /// What the disk says.
    fn delete_stream(&self, incarnation: &str, stream: &str) -> Result<bool, Error>;
    /// Deletes everything of an incarnation.
    ///
    /// # Errors
    /// What the disk says.
    fn delete_group(&self, incarnation: &str) -> Result<(), Error>;
    /// One stream by name.
    ///
    /// # Errors
    /// What the disk says.
    fn stream(&self, incarnation: &str, stream: &str) -> Result<Option<Stream>, Error>;
    /// A page of streams.
    ///
    /// # Errors
    /// What the disk says.
    fn streams(&self, query: &StreamQuery) -> Result<Vec<Stream>, Error>;
    /// A page of events, cut short at [`PAGE_BYTES_MAX`] but never empty while there are more.
    ///
    /// # Errors
    /// What the disk says.
    fn events(&self, query: &Query) -> Result<Vec<Event>, Error>;
    /// Bytes of an incarnation's events as AWS counts them: messages and 26 for each.
    ///
    /// # Errors
    /// What the disk says.
    fn bytes(&self, incarnation: &str) -> Result<u64, Error>;
    /// The incarnations that hold something, after the one named, in the order of their ids.
    ///
    /// # Errors
    /// What the disk says.
    fn groups(&self, after: &str, limit: usize) -> Result<Vec<Group>, Error>;
    /// Forgets events of an incarnation older than `before_ms`, at most [`STEP`], and says how many.
    ///
    /// # Errors
    /// What the disk says.
    fn expire(&self, incarnation: &str, before_ms: i64) -> Result<u64, Error>;
    /// Forgets streams without events into which nothing came since `before_ms`, and says how many.
    ///
    /// # Errors
    /// What the disk says.
    fn forget_idle_streams(&self, incarnation: &str, before_ms: i64) -> Result<u64, Error>;
}
