//! The seam every AWS operation is written against.
//!
//! An operation is a type with an input, an output and one pure function from (input, context, state) to (output,
//! changed state). Who called, what time it is, random bytes and sealed secrets come through [`Cx`]; records are read
//! and written through [`Tx`], which sees one consistent revision of the store. Committing, recording and answering
//! happen around the function, once for all operations, in `control`.
//!
//! This crate does no I/O, reads no clock and does not panic.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)
)]

mod caller;
mod cx;
mod operation;
pub mod patch;
pub mod principal;
mod record;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod time;
mod tx;

pub use caller::{Caller, Identity, Session};
pub use cx::{Cx, Host, Provisioned};
pub use operation::{Entry, Need, Operation, Upload};
pub use record::{Key, Record, Scope};
pub use time::Timestamp;
pub use tx::{Changes, Parent, Range, Reader, Tx, decode_document};
pub use wire::{MessageMember, ServiceError};

/// What an operation and everything it calls returns.
pub type Result<T> = std::result::Result<T, ServiceError>;
