//! IAM's errors, with AWS's texts.

use policy::ParseError;
use service::ServiceError;

/// `NoSuchEntity`, 404.
pub(crate) fn no_such_entity(message: impl Into<String>) -> ServiceError {
    ServiceError::new("NoSuchEntity", 404, message)
}

/// `EntityAlreadyExists`, 409.
pub(crate) fn already_exists(message: impl Into<String>) -> ServiceError {
    ServiceError::new("EntityAlreadyExists", 409, message)
}

/// `DeleteConflict`, 409.
pub(crate) fn delete_conflict(message: impl Into<String>) -> ServiceError {
    ServiceError::new("DeleteConflict", 409, message)
}

/// `LimitExceeded`, 409.
pub(crate) fn limit_exceeded(message: impl Into<String>) -> ServiceError {
    ServiceError::new("LimitExceeded", 409, message)
}

/// `InvalidInput`, 400.
pub(crate) fn invalid_input(message: impl Into<String>) -> ServiceError {
    ServiceError::new("InvalidInput", 400, message)
}

/// `ValidationError`, 400.
pub(crate) fn validation(message: impl Into<String>) -> ServiceError {
    ServiceError::new("ValidationError", 400, message)
}

/// `MalformedPolicyDocument`, 400; what exactly is wrong goes to the log where AWS says less.
pub(crate) fn malformed(error: &ParseError) -> ServiceError {
    ServiceError::new("MalformedPolicyDocument", 400, error.message()).with_cause(error.to_string())
}
