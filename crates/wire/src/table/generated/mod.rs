// Made by `cargo xtask codegen` from the AWS service models and xtask/data/corrections.toml. Do not edit.
#![doc = "The tables themselves."]

#[rustfmt::skip]
mod apigateway;
#[rustfmt::skip]
mod apigatewayv2;
#[rustfmt::skip]
mod lambda;
#[rustfmt::skip]
mod iam;
#[rustfmt::skip]
mod sts;
#[rustfmt::skip]
mod cloudtrail;
#[rustfmt::skip]
mod logs;
#[rustfmt::skip]
mod s3;
#[rustfmt::skip]
mod cloudformation;
#[rustfmt::skip]
mod organizations;

/// Every service.
#[rustfmt::skip]
pub static SERVICES: &[&super::Service] = &[&apigateway::SERVICE, &apigatewayv2::SERVICE, &lambda::SERVICE, &iam::SERVICE, &sts::SERVICE, &cloudtrail::SERVICE, &logs::SERVICE, &s3::SERVICE, &cloudformation::SERVICE, &organizations::SERVICE];
