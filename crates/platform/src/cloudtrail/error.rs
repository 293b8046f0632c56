//! CloudTrail's errors, with AWS's texts where a source shows them. All answer 400.

use service::ServiceError;

/// An error of CloudTrail's.
pub(crate) fn error(code: &'static str, message: impl Into<String>) -> ServiceError {
    ServiceError::new(code, 400, message)
}

/// `TrailNotFoundException`.
pub(crate) fn trail_not_found(arn: &str, account: &str) -> ServiceError {
    error("TrailNotFoundException", format!("Unknown trail: {arn} for the user: {account}"))
}

/// `UnsupportedOperationException` for what is not enforced here and hence not stored.
pub(crate) fn unsupported(what: &str) -> ServiceError {
    error(
        "UnsupportedOperationException",
        format!(
            "{what} is not supported by this version of Portcullis, and is refused rather than stored without effect."
        ),
    )
}

/// `InvalidEventSelectorsException`.
pub(crate) fn invalid_selectors(message: impl Into<String>) -> ServiceError {
    error("InvalidEventSelectorsException", message)
}
