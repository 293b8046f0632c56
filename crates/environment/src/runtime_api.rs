//! The HTTP Runtime API, version 2018-06-01: what custom runtimes and AWS's own clients speak. Pure: bytes in, bytes
//! and decisions out; the sockets are `process::http`'s.
//!
//! Source: AWS Lambda Developer Guide, "Using the Lambda runtime API for custom runtimes"; states, status codes and
//! texts are those of AWS's runtime interface emulator.

pub(crate) mod body;
pub(crate) mod head;
mod machine;
mod reply;

pub(crate) use machine::{Machine, Route};
pub(crate) use reply::{Reply, delivery};

#[cfg(test)]
mod tests;

/// The type of an error as a runtime gave it in a header, if AWS lets it stand.
///
/// Kept is what looks like `Runtime.Name` or `Function.Name`; of the rest only the family is.
pub(crate) fn error_type(given: Option<&str>) -> String {
    let given = given.unwrap_or_default();
    let fits = given.split_once('.').is_some_and(|(family, name)| {
        matches!(family, "Runtime" | "Function")
            && name.starts_with(|first: char| first.is_ascii_uppercase())
            && name.len() > 1
            && name.bytes().all(|byte| byte.is_ascii_alphabetic())
    });
    if fits {
        given.to_owned()
    } else if given.starts_with("Function.") {
        "Function.Unknown".to_owned()
    } else {
        "Runtime.Unknown".to_owned()
    }
}

/// Content type of an error document that carries its cause for tracing.
const ERROR_CAUSE: &str = "application/vnd.aws.lambda.error.cause+json";

/// The document a caller gets of what a runtime posted as its error: as it is, but for the cause meant for tracing.
pub(crate) fn without_cause(content_type: Option<&str>, document: bytes::Bytes) -> bytes::Bytes {
    if content_type != Some(ERROR_CAUSE) {
        return document;
    }
    let Ok(serde_json::Value::Object(mut fields)) = serde_json::from_slice(&document) else { return document };
    fields.shift_remove("errorCause");
    serde_json::Value::Object(fields).to_string().into()
}
