//! AWS_PROXY: a function gets the request as an event and answers it whole.
//!
//! Source: API Gateway Developer Guide, "Set up Lambda proxy integrations in API Gateway"; answers recorded on AWS.

use apigateway::integration::Integration as Record;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Proxied;
use crate::{
    Shared,
    call::{self, Call, Failed, FailedKind, Origin},
    envelope::Envelope,
    journal::{Called, Journal, Step},
    logging::Level,
    reject::{Rejection, ResponseType},
    texts,
};

/// An AWS_PROXY integration, compiled.
#[derive(Debug)]
pub(crate) struct LambdaProxy {
    call: Call,
    timeout_ms: u64,
}

impl LambdaProxy {
    pub(crate) fn call(&self) -> &Call {
        &self.call
    }

    pub(super) fn compile(record: &Record, place: &str, origin: &Origin<'_>) -> Result<Self, String> {
        if record.http_method.as_deref() != Some("POST") {
            return Err("a function is invoked by POST".to_owned());
        }
        let uri = record.uri.as_deref().ok_or("the integration has no URI")?;
        let call = Call::compile(uri, record.credentials.as_deref(), place, origin)?;
        Ok(Self { call, timeout_ms: u64::from(record.timeout_in_millis) })
    }
}

pub(super) async fn call(
    proxy: &LambdaProxy,
    event: Vec<u8>,
    shared: &Shared,
    envelope: &Envelope,
    journal: &mut Journal,
) -> Result<Proxied, Rejection> {
    let request = proxy.call.with(event, envelope.request_id(), proxy.timeout_ms);
    let outcome = match call::invoke(request, Called::Integration, shared, journal).await {
        Ok((outcome, latency_ms)) => {
            journal.line(Level::Info, || texts::received_response(latency_ms));
            outcome
        }
        Err(Failed { reason, kind, why }) => {
            journal.step(Step::NotInvoked { called: Called::Integration, why });
            return Err(match kind {
                FailedKind::Configuration => Rejection::api_configuration(&reason),
                FailedKind::TimedOut => Rejection::of(ResponseType::IntegrationTimeout).because(reason),
                FailedKind::Run => {
                    Rejection::of(ResponseType::IntegrationFailure).because(texts::configuration_error(&reason))
                }
            });
        }
    };
    journal.line(Level::Trace, || texts::endpoint_answer(&outcome.payload));
    if outcome.function_error.is_some() {
        return Err(Rejection::malformed_proxy_response());
    }
    read(&outcome.payload).ok_or_else(Rejection::malformed_proxy_response)
}

/// The only members an answer may have.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    #[serde(default)]
    status_code: Option<Value>,
    #[serde(default)]
    headers: Option<Map<String, Value>>,
    #[serde(default)]
    multi_value_headers: Option<Map<String, Value>>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: Option<bool>,
}

/// A function's answer, or `None` if it is malformed.
fn read(payload: &[u8]) -> Option<Proxied> {
    // A struct would also be read from a list.
    if payload.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    let document: Document = serde_json::from_slice(payload).ok()?;
    let status = match document.status_code {
        None => 200,
        Some(Value::Number(number)) => number.as_u64().and_then(|number| u16::try_from(number).ok())?,
        Some(Value::String(text)) => text.parse().ok()?,
        Some(_) => return None,
    };
    if !(200..=599).contains(&status) {
        return None;
    }
    let mut headers = Vec::new();
    for (name, values) in document.multi_value_headers.unwrap_or_default() {
        let Value::Array(values) = values else { return None };
        for value in values {
            push(&mut headers, name.clone(), value)?;
        }
    }
    for (name, value) in document.headers.unwrap_or_default() {
        // A name in both maps keeps the spelling it has in the other one; its values come first.
        let spelled = headers.iter().find(|(own, _): &&(String, String)| own.eq_ignore_ascii_case(&name));
        let name = spelled.map_or(name, |(own, _)| own.clone());
        push(&mut headers, name, value)?;
    }
    // The text is sent even if it is base64: it would be decoded for media types the API calls binary, and this
    // version knows none.
    let _base64 = document.is_base64_encoded;
    Some(Proxied { status, headers, body: document.body.map(Bytes::from).unwrap_or_default() })
}

/// Adds a field; `None` if it cannot be one. A null leaves the field out.
fn push(headers: &mut Vec<(String, String)>, name: String, value: Value) -> Option<()> {
    let value = match value {
        Value::String(text) => text,
        Value::Bool(flag) => flag.to_string(),
        Value::Null => return Some(()),
        // [U] Whether AWS takes numbers here was not recorded; another emulator's authors saw them refused.
        _ => return None,
    };
    http::HeaderName::from_bytes(name.as_bytes()).ok()?;
    http::HeaderValue::from_bytes(value.as_bytes()).ok()?;
    headers.push((name, value));
    Some(())
}

#[cfg(test)]
mod tests {
    use super::read;

    /// Status, headers and body.
    type Read<'a> = (u16, &'a [(&'a str, &'a str)], &'a str);

    fn check(payload: &str, expected: Option<Read<'_>>) {
        let answer = read(payload.as_bytes());
        let seen = answer.as_ref().map(|answer| {
            let headers: Vec<(&str, &str)> = answer.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            (answer.status, headers, std::str::from_utf8(&answer.body).unwrap())
        });
        let expected = expected.map(|(status, headers, body)| (status, headers.to_vec(), body));
        assert_eq!(seen, expected, "{payload}");
    }

    #[test]
    fn answers_in_the_documented_form_are_read() {
        check("{}", Some((200, &[], "")));
        check(r#"{"statusCode":404,"body":"no"}"#, Some((404, &[], "no")));
        check(r#"{"statusCode":"201","body":null,"headers":null,"isBase64Encoded":false}"#, Some((201, &[], "")));
        check(
            r#"{"headers":{"x-a":"1","B":true,"c":null},"multiValueHeaders":{"X-A":["2","3"]}}"#,
            Some((200, &[("X-A", "2"), ("X-A", "3"), ("X-A", "1"), ("B", "true")], "")),
        );
        check(r#"{"isBase64Encoded":true,"body":"aGk="}"#, Some((200, &[], "aGk=")));
    }

    #[test]
    fn everything_else_is_malformed() {
        for payload in [
            "",
            "null",
            "[]",
            "\"ok\"",
            "[200]",
            r#"{"statusCode":200,"extra":1}"#,
            r#"{"statusCode":"x"}"#,
            r#"{"statusCode":99}"#,
            r#"{"statusCode":1000}"#,
            r#"{"statusCode":200.5}"#,
            r#"{"statusCode":true}"#,
            r#"{"body":{}}"#,
            r#"{"body":1}"#,
            r#"{"headers":[]}"#,
            r#"{"headers":{"a":1}}"#,
            r#"{"headers":{"a":{}}}"#,
            r#"{"multiValueHeaders":{"a":"b"}}"#,
            r#"{"headers":{"a b":"c"}}"#,
            r#"{"headers":{"a":"b\r\nc: d"}}"#,
            r#"{"isBase64Encoded":"yes"}"#,
            "{",
        ] {
            check(payload, None);
        }
    }
}
