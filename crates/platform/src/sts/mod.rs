//! STS: temporary credentials.

use service::Entry;

pub mod caller_identity;
pub mod role_session;
pub mod session;
#[cfg(test)]
mod tests;
pub mod token;

pub use token::{Issued, issue};

/// Every operation of STS.
pub const OPERATIONS: &[&[Entry]] = &[caller_identity::OPERATIONS, role_session::OPERATIONS, session::OPERATIONS];
