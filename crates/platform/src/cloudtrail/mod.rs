//! CloudTrail: records, trails, what they select and deliver, and the digests that prove it.

use service::Entry;

pub mod bucket;
pub mod digest;
mod error;
pub mod layout;
pub mod logging;
pub mod name;
pub mod public_key;
pub mod record;
pub mod selector;
pub mod tag;
#[cfg(test)]
mod tests;
pub mod trail;

/// Every operation of CloudTrail that is a pure change of state.
pub const OPERATIONS: &[&[Entry]] =
    &[trail::OPERATIONS, logging::OPERATIONS, selector::OPERATIONS, tag::OPERATIONS, public_key::OPERATIONS];
