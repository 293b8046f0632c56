//! `GatewayResponse`: what the gateway answers by itself, of the 21 types.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use service::Record;

/// A customised answer; parent of the key is the API's id, id is the type. A type without one answers as built in, or
/// as the API's `DEFAULT_4XX` or `DEFAULT_5XX` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayResponse {
    /// One of AWS's 21, such as `ACCESS_DENIED`.
    pub response_type: String,
    /// Three digits; the type's own when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_code: Option<String>,
    /// `gatewayresponse.header.X` to `'text'`, `method.request.{header,querystring,path}.x`, `context.x` or
    /// `stageVariables.x`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub response_parameters: BTreeMap<String, String>,
    /// Content type to text, in which `$context.x`, `$stageVariables.x` and `$method.request.{kind}.x` are replaced and
    /// everything else stands for itself. Empty: the built-in one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub response_templates: BTreeMap<String, String>,
}

impl Record for GatewayResponse {
    const NOUN: &'static str = "apigateway/GatewayResponse";
}
