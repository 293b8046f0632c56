//! `Method` and `MethodResponse`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use service::Record;

use crate::integration::Integration;

/// A method; parent of the key is `api/resource`, id is the verb. Embeds its integration and responses as GetMethod
/// shows them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Method {
    /// Not part of AWS's answer; the noun's operations leave it out.
    pub resource_id: String,
    /// Verb or `ANY`.
    pub http_method: String,
    /// `NONE` or `CUSTOM` (others are refused until they are enforced).
    pub authorization_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorizer_id: Option<String>,
    pub api_key_required: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation_name: Option<String>,
    /// By status code.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub method_responses: BTreeMap<String, MethodResponse>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method_integration: Option<Integration>,
}

impl Record for Method {
    const NOUN: &'static str = "apigateway/Method";
}

/// What a method may answer with one status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MethodResponse {
    pub status_code: String,
    /// `method.response.header.X` to whether it is required.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub response_parameters: BTreeMap<String, bool>,
    /// Content type to model name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub response_models: BTreeMap<String, String>,
}
