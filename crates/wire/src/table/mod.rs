//! The operation table, generated from the AWS service models.
//!
//! Static data: services, their operations, and the shapes of what goes in and out. The tables hold interface facts
//! only; what AWS was recorded to do otherwise is merged in by `cargo xtask codegen` from `xtask/data/corrections.toml`.

mod resource;
mod shape;

pub mod generated;

pub use shape::{Kind, Limits, Location, Member, Pattern, Shape, ShapeRef, Structure, TimestampFormat};
use shape::{NONE, m, p};

use serde_json::Value;

/// How a service spells requests and answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Method and path, JSON body (restJson1): apigateway, apigatewayv2, lambda.
    RestJson,
    /// `X-Amz-Target`, JSON body (awsJson1.1): cloudtrail, logs, organizations.
    AwsJson,
    /// Form body with `Action` and `Version`, XML answers (awsQuery): iam, sts, cloudformation.
    AwsQuery,
    /// Method, path and subresource query, XML bodies (restXml): s3, whose bodies another crate reads.
    RestXml,
}

/// One AWS service as its model describes it.
pub struct Service {
    /// botocore's name, such as `apigateway`.
    pub name: &'static str,
    /// Its protocol.
    pub protocol: Protocol,
    /// The service part of a SigV4 credential scope.
    pub signing_name: &'static str,
    /// Version of the model, which is also the `Version` of awsQuery.
    pub api_version: &'static str,
    /// `xmlns` of awsQuery answers; empty elsewhere.
    pub xml_namespace: &'static str,
    /// What precedes the last dot of `X-Amz-Target`; empty outside awsJson.
    pub target_prefix: &'static str,
    /// CloudTrail's `eventSource`.
    pub event_source: &'static str,
    /// Every operation of the model, by name in byte order.
    pub operations: &'static [Operation],
}

/// One operation.
pub struct Operation {
    /// AWS's name, such as `CreateRestApi`.
    pub name: &'static str,
    /// The service it belongs to.
    pub service: &'static Service,
    /// HTTP method.
    pub method: &'static str,
    /// Path template with `{label}`s and, where AWS routes on it, a literal query.
    pub uri: &'static str,
    /// Status of success, as recorded from AWS where the model is wrong.
    pub status: u16,
    /// Order of importance: 1 the walk-through, 2 common tools, 3 the rest.
    pub tier: u8,
    /// What the caller must be allowed to do; `None` where AWS asks for nothing.
    pub iam_action: Option<&'static str>,
    /// Template of the resource ARN; see [`Operation::resource_arn`].
    pub iam_resource: &'static str,
    /// CloudTrail's `eventName`.
    pub trail_name: &'static str,
    /// CloudTrail's `readOnly`.
    pub read_only: bool,
    /// Whether AWS takes the call unsigned (STS with a web identity or SAML).
    pub unsigned: bool,
    /// Whether AWS has replaced the operation; it loses to another with the same path.
    pub deprecated: bool,
    /// Shape of the input; `None` where there is none, and for s3.
    pub input: Option<ShapeRef>,
    /// Shape of the output; `None` where there is none, and for s3.
    pub output: Option<ShapeRef>,
    /// awsQuery's element around the output; empty elsewhere.
    pub result_wrapper: &'static str,
    /// Errors of the model with their HTTP status.
    pub errors: &'static [(&'static str, u16)],
    /// Query and header names by which s3 tells operations of one path apart; empty elsewhere.
    pub route_query: &'static [&'static str],
    /// As [`Operation::route_query`], for headers.
    pub route_headers: &'static [&'static str],
}

/// The service of that name, by botocore's spelling.
#[must_use]
pub fn service(name: &str) -> Option<&'static Service> {
    services().iter().find(|service| service.name == name).copied()
}

/// All services of the table.
#[must_use]
pub fn services() -> &'static [&'static Service] {
    generated::SERVICES
}

/// Every operation as (service, operation, tier), in the order of the tables: what a coverage page is made of.
pub fn coverage() -> impl Iterator<Item = (&'static str, &'static str, u8)> {
    services().iter().flat_map(|service| {
        service.operations.iter().map(move |operation| (service.name, operation.name, operation.tier))
    })
}

impl Service {
    /// The operation of that name; names are case-sensitive.
    #[must_use]
    pub fn operation(&self, name: &str) -> Option<&'static Operation> {
        let index = self.operations.binary_search_by(|operation| operation.name.cmp(name)).ok()?;
        self.operations.get(index)
    }
}

impl Operation {
    /// Fills the template of [`Operation::iam_resource`] for one call.
    ///
    /// API Gateway's resource is the request path itself (without `/v2`), as sent. Elsewhere a `{Member}` is taken from
    /// `params`; a member that holds an ARN replaces the whole template. Where a member is missing it becomes `*`.
    /// IAM paths are known only from the record, so an entity addressed by name stands at path `/` unless `Path` is sent.
    ///
    /// Source: Service Authorization Reference, "Resource types defined by" each service.
    #[must_use]
    pub fn resource_arn(&self, params: &Value, raw_path: &str, account: &str, region: &str) -> String {
        resource::fill(self, params, raw_path, account, region)
    }

    /// Names of the input's members, in model order.
    pub fn members(&self) -> impl Iterator<Item = &'static str> {
        let members =
            self.input.and_then(Shape::structure).map_or(&[] as &'static [Member], |structure| structure.members);
        members.iter().map(|member| member.name)
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.service.name, self.name)
    }
}

impl PartialEq for Operation {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl PartialEq for Service {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

#[cfg(test)]
mod tests;
