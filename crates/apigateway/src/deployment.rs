//! `Deployment`: a frozen copy of an API.

use serde::{Deserialize, Serialize};
use service::{Record, Timestamp};

/// A deployment; parent of the key is the API's id. The frozen copy itself is a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// 6 characters.
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub created_date: Timestamp,
    /// SHA-256 (hex) of the [`crate::snapshot::Snapshot`] as JSON; not part of AWS's answer.
    pub snapshot: String,
}

impl Record for Deployment {
    const NOUN: &'static str = "apigateway/Deployment";
}
