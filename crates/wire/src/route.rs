//! Which service and operation a request names.

use crate::ServiceError;
use crate::table::{Operation, Service};

/// What is known of a request before its body is read.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// HTTP method in upper case.
    pub method: &'a str,
    /// Path as it stood on the request line, still percent-encoded.
    pub raw_path: &'a str,
    /// Query as sent, without the question mark.
    pub raw_query: Option<&'a str>,
    /// Headers in order of arrival; names in any case.
    pub headers: &'a [(&'a str, &'a str)],
}

/// What [`service_of`] found.
#[derive(Debug, Clone, PartialEq)]
pub enum Routed {
    /// One of the table's services.
    Service(&'static Service),
    /// Signed for `execute-api`: the data plane.
    ExecuteApi,
    /// Signed for, or aimed at, a service that is not served: its name.
    Unsupported(String),
}

impl<'a> Head<'a> {
    /// The first header of that name, ignoring case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

/// Decides which service a request is for.
#[must_use]
pub fn service_of(_head: &Head<'_>, _body_prefix: &[u8]) -> Routed {
    Routed::Unsupported(String::new())
}

/// Decides which operation of `service` a request names.
///
/// # Errors
/// AWS's answer to an unknown operation, by protocol.
pub fn operation(
    _service: &'static Service,
    _head: &Head<'_>,
    _body: &[u8],
) -> Result<&'static Operation, ServiceError> {
    Err(ServiceError::new("UnknownOperationException", 404, ""))
}
