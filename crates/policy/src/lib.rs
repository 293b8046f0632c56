//! The IAM policy language: ARNs, documents, conditions, evaluation.
//!
//! A document is parsed once ([`Policy::parse`]) into a compiled, immutable form and asked many times
//! ([`Policy::evaluate`]). [`decide()`] combines the documents that bear on one call. The crate knows no clock, no
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
mod arn_pattern;
mod condition;
mod context;
mod decide;
mod document;
mod error;
mod evaluate;
mod index;
mod json;
mod near;
mod principal;
mod raw;
mod statement;
mod template;
mod values;
mod wildcard;

#[cfg(test)]
mod tests;

pub use arn::{
    ARN_BYTES_MAX, AccountId, Arn, ParseArnError, Region, action_matches, arn_like, resource_matches, string_like,
};
pub use context::Context;
pub use decide::{Decide, Decision, Denial, DeniedBy, Ground, Judgement, NearIn, PolicyKind, decide, judge, nearest};
pub use document::{Kind, Policy, Version};
pub use error::{Detail, ParseError};
pub use evaluate::{AwsPrincipal, Effect, Principal, Request, StatementRef, Verdict};
pub use json::parse_json;
pub use near::{Failed, Near, Written};

/// The deepest nesting of objects and lists read, far above what the language needs.
pub const NESTING_MAX: usize = 16;
/// The longest document read, in bytes: what IAM's operations take. Each service has tighter limits of its own.
pub const DOCUMENT_BYTES_MAX: usize = 131_072;
/// The longest policy a Lambda authorizer may answer, in bytes.
pub const AUTHORIZER_BYTES_MAX: usize = 8192;
/// The longest `Resource` in a policy a Lambda authorizer answers, in characters.
pub const AUTHORIZER_RESOURCE_CHARS_MAX: usize = 512;
