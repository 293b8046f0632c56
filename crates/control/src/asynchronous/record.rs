//! The invocation record a destination gets. Members and their order as recorded from AWS.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use service::Timestamp;

use super::{event::Last, schedule::Condition};

/// What a record tells of an event at its end.
pub(crate) struct Told<'a> {
    pub now: Timestamp,
    pub request_id: &'a str,
    /// The function with its qualifier, `$LATEST` where none was given.
    pub function_arn: &'a str,
    pub condition: Condition,
    /// How often the function ran.
    pub tries: u32,
    pub event: &'a [u8],
    /// How the last try ended, if there was one.
    pub last: Option<&'a Last>,
    /// What the function answered, if it ran last.
    pub answer: Option<&'a [u8]>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InvocationRecord<'a> {
    version: &'static str,
    timestamp: String,
    request_context: RequestContext<'a>,
    request_payload: Payload<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_context: Option<&'a Last>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_payload: Option<Payload<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    request_id: &'a str,
    function_arn: &'a str,
    condition: &'static str,
    approximate_invoke_count: u32,
}

/// JSON as it came, or as text what is none: a custom runtime may answer anything.
#[derive(Serialize)]
#[serde(untagged)]
enum Payload<'a> {
    Json(&'a RawValue),
    Text(String),
}

impl<'a> Payload<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        match serde_json::from_slice::<&RawValue>(bytes) {
            Ok(json) => Self::Json(json),
            Err(_) => Self::Text(String::from_utf8_lossy(bytes).into_owned()),
        }
    }
}

impl Told<'_> {
    /// The record as JSON.
    ///
    /// [U] AWS's record of an event whose last try was throttled: here it has the status alone.
    pub(crate) fn encode(&self) -> Option<Bytes> {
        let record = InvocationRecord {
            version: "1.0",
            timestamp: format!("{}.{:03}Z", self.now.format("%Y-%m-%dT%H:%M:%S"), self.now.ms().rem_euclid(1000)),
            request_context: RequestContext {
                request_id: self.request_id,
                function_arn: self.function_arn,
                condition: self.condition.text(),
                approximate_invoke_count: self.tries,
            },
            request_payload: Payload::of(self.event),
            response_context: self.last,
            response_payload: self.answer.map(Payload::of),
        };
        serde_json::to_vec(&record).ok().map(Bytes::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told<'a>(condition: Condition, last: Option<&'a Last>, answer: Option<&'a [u8]>) -> String {
        let told = Told {
            now: Timestamp::from_ms(1_764_037_614_007),
            request_id: "r",
            function_arn: "arn:aws:lambda:us-east-1:444455556666:function:f:$LATEST",
            condition,
            tries: if last.is_some() { 3 } else { 0 },
            event: br#"{"a": 1}"#,
            last,
            answer,
        };
        String::from_utf8(told.encode().unwrap().to_vec()).unwrap()
    }

    const HEAD: &str = r#"{"version":"1.0","timestamp":"2025-11-25T02:26:54.007Z","requestContext":{"requestId":"r","functionArn":"arn:aws:lambda:us-east-1:444455556666:function:f:$LATEST","condition":"#;

    #[test]
    fn a_failure_is_told_with_the_answer_of_the_last_try() {
        let last = Last {
            status_code: 200,
            executed_version: Some("$LATEST".into()),
            function_error: Some("Unhandled".into()),
        };
        assert_eq!(
            told(Condition::RetriesExhausted, Some(&last), Some(br#"{"errorMessage":"no"}"#)),
            format!(
                "{HEAD}{}",
                r#""RetriesExhausted","approximateInvokeCount":3},"requestPayload":{"a": 1},"responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"},"responsePayload":{"errorMessage":"no"}}"#
            )
        );
    }

    #[test]
    fn a_success_names_no_error_and_an_event_that_never_ran_no_response() {
        let last = Last { status_code: 200, executed_version: Some("7".into()), function_error: None };
        let success = told(Condition::Success, Some(&last), Some(b"null"));
        assert!(
            success.ends_with(r#""responseContext":{"statusCode":200,"executedVersion":"7"},"responsePayload":null}"#)
        );
        let never = told(Condition::ZeroReservedConcurrency, None, None);
        assert_eq!(
            never,
            format!("{HEAD}{}", r#""ZeroReservedConcurrency","approximateInvokeCount":0},"requestPayload":{"a": 1}}"#)
        );
    }

    #[test]
    fn an_answer_that_is_no_json_is_told_as_text() {
        let last = Last { status_code: 200, executed_version: None, function_error: None };
        assert!(
            told(Condition::Success, Some(&last), Some(b"<p>\xff")).ends_with("\"responsePayload\":\"<p>\u{fffd}\"}")
        );
    }
}
