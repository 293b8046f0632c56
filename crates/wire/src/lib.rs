//! The AWS wire: Signature Version 4, the four protocols, the operation table.
//!
//! This crate turns bytes into one [`serde_json::Value`] per call and back. It is the only one that knows
//! restJson1 from awsQuery; it does no I/O, reads no clock and does not panic.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)
)]

pub mod error;
mod form;
pub mod protocol;
pub mod route;
pub mod sigv4;
pub mod table;

pub use error::{MessageMember, ServiceError};
