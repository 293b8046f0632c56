//! API Gateway REST APIs: every noun with its operations, and the snapshot a deployment freezes.
//!
//! One noun, one file: the record, its invariants, its PATCH paths, its operations. This crate knows no socket, no
//! store and no clock; the data plane knows it only through [`snapshot::Snapshot`] and [`stage::Stage`].
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)
)]

pub mod authorizer;
pub mod deployment;
pub mod integration;
pub mod method;
pub mod resource;
pub mod rest_api;
pub mod snapshot;
pub mod stage;
