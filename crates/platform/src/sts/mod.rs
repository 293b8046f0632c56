//! STS: temporary credentials.

use service::Entry;

pub mod token;

pub use token::{Issued, issue};

/// Every operation of STS.
pub const OPERATIONS: &[&[Entry]] = &[];
