//! The four protocols: bytes to one value, and back.

use std::ops::Range;

use serde_json::Value;

use crate::ServiceError;
use crate::route::Head;
use crate::table::{Operation, Service};

/// A decoded request.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// An object of the model's member names, in model order.
    pub params: Value,
    /// Where the raw bytes are, when one member is the whole body.
    pub payload: Option<Payload>,
}

/// The member that is the whole body, left in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// Its model name.
    pub member: &'static str,
    /// Which bytes of the body.
    pub range: Range<usize>,
}

/// An answer, but for what HTTP adds (length, date).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// HTTP status.
    pub status: u16,
    /// Headers in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Reads a request.
///
/// # Errors
/// `SerializationException` for wrong types, the service's validation error for broken constraints.
pub fn decode(_op: &'static Operation, _head: &Head<'_>, _body: &[u8]) -> Result<Decoded, ServiceError> {
    Err(ServiceError::new("UnknownOperationException", 404, ""))
}

/// Writes an answer.
#[must_use]
pub fn encode(_op: &'static Operation, _output: &Value, _request_id: &str) -> Encoded {
    Encoded { status: 500, headers: Vec::new(), body: Vec::new() }
}

/// Writes an error.
#[must_use]
pub fn encode_error(_service: &'static Service, _error: &ServiceError, _request_id: &str) -> Encoded {
    Encoded { status: 500, headers: Vec::new(), body: Vec::new() }
}
