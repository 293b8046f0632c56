//! IAM: users, access keys, roles and policies.

pub mod access_key;
