//! What every answer of S3 carries, and its errors.

use bytes::Bytes;
use platform::s3::object::BYTES_MAX;
use serde_json::Map;
use service::ServiceError;
use wire::{
    protocol,
    route::{self, Head},
    table::{self, Operation},
};

use super::{call::Call, operations};
use crate::{decisions::RefusedCall, dispatch::Response};

/// The answer of the protocol crate, or the error that was kept beside it.
pub(super) async fn of(call: &Call, answered: Result<s3s::HttpResponse, s3s::HttpError>) -> Response {
    if let Some(error) = call.take_refusal() {
        return refusal(call, error);
    }
    let (parts, mut body) = match answered {
        Ok(response) => response.into_parts(),
        Err(error) => {
            let cause = s3s::StdError::from(error).to_string();
            return refusal(call, ServiceError::internal(cause));
        }
    };
    let bytes_max = usize::try_from(BYTES_MAX).unwrap_or(usize::MAX).saturating_mul(2);
    let body = match body.store_all_limited(bytes_max).await {
        Ok(body) => body,
        Err(error) => return refusal(call, ServiceError::internal(error.to_string())),
    };
    let status = parts.status.as_u16();
    if status >= 400 {
        return refusal(call, of_protocol(call, status, &body));
    }
    let is_head = call.request.method == "HEAD";
    let mut headers = request_ids(&call.request_id);
    for (name, value) in &parts.headers {
        // The length is the listener's to say, but for HEAD, whose body is not there to be counted.
        if name == http::header::CONTENT_LENGTH && !is_head {
            continue;
        }
        if let Ok(value) = value.to_str() {
            headers.push((name.as_str().to_owned(), value.to_owned()));
        }
    }
    Response { status, headers, body: if is_head { Bytes::new() } else { body } }
}

fn request_ids(request_id: &str) -> Vec<(String, String)> {
    vec![("x-amz-request-id".to_owned(), request_id.to_owned()), ("x-amz-id-2".to_owned(), request_id.to_owned())]
}

/// Logs an error where it is handled, and spells it.
pub(super) fn refusal(call: &Call, error: ServiceError) -> Response {
    if let Some(cause) = &error.cause {
        let request_id = &call.request_id;
        tracing::error!(request_id, service = "s3", code = %error.code, cause, "a call failed");
    }
    let mut response = self::error(&error, &call.request_id, call.request.method == "HEAD");
    // Objects that are not there are no decision of a policy.
    if error.status == 403 {
        let decision = call.inner.keep_refusal(RefusedCall {
            now: call.now,
            request_id: call.request_id.clone(),
            account: call.caller.as_ref().map(|caller| caller.account.as_str().to_owned()),
            caller_arn: call.caller.as_ref().map(service::Caller::arn),
            service: call.service.name,
            operation: None,
            region: call.region.clone(),
            code: error.code.to_string(),
            message: error.message,
            explanation: error.explanation.map(|explanation| *explanation),
        });
        response.headers.extend(call.inner.decision_header(decision));
    }
    response
}

/// Spells an error. HEAD and 304 have no body.
pub(super) fn error(error: &ServiceError, request_id: &str, is_head: bool) -> Response {
    let mut error = error.clone();
    match error.code.as_ref() {
        "InternalFailure" => {
            error.code = "InternalError".into();
            error.message = "We encountered an internal error. Please try again.".into();
        }
        "ServiceUnavailableException" => error.code = "ServiceUnavailable".into(),
        _ => {}
    }
    let Some(service) = table::service("s3") else {
        return Response { status: 500, headers: Vec::new(), body: Bytes::new() };
    };
    let mut response = Response::from(protocol::encode_error(service, &error, request_id));
    let has = |headers: &[(String, String)], name: &str| headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    for (name, value) in request_ids(request_id) {
        if !has(&response.headers, &name) {
            response.headers.push((name, value));
        }
    }
    if is_head || error.status == 304 {
        response.body = Bytes::new();
        response.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
    }
    response
}

/// The answer when a call came to no end of its own.
pub(super) fn failed(is_head: bool) -> Response {
    error(&ServiceError::internal("a panic"), &uuid::Uuid::new_v4().to_string(), is_head)
}

/// What the protocol crate refused by itself, in AWS's words where it has none: a route nobody serves, bytes that are no
/// request.
fn of_protocol(call: &Call, status: u16, body: &[u8]) -> ServiceError {
    // A body may be malformed for an operation that is not served: the latter is what the client should read.
    match operation(call) {
        Ok(op) if status == 501 || !operations::NAMES.contains(&op.name) => return not_implemented(call, op),
        Err(error) if status == 501 => return error,
        _ => {}
    }
    let text = String::from_utf8_lossy(body);
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(value, _)| value.to_owned())
    };
    let code = element("Code").unwrap_or_else(|| "InternalError".into());
    let message = element("Message").filter(|message| !message.contains('&')).unwrap_or_else(|| sentence(&code).into());
    let error = ServiceError::new(code, status, message);
    if status >= 500 { error.with_cause(text) } else { error }
}

fn sentence(code: &str) -> &'static str {
    match code {
        "InvalidBucketName" => "The specified bucket is not valid.",
        "InvalidURI" => "Couldn't parse the specified URI.",
        "KeyTooLongError" => "Your key is too long",
        "MalformedXML" => "The XML you provided was not well-formed or did not validate against our published schema",
        "MethodNotAllowed" => "The specified method is not allowed against this resource.",
        "MissingRequestBodyError" => "Request Body is empty",
        "InternalError" => "We encountered an internal error. Please try again.",
        _ => "The request is not valid.",
    }
}

/// What the table makes of the request, for the client's and the record's sake.
fn operation(call: &Call) -> Result<&'static Operation, ServiceError> {
    let headers: Vec<(&str, &str)> =
        call.headers.iter().filter_map(|(n, v)| Some((n.as_str(), std::str::from_utf8(v).ok()?))).collect();
    let head = Head {
        method: &call.request.method,
        raw_path: &call.path,
        raw_query: call.query.as_deref(),
        headers: &headers,
    };
    route::operation(call.service, &head, &call.body)
}

/// Names the operation that is not served, and records the call like any other refusal.
fn not_implemented(call: &Call, op: &'static Operation) -> ServiceError {
    let text =
        format!("{} of s3 is not available in this version of Portcullis. docs/coverage.md lists what is.", op.name);
    let error = ServiceError::new("NotImplemented", 501, text);
    match call.recorded(op, None, Map::new(), error) {
        Ok(error) | Err(error) => error,
    }
}
