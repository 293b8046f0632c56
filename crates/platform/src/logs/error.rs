//! CloudWatch Logs' errors, with AWS's texts where a source shows them. All answer 400.

use service::ServiceError;

/// An error of CloudWatch Logs.
pub(crate) fn error(code: &'static str, message: impl Into<String>) -> ServiceError {
    ServiceError::new(code, 400, message)
}

/// `InvalidParameterException`.
#[must_use]
pub fn invalid(message: impl Into<String>) -> ServiceError {
    error("InvalidParameterException", message)
}

/// `ResourceNotFoundException` for a log group.
#[must_use]
pub fn group_not_found() -> ServiceError {
    error("ResourceNotFoundException", "The specified log group does not exist.")
}

/// `ResourceNotFoundException` for a log stream.
#[must_use]
pub fn stream_not_found() -> ServiceError {
    error("ResourceNotFoundException", "The specified log stream does not exist.")
}
