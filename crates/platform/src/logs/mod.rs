//! CloudWatch Logs: log groups, and the patterns events are filtered by. Streams and events are many and may be lost;
//! they are kept apart from records, and what reads or writes them is in `control`.

use service::Entry;

mod error;
pub mod filter_pattern;
pub mod log_group;
pub mod retention;
pub mod tag;
#[cfg(test)]
mod tests;

pub use error::{group_not_found, invalid, stream_not_found};

/// Every operation of CloudWatch Logs that is a pure change of state.
pub const OPERATIONS: &[&[Entry]] = &[log_group::OPERATIONS, retention::OPERATIONS, tag::OPERATIONS];
