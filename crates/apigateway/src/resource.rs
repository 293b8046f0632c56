//! `Resource`: a node of an API's path tree.

use serde::{Deserialize, Serialize};
use service::Record;

/// A resource; parent of the key is the API's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// 10 characters for the root, 6 for others.
    pub id: String,
    /// Absent on the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<String>,
    /// Absent on the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_part: Option<String>,
    /// Full template, `/` or `/pets/{petId}`.
    pub path: String,
}

impl Record for Resource {
    const NOUN: &'static str = "apigateway/Resource";
}
