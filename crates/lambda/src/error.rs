//! Lambda's errors, each with the body form AWS gives it.
//!
//! `ResourceNotFoundException` spells its text `Message`, the others `message`; all but the validation error carry
//! `"Type":"User"`. Source: control-plane contract, 1.2, from recorded answers.

use service::ServiceError;

/// 400 with AWS's reason: a value Lambda understands and does not take.
pub(crate) fn invalid(message: impl Into<String>) -> ServiceError {
    user("InvalidParameterValueException", 400, message)
}

/// 404; the only one with a capital `Message`.
pub(crate) fn not_found(message: impl Into<String>) -> ServiceError {
    user("ResourceNotFoundException", 404, message).with_upper_message()
}

/// 409: the name is taken, or the resource is in use.
pub(crate) fn conflict(message: impl Into<String>) -> ServiceError {
    user("ResourceConflictException", 409, message)
}

/// 412: somebody else changed it first. `read_with` names the calls that tell the present revision.
pub(crate) fn precondition(read_with: &str) -> ServiceError {
    user(
        "PreconditionFailedException",
        412,
        format!(
            "The Revision Id provided does not match the latest Revision Id. Call the {read_with} API to retrieve the \
             latest Revision Id"
        ),
    )
}

/// 403 without AWS's sentence about policies, for what no policy could allow.
pub(crate) fn access_denied(message: impl Into<String>) -> ServiceError {
    ServiceError::new("AccessDeniedException", 403, message)
}

/// Any error with `"Type":"User"`.
pub(crate) fn user(code: &'static str, status: u16, message: impl Into<String>) -> ServiceError {
    ServiceError::new(code, status, message).with_field("Type", "User")
}

/// A function that is not there, by the ARN it was asked for.
pub(crate) fn function_not_found(arn: &str) -> ServiceError {
    not_found(format!("Function not found: {arn}"))
}

/// A member that Lambda knows and this installation does not enforce, hence does not store.
pub(crate) fn not_enforced(member: &str, only: &str) -> ServiceError {
    invalid(format!("{member} is not supported by this installation yet: {only}"))
}
