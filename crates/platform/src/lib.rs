//! The services around API Gateway and Lambda: IAM, STS, CloudTrail, CloudWatch Logs, S3, and the installation's accounts.
//!
//! One folder a service, one file a noun, each with its records and operations. Pure: no store, no clock, no socket.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)
)]

pub mod account;
pub mod cloudtrail;
pub mod iam;
pub mod logs;
pub mod s3;
pub mod sts;
