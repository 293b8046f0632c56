//! API Gateway REST APIs: every noun with its operations, and the snapshot a deployment freezes.
//!
//! One noun, one file: the record, its invariants, its PATCH paths, its operations. This crate knows no socket, no
//! store and no clock; the data plane knows it only through [`snapshot::Snapshot`] and [`stage::Stage`].
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)
)]

pub mod account;
pub mod api_key;
pub mod authorizer;
pub mod deployment;
mod error;
pub mod function_uri;
pub mod gateway_response;
pub mod identity_source;
pub mod integration;
pub mod integration_response;
pub mod limits;
pub mod mapping;
pub mod method;
pub mod method_response;
pub mod method_setting;
mod page;
pub mod pattern;
pub mod resource;
pub mod resource_policy;
pub mod rest_api;
mod role;

pub mod snapshot;
pub mod stage;
pub mod tag;
mod tally;
pub mod template;
pub mod test_invoke;
pub mod usage_plan;
pub mod usage_plan_key;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use page::Page;

/// The answer of operations that answer nothing.
#[derive(Debug, serde::Serialize)]
pub struct Nothing {}

/// Every operation of this crate, by noun.
pub const OPERATIONS: &[&[service::Entry]] = &[
    account::OPERATIONS,
    api_key::OPERATIONS,
    authorizer::OPERATIONS,
    deployment::OPERATIONS,
    gateway_response::OPERATIONS,
    integration::OPERATIONS,
    integration_response::OPERATIONS,
    method::OPERATIONS,
    method_response::OPERATIONS,
    resource::OPERATIONS,
    rest_api::OPERATIONS,
    stage::OPERATIONS,
    tag::OPERATIONS,
    usage_plan::OPERATIONS,
    usage_plan_key::OPERATIONS,
];
