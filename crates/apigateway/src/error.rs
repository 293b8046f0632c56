//! API Gateway's errors, with AWS's codes and status.

use service::ServiceError;

pub(crate) fn bad_request(message: impl Into<String>) -> ServiceError {
    ServiceError::new("BadRequestException", 400, message)
}

pub(crate) fn not_found(message: impl Into<String>) -> ServiceError {
    ServiceError::new("NotFoundException", 404, message)
}

pub(crate) fn conflict(message: impl Into<String>) -> ServiceError {
    ServiceError::new("ConflictException", 409, message)
}

/// The account's or the API's share of something is used up. AWS sends `Retry-After` with it; one second is as good as
/// any, since only a deletion helps.
pub(crate) fn limit_exceeded(what: &str, of: &str) -> ServiceError {
    let message = format!(
        "Maximum number of {what} for this {of} has been reached. Please contact AWS if you need additional {what}."
    );
    let mut error = ServiceError::new("LimitExceededException", 429, message);
    error.retry_after_s = Some(1);
    error
}

/// A member the model knows and the data plane does not enforce yet: refused, never stored.
pub(crate) fn unsupported(member: &str) -> ServiceError {
    bad_request(format!("{member} is not supported by this version of Portcullis."))
}

/// As [`unsupported`], for one value of a member that has others.
pub(crate) fn unsupported_value(member: &str, value: &str) -> ServiceError {
    bad_request(format!("{member} {value} is not supported by this version of Portcullis."))
}

/// AWS's text for a value that its model's enum does not hold. `wire` says the same of what arrives over the network;
/// this is for values that arrive otherwise, as in a patch.
pub(crate) fn not_in_enum(value: &str, member: &str, values: &str) -> ServiceError {
    ServiceError::new(
        "ValidationException",
        400,
        format!(
            "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: Member must \
             satisfy enum value set: [{values}]"
        ),
    )
}

/// The text of nouns that list their paths. The two spaces are AWS's.
pub(crate) fn patch_path(step: &service::patch::Step, paths: &[&str]) -> ServiceError {
    bad_request(format!(
        "Invalid patch path  '{}' specified for op '{}'. Must be one of: [{}]",
        step.path(),
        step.op.as_str(),
        paths.join(", ")
    ))
}

/// The same nouns' text for a known path with an operation it does not take.
pub(crate) fn patch_op(step: &service::patch::Step) -> ServiceError {
    bad_request(format!(
        "Invalid patch path  '{}' specified for op '{}'. Please choose supported operations",
        step.path(),
        step.op.as_str()
    ))
}
