//! The IAM policy language: ARNs, documents, conditions, evaluation.
//!
//! A document is parsed once ([`Policy::parse`]) into a compiled, immutable form and asked many times
//! ([`Policy::evaluate`]). [`decide`] combines the documents that bear on one call. The crate knows no clock, no
//! network and no store: everything a condition may look at stands in [`Context`].
//!
//! Sources: IAM User Guide, "IAM JSON policy reference"; API Gateway Developer Guide, "Control access to an API with
//! API Gateway resource policies".
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::arithmetic_side_effects
    )
)]

mod arn;
mod context;
mod decide;
mod document;
mod error;
mod evaluate;

/// The deepest nesting of objects and lists read, far above what the language needs.
pub const NESTING_MAX: usize = 16;

pub use arn::{AccountId, Arn, ParseArnError, Region, action_matches, arn_like, resource_matches, string_like};
pub use context::Context;
pub use decide::{Decide, Decision, DeniedBy, Denial, PolicyKind, decide};
pub use document::{Kind, Policy};
pub use error::ParseError;
pub use evaluate::{AwsPrincipal, Effect, Principal, Request, StatementRef, Verdict};
