//! Every sentence the gateway says, to clients and to logs, in AWS's wording.
//!
//! Sources: API Gateway Developer Guide, "Gateway response types"; answers and execution logs recorded on AWS.

use service::Timestamp;

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

/// Said to a caller whom a statement of the API's policy denies.
pub(crate) fn denied_by_resource_policy(who: &str, action: &str, resource: &str) -> String {
    format!(
        "User: {who} is not authorized to perform: {action} on resource: {resource} with an explicit deny in a \
         resource-based policy"
    )
}

/// Said to a caller whom the API's policy would have to allow.
pub(crate) fn not_allowed(who: &str, action: &str, resource: &str) -> String {
    format!(
        "User: {who} is not authorized to perform: {action} on resource: {resource} because no resource-based policy \
         allows the {action} action"
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
pub(crate) const TEMPLATE_TOO_LONG: &str = "A template's text would be longer than 1048576 bytes";
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

pub(crate) const AUTHORIZER_DONE: &str = "Successfully completed authorizer execution";

pub(crate) fn starting_authorizer(id: &str, request_id: &str) -> String {
    format!("Starting authorizer: {id} for request: {request_id}")
}

/// The identity must be starred already.
pub(crate) fn incoming_identity(starred: &str) -> String {
    format!("Incoming identity: {starred}")
}

/// The principal must be starred already.
pub(crate) fn valid_policy(starred: &str) -> String {
    format!("Using valid authorizer policy for principal: {starred}")
}

/// Where AWS sends the event of a function.
fn endpoint(function_arn: &str) -> String {
    let region = function_arn.split(':').nth(3).unwrap_or_default();
    format!("https://lambda.{region}.amazonaws.com/2015-03-31/functions/{function_arn}/invocations")
}

pub(crate) fn endpoint_uri(function_arn: &str) -> String {
    format!("Endpoint request URI: {}", endpoint(function_arn))
}

pub(crate) fn sending_request(function_arn: &str) -> String {
    format!("Sending request to {}", endpoint(function_arn))
}

/// More of a payload than a log event can hold, so that a secret that begins in the event is found whole and hidden; the
/// rest is cut there.
fn whole(payload: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(payload.get(..16_384).unwrap_or(payload))
}

pub(crate) fn endpoint_body(payload: &[u8]) -> String {
    format!("Endpoint request body after transformations: {}", whole(payload))
}

pub(crate) fn endpoint_answer(payload: &[u8]) -> String {
    format!("Endpoint response body before transformations: {}", whole(payload))
}

pub(crate) fn authorizer_result(payload: &[u8]) -> String {
    format!("Authorizer result body before parsing: {}", whole(payload))
}

pub(crate) fn starting_execution(request_id: &str) -> String {
    format!("Starting execution for request: {request_id}")
}

pub(crate) fn method_and_path(verb: &str, resource_path: &str) -> String {
    format!("HTTP Method: {verb}, Resource Path: {resource_path}")
}

pub(crate) fn completed(status: u16) -> String {
    format!("Method completed with status: {status}")
}

pub(crate) fn extended_request_id(id: &str) -> String {
    format!("Extended Request Id: {id}")
}

/// The key's starred value, empty where none was sent, and `API/STAGE`.
pub(crate) fn verifying_usage_plan(request_id: &str, key: &str, stage: &str) -> String {
    format!("Verifying Usage Plan for request: {request_id}. API Key: {key} API Stage: {stage}")
}

pub(crate) fn key_not_required(method: &str) -> String {
    format!(
        "API Key  authorized because method '{method}' does not require API Key. Request will not contribute to throttle \
         or quota limits"
    )
}

pub(crate) fn usage_plan_succeeded(key: &str, stage: &str) -> String {
    format!("Usage Plan check succeeded for API Key {key} and API Stage {stage}")
}

// Words of a test-invoke's log alone.

/// The first line; no moment stands before it.
pub(crate) fn execution_log(request_id: &str) -> String {
    format!("Execution log for request {request_id}")
}

/// A line with its moment before it.
pub(crate) fn stamped(now_ms: i64, line: &str) -> String {
    format!("{} : {line}", Timestamp::from_ms(now_ms).format("%a %b %d %H:%M:%S UTC %Y"))
}

pub(crate) const EXECUTION_DONE: &str = "Successfully completed execution";

/// A part of the request or the answer, such as `Method request headers`.
pub(crate) fn part(name: &str, text: &str) -> String {
    format!("{name}: {text}")
}

pub(crate) fn received_response(latency_ms: i64) -> String {
    format!("Received response. Status: 200, Integration latency: {latency_ms} ms")
}
