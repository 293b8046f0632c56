//! CloudTrail: records, trails, what they select and deliver, and the digests that prove it.

use service::Entry;

pub mod record;
pub mod selector;
pub mod trail;

/// Every operation of CloudTrail that is a pure change of state.
pub const OPERATIONS: &[&[Entry]] = &[trail::OPERATIONS];
