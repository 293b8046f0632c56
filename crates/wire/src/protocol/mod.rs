//! The four protocols: bytes to one value, and back.
//!
//! A request becomes an object of the model's member names whatever its protocol; an answer is such an object. What the
//! model says of types, presence, enumerations, lengths, patterns and ranges is checked here, with AWS's texts.

mod aws_query;
mod fault;
mod read;
mod rest_json;
mod time;
mod validate;
mod write;
mod xml;

use std::ops::Range;

use serde_json::{Map, Value};

use crate::ServiceError;
use crate::route::Head;
use crate::table::{Kind, Location, Operation, Protocol, Service, Shape};

pub use fault::encode_error;

/// Largest body of calls that carry function code. Source: AWS's own refusal, `Request must be smaller than 70167211
/// bytes for the CreateFunction operation`.
const CODE_BODY_BYTES_MAX: usize = 70_167_211;

/// Largest body of a Lambda invocation. Source: AWS Lambda Developer Guide, "Lambda quotas" (6 MB, 6,291,556 bytes as
/// its refusals print it).
const INVOKE_BODY_BYTES_MAX: usize = 6_291_556;

/// Largest body of everything else: the 6 MB of an API definition with room for the rest.
const BODY_BYTES_MAX: usize = 10 << 20;

/// Deepest nesting of what is read and written.
const DEPTH_MAX: usize = 64;

/// A decoded request.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// An object of the model's member names, in model order. Blobs are base64 text, instants epoch seconds.
    pub params: Value,
    /// Where the raw bytes are, when one member is the whole body. It is not in `params`.
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

/// How many bytes the body of a call may have; a reader need not buffer more.
#[must_use]
pub fn body_bytes_max(op: &Operation) -> usize {
    match (op.service.name, op.name) {
        ("lambda", "CreateFunction" | "UpdateFunctionCode" | "PublishLayerVersion") => CODE_BODY_BYTES_MAX,
        ("lambda", "Invoke" | "InvokeAsync" | "InvokeWithResponseStream") => INVOKE_BODY_BYTES_MAX,
        _ => BODY_BYTES_MAX,
    }
}

/// The refusal of a body above [`body_bytes_max`].
#[must_use]
pub fn body_too_large(op: &Operation) -> ServiceError {
    let code = if op.service.name == "lambda" { "RequestTooLargeException" } else { "RequestEntityTooLargeException" };
    let text = format!("Request must be smaller than {} bytes for the {} operation", body_bytes_max(op), op.name);
    ServiceError::new(code, 413, text)
}

/// Reads a request of a known operation. Members the model does not know are ignored, as AWS does; `null` is absence.
///
/// # Errors
/// - 413 for a body above [`body_bytes_max`];
/// - `SerializationException` (awsQuery: `MalformedInput`) 400 for what is not JSON or of the wrong type;
/// - the service's validation error 400 naming every constraint that is broken, body members first.
pub fn decode(op: &'static Operation, head: &Head<'_>, body: &[u8]) -> Result<Decoded, ServiceError> {
    if body.len() > body_bytes_max(op) {
        return Err(body_too_large(op));
    }
    let decoded = read_request(op, head, body)?;
    if let Some(shape) = op.input {
        validate::check(op, shape, &decoded)?;
    }
    Ok(decoded)
}

/// The request's values, before the model's constraints are checked.
fn read_request(op: &'static Operation, head: &Head<'_>, body: &[u8]) -> Result<Decoded, ServiceError> {
    let params = match (op.input, op.service.protocol) {
        (None, _) | (_, Protocol::RestXml) => Value::Object(Map::new()),
        (Some(shape), Protocol::RestJson) => return rest_json::decode(op, shape, head, body),
        (Some(shape), Protocol::AwsJson) => read::value(shape, read::document(body)?, 0)?,
        (Some(shape), Protocol::AwsQuery) => {
            let form = if head.method == "POST" && !body.is_empty() { body } else { head.query() };
            aws_query::decode(shape, form)?
        }
    };
    Ok(Decoded { params, payload: None })
}

/// Writes the answer of a successful call.
///
/// `output` uses the model's member names. Members that travel in headers or are the status go there; unknown members
/// and `null`s are dropped (but for `null` entries of a map, which AWS keeps where it has them). An instant given as a
/// number gets the form of the protocol, one given as text stays. A blob or string that is the whole body is written as
/// it stands; bytes that are not text go through [`encode_payload`].
#[must_use]
pub fn encode(op: &'static Operation, output: &Value, request_id: &str) -> Encoded {
    let mut encoded = frame(op, output, request_id);
    match op.service.protocol {
        Protocol::RestJson => {
            if let Some(shape) = op.output {
                encoded.body = rest_json::body(shape, output);
            }
            if encoded.status == 204 {
                encoded.body.clear();
            }
            if !encoded.body.is_empty() {
                content_type(&mut encoded, rest_json::content_type(op));
            }
        }
        Protocol::AwsJson => {
            if let Some(shape) = op.output {
                write::value(&mut encoded.body, shape, output, false);
            }
            content_type(&mut encoded, "application/x-amz-json-1.1");
        }
        Protocol::AwsQuery => {
            encoded.body = aws_query::body(op, output, request_id);
            content_type(&mut encoded, "text/xml");
        }
        Protocol::RestXml => {}
    }
    encoded
}

/// As [`encode`], with the bytes of the member that is the whole body.
#[must_use]
pub fn encode_payload(op: &'static Operation, output: &Value, payload: Vec<u8>, request_id: &str) -> Encoded {
    let mut encoded = frame(op, output, request_id);
    encoded.body = payload;
    if !encoded.body.is_empty() {
        content_type(&mut encoded, rest_json::content_type(op));
    }
    encoded
}

/// Status and headers of an answer.
fn frame(op: &'static Operation, output: &Value, request_id: &str) -> Encoded {
    let mut encoded = Encoded { status: op.status, headers: Vec::new(), body: Vec::new() };
    request_id_header(&mut encoded, op.service, request_id);
    let Some(structure) = op.output.and_then(Shape::structure) else { return encoded };
    for member in structure.members {
        let Some(value) = output.get(member.name).filter(|value| !value.is_null()) else { continue };
        match (member.location, &member.shape.kind) {
            (Location::Status, _) => {
                if let Some(status) = value.as_u64().and_then(|status| u16::try_from(status).ok()) {
                    encoded.status = status;
                }
            }
            (Location::Header, _) => push_header(&mut encoded, member.wire, &write::text(member.shape, value)),
            (Location::Headers, Kind::Map { value: shape, .. }) => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    push_header(&mut encoded, &format!("{}{key}", member.wire), &write::text(shape, value));
                }
            }
            _ => {}
        }
    }
    encoded
}

fn request_id_header(encoded: &mut Encoded, service: &Service, request_id: &str) {
    let name = if service.protocol == Protocol::RestXml { "x-amz-request-id" } else { "x-amzn-RequestId" };
    push_header(encoded, name, request_id);
}

/// Sets the content type unless a member of the output has.
fn content_type(encoded: &mut Encoded, kind: &str) {
    if !encoded.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        push_header(encoded, "Content-Type", kind);
    }
}

/// Adds a header. Control characters are dropped: values may hold text a caller chose, and a line break in one would
/// let the caller write headers.
fn push_header(encoded: &mut Encoded, name: &str, value: &str) {
    let value: String = value.chars().filter(|c| !c.is_control()).collect();
    encoded.headers.push((name.to_owned(), value));
}

#[cfg(test)]
mod tests;
