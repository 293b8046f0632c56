//! IAM: users, access keys, roles and policies.

use serde::Serialize;
use service::Entry;

pub mod absent;
pub mod access_key;
pub mod attached_policy;
pub mod attachment;
pub mod aws_managed;
mod document;
pub mod entity;
pub(crate) mod error;
pub mod inline_policy;
pub(crate) mod need;
pub mod page;
pub mod permissions_boundary;
pub mod policy;
pub mod policy_version;
pub mod principal;
pub mod role;
pub mod tag;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod trust;
pub mod usage;
pub mod user;

/// The answer of an operation that answers nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Done {}

/// Every operation of IAM.
pub const OPERATIONS: &[&[Entry]] = &[
    user::OPERATIONS,
    access_key::OPERATIONS,
    role::OPERATIONS,
    inline_policy::OPERATIONS,
    policy::OPERATIONS,
    policy_version::OPERATIONS,
    attached_policy::OPERATIONS,
    attachment::OPERATIONS,
    permissions_boundary::OPERATIONS,
    tag::OPERATIONS,
    absent::OPERATIONS,
];
