//! Every sentence the gateway says, to clients and to logs, in AWS's wording.
//!
//! Sources: API Gateway Developer Guide, "Gateway response types"; answers and execution logs recorded on AWS.

use crate::Text;

pub(crate) const UNAUTHORIZED: &str = "Unauthorized";
pub(crate) const FORBIDDEN: &str = "Forbidden";
pub(crate) const MISSING_AUTHENTICATION_TOKEN: &str = "Missing Authentication Token";
pub(crate) const NOT_AUTHORIZED: &str = "User is not authorized to access this resource";
pub(crate) const EXPLICIT_DENY: &str =
    "User is not authorized to access this resource with an explicit deny in an identity-based policy";
pub(crate) const INTERNAL_SERVER_ERROR: &str = "Internal server error";
pub(crate) const ENDPOINT_TIMED_OUT: &str = "Endpoint request timed out";
pub(crate) const URI_TOO_LONG: &str = "Request URI too long";
pub(crate) const HEADERS_TOO_LARGE: &str = "Request header fields too large";
pub(crate) const INVALID_BODY: &str = "Invalid request body";
pub(crate) const UNSUPPORTED_MEDIA_TYPE: &str = "Unsupported Media Type";

/// Said to a client whose route exists nowhere and who sent an `Authorization` that is no signature.
pub(crate) fn incomplete_signature(digest: &str) -> String {
    format!(
        "Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and encoded with \
         Base64): '{digest}'."
    )
}

/// The plain text of a 413.
pub(crate) fn content_too_long(bytes_max: usize) -> String {
    format!("HTTP content length exceeded {bytes_max} bytes.")
}

// Words of the execution log.

pub(crate) const POLICY_REFUSED: &str = "The client is not authorized to perform this operation.";
pub(crate) const AUTHORIZER_ERROR: &str = "Execution failed due to configuration error: Authorizer error";
pub(crate) const AUTHORIZER_CONFIGURATION: &str =
    "Execution failed due to configuration error: AuthorizerConfigurationException";
pub(crate) const INVALID_PERMISSIONS: &str = "Invalid permissions on Lambda function";
pub(crate) const MALFORMED_PROXY_RESPONSE: &str = "Malformed Lambda proxy response";
pub(crate) const NOT_JSON_OBJECT: &str = "Invalid JSON in response: the answer is not a JSON object";
pub(crate) const INVALID_ENDPOINT: &str = "Invalid endpoint address";
pub(crate) const TIMED_OUT: &str = "Execution failed due to a timeout error";
pub(crate) const WAITERS_EXCEEDED: &str = "Too many requests wait for the same authorizer call";
pub(crate) const BODY_LATE: &str = "The request body did not arrive in time";
pub(crate) const BODY_BROKEN: &str = "The request body broke off";
pub(crate) const MOCK_STATUS: &str = "Unable to parse statusCode. It should be an integer.";

/// A line about a fault of configuration.
pub(crate) fn configuration_error(reason: &str) -> String {
    format!("Execution failed due to configuration error: {reason}")
}

pub(crate) fn cannot_assume_role(role: &str) -> String {
    format!("API Gateway does not have permission to assume the provided role {role}")
}

pub(crate) fn unrecognized_field(name: &str) -> String {
    format!("Invalid JSON in response: Unrecognized field \"{name}\" , not marked as ignorable")
}

pub(crate) fn cannot_deserialize(token: &str) -> String {
    format!("Invalid JSON in response: Can not deserialize instance of java.lang.String out of {token} token")
}

pub(crate) fn invalid_policy(why: &str) -> String {
    format!("Could not parse policy: {why}")
}

pub(crate) fn no_output_mapping(status: u16) -> String {
    format!(
        "No match for output mapping and no default output mapping configured. Endpoint Response Status Code: {status}"
    )
}

pub(crate) fn invalid_method_response(status: &str) -> String {
    format!("Output mapping refers to an invalid method response: {status}")
}

pub(crate) fn unauthorized_request(request_id: &str) -> Text {
    format!("Unauthorized request: {request_id}").into()
}
