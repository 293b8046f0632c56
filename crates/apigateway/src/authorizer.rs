//! `Authorizer`.

use serde::{Deserialize, Serialize};
use service::Record;

/// An authorizer; parent of the key is the API's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Authorizer {
    /// 6 characters.
    pub id: String,
    pub name: String,
    /// `TOKEN` or `REQUEST` (others are refused until they are enforced).
    #[serde(rename = "type")]
    pub kind: String,
    pub auth_type: String,
    pub authorizer_uri: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorizer_credentials: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_validation_expression: Option<String>,
    /// Absent when it was not sent; behaves as 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorizer_result_ttl_in_seconds: Option<u32>,
}

impl Record for Authorizer {
    const NOUN: &'static str = "apigateway/Authorizer";
}
