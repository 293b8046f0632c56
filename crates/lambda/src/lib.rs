//! Lambda: functions, versions, permissions, and the port through which they are invoked.
//!
//! One noun, one file: the record, its invariants, its operations. What an invocation needs to know of them stands in
//! [`directory`]; the invocation itself is behind the ports of [`invoke`]. This crate does no I/O, reads no clock and does
//! not panic.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)
)]

pub mod alias;
mod check;
pub mod concurrency;
pub mod configuration;
pub mod directory;
mod error;
pub mod event_invoke_config;
pub mod function;
pub mod invoke;
pub mod layer;
pub mod life;
pub mod logging;
pub mod name;
mod paging;
pub mod permission;
pub mod provisioned;
pub mod runtime_management;
pub mod tags;
pub mod version;

#[cfg(test)]
mod harness;
#[cfg(test)]
mod model_tests;

/// Every operation of Lambda that is a pure change of records. Invoke waits for a function and is none.
pub const OPERATIONS: &[&[service::Entry]] = &[
    function::OPERATIONS,
    version::OPERATIONS,
    alias::OPERATIONS,
    permission::OPERATIONS,
    tags::OPERATIONS,
    concurrency::OPERATIONS,
    layer::OPERATIONS,
    provisioned::OPERATIONS,
    event_invoke_config::OPERATIONS,
    runtime_management::OPERATIONS,
];
